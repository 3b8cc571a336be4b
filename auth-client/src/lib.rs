#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! Read [`AuthClient`] first. A token walks `token` (what may be read without a key: size, type,
//! algorithm) `→ keys` (the key that it names, of those that auth-api publishes) `→ token`
//! (signature, issuer, audience, times); where the session behind it must stand, then on to a
//! [`SessionSource`] (the `Denylist`, by the feature `redis`) or to introspection.
//!
//! - `keys`: the JWK set, fetched when needed, kept, fetched again; `http`: requests that are
//!   bounded in time and size.
//! - `introspection`: RFC 7662 and RFC 7009 as a client.
//! - `actix` (a feature): `AccessToken` and `Session` as extractors, and what they answer when they
//!   refuse.

#[cfg(feature = "actix")]
mod actix;
mod client;
#[cfg(feature = "redis")]
mod denylist;
mod error;
mod http;
mod introspection;
mod keys;
mod sessions;
mod token;

#[cfg(feature = "actix")]
pub use actix::Session;
pub use client::{AuthClient, Builder};
#[cfg(feature = "redis")]
pub use denylist::Denylist;
pub use error::Error;
pub use introspection::{Introspected, TokenUse};
pub use sessions::{Asking, SessionSource, SessionState};
pub use token::AccessToken;
