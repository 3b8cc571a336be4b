//! Tests of the example service in front of a running auth-api: which requests it accepts, and
//! when. Behavior that requests cannot show is tested on the crate itself.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod introspection;
mod keys;
mod refusals;
mod sessions;
mod stage;
