//! docs/configuration.md is what the program says of its variables.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::path::Path;

use auth_api::commands::Cli;
use clap::CommandFactory as _;

#[test]
fn every_variable_is_documented_as_the_help_has_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    // RUST_LOG is no option of ours.
    testkit::reference::is_documented(&Cli::command(), &["serve"], &file, "auth-api");
}
