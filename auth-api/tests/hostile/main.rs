//! What hostile clients send, and exactly what they get for it: a status and a `code` each, a name
//! and a reason each.
//!
//! One table a kind: [`bodies`], [`addresses`], [`signatures`] and [`messages`] at login,
//! [`hosts`], access tokens ([`access_tokens`]) and refresh tokens ([`refresh_tokens`]), and what
//! is no clean HTTP ([`framing`], [`smuggling`], [`pipelining`]). Each table ends with what an
//! honest client does, on the same server: so nothing was refused for a wrong reason.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod access_tokens;
mod addresses;
mod bodies;
mod framing;
mod hosts;
mod messages;
mod pipelining;
mod refresh_tokens;
mod signatures;
mod smuggling;
mod table;
mod wire;
