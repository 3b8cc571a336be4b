//! The example service in front of a running auth-api: whom it lets in, and when. What no request
//! can show is asked of the crate itself.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod introspection;
mod keys;
mod refusals;
mod sessions;
mod stage;
