//! Requests of hostile clients and the exact responses to them. Each case has a name, a reason, and
//! the expected status and `code`.
//!
//! Each kind has its own table: [`bodies`], [`addresses`], [`signatures`] and [`messages`] at
//! login, [`hosts`], access tokens ([`access_tokens`]), refresh tokens ([`refresh_tokens`]), and
//! invalid HTTP ([`framing`], [`smuggling`], [`pipelining`]). Each table ends with an honest
//! request to the same server, which shows that no request was rejected for another reason.
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
