//! `/admin/*` on the operations port: who may, what is listed, what is ended.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking; nothing outside uses it"
)]

mod access;
mod desk;
mod list;
mod revoke;
