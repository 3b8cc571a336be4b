//! Tests of what the two programs share. They are compiled into one executable, with a file for
//! each subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

mod chaos;
mod plans;
mod roles;
mod servers;
