//! docs/configuration.md is what the program says of its variables.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::path::Path;

use clap::CommandFactory as _;
use session_reaper::cli::Cli;

#[test]
fn every_variable_is_documented_as_the_help_has_it() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let subcommands = ["daemon", "run", "status", "plan", "check", "discover", "pause", "resume"];
    testkit::reference::is_documented(&Cli::command(), &subcommands, &file, "session-reaper");
}
