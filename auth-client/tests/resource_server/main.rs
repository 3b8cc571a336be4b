//! Tests of the example service with a running auth-api: which requests the service accepts, and
//! when. Behavior that cannot be observed with requests is tested on the crate itself.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

mod introspection;
mod keys;
mod refusals;
mod sessions;
mod stage;
