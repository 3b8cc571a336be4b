//! Tests of auth-api as a running program. They are compiled into one executable, with a file for
//! each subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

mod access_tokens;
mod accounts;
mod admin;
mod admin_cli;
mod audit;
mod bounds;
mod browser;
mod client_address;
mod clock;
mod contention;
mod contract;
mod cookie;
mod cookie_renewal;
mod corpus;
mod demo;
mod denylist;
mod docs;
mod floods;
mod forged;
mod hostile;
mod http;
mod introspect;
mod journal;
mod keys;
mod limits;
mod login;
mod logout;
mod metrics;
mod networks;
mod redis_acl;
mod reference;
mod refresh;
mod refusals;
mod reload;
mod retries;
mod secrecy;
mod serve;
mod session_limit;
mod sessions;
mod step_up;
mod windows;
