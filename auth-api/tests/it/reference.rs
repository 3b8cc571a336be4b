//! docs/configuration.md matches the help texts of the variables.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::path::Path;

use auth_api::commands::Cli;
use clap::CommandFactory as _;

#[test]
fn every_variable_is_documented_as_in_the_help() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    // RUST_LOG is not a command-line option, so the table does not contain it.
    testkit::reference::is_documented(&Cli::command(), &["serve"], &file, "auth-api");
}
