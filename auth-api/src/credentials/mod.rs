//! What a client holds, and how we know that it is ours. Nothing here does I/O.
//!
//! [`Challenge`] → [`Signature`] → [`RefreshToken`] and [`access_token`], or [`SessionToken`], with
//! the [`Secrets`] and [`signing_keys`] behind them. Each is parsed once, at the edge; what has
//! been parsed is genuine.

pub mod access_token;
mod address;
mod challenge;
mod client_secret;
pub mod clients;
mod family_key;
mod random;
mod refresh_token;
mod same_hash;
mod seal;
mod secrets;
mod session_token;
mod signature;
pub mod signing_keys;
mod tagged;
mod token;

pub use address::{AccountAddress, InvalidAddress};
pub use challenge::{AnsweredChallenge, Challenge, ChallengeIssuer, ChallengeRefused};
pub use client_secret::{Argon2Memory, SecretHash, is_random_word};
pub use family_key::fresh_family_key;
pub use random::random_word;
pub use refresh_token::RefreshToken;
pub use same_hash::same_hash;
pub use secrets::{Secrets, SecretsError};
pub use session_token::SessionToken;
pub use signature::{MalformedSignature, Signature};
pub use tagged::Forged;
pub use token::Token;
