//! The tests of the benchmarks. They are compiled into one executable, with a file for each
//! subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

mod api;
mod smoke;
mod traffic;
