//! The tests of what the programs share, as one program: a file for each subject.
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
