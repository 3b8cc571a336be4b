//! docs/configuration.md describes each variable as the help of the program does.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::path::Path;

use clap::CommandFactory as _;
use session_reaper::cli::Cli;

#[test]
fn documentation_of_every_variable_matches_the_help() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let subcommands = ["daemon", "run", "status", "plan", "check", "discover", "pause", "resume"];
    testkit::reference::is_documented(&Cli::command(), &subcommands, &file, "session-reaper");
}
