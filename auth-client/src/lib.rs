#![doc = include_str!("../README.md")]
//!
//! # How it works
//!
//! Read [`AuthClient`] first. A token is verified in three steps. First, `token` checks its size,
//! type and algorithm, which requires no key. Then, `keys` finds the published key that the token
//! names. Finally, `token` verifies the signature, the issuer, the audience and the times. If the
//! session must be checked, a [`SessionSource`] (`Denylist`, with the feature `redis`) or
//! introspection then determines its state.
//!
//! - `keys`: the set of public keys, which is fetched, cached and refreshed.
//! - `http`: requests that are limited in time and size.
//! - `introspection`: a client for RFC 7662 and RFC 7009.
//! - `actix` (a feature): the extractors `AccessToken` and `Session`, and their responses to
//!   rejected requests.

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
