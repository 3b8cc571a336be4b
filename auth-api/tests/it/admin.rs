//! `/admin/*` on the admin port: access, lists and revocation.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test fails by panicking; the items are used only in this binary"
)]

mod access;
mod admin_api;
mod list;
mod revoke;
