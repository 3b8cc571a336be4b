//! docs/configuration.md describes each variable in the same words as the help of the program.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::path::Path;

use clap::CommandFactory as _;
use session_reaper::cli::Cli;
use testkit::reference::compare_defaults;

#[test]
fn documentation_of_every_variable_matches_the_help() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let subcommands = ["daemon", "run", "status", "plan", "check", "discover", "pause", "resume"];
    testkit::reference::is_documented(&Cli::command(), &subcommands, &file, "session-reaper");
}

/// Settings without a single default: the filter depends on the command.
const DERIVED: [&str; 1] = ["RUST_LOG"];

/// The words that the page uses for an empty value.
const EMPTY: [&str; 7] = [
    "none",
    "all",
    "all physical replicas",
    "no limit",
    "until no due rows are left",
    "forever",
    "spans are not sent",
];

/// With only its required setting, session-reaper uses the defaults that the page documents.
#[tokio::test]
async fn effective_defaults_match_the_documentation() {
    let url = ("DATABASE_URL", "postgres://reaper:secret@localhost/app");
    let program = testkit::binary("session-reaper");
    let (code, config) = testkit::Program::run(program, &["config"], &[url]).await;
    assert_eq!(code, Some(0), "{}", config.stderr());
    assert!(!config.stdout().contains("secret"), "{}", config.stdout());

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let block = (file.as_path(), "session-reaper");
    let compared = compare_defaults(&config.stdout(), block, &[url.0], &DERIVED, &EMPTY);
    assert!(compared > 25, "{compared} settings were compared");
}
