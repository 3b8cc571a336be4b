//! The credentials that clients hold, and how this service verifies that it issued them. Only
//! [`signing_keys`] does I/O: it reads and writes key files.
//!
//! A client answers a [`Challenge`] with a [`Signature`], and receives either a [`RefreshToken`]
//! and an [access token](access_token), or only a [`SessionToken`]. These credentials are made with
//! the [`Secrets`] and the [`signing_keys`]. Each credential is parsed once, when the request that
//! contains it is read. Parsing also verifies the credential, so a parsed credential is authentic.

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
