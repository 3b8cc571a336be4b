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

/// Settings without a single default: the filter depends on the command.
const DERIVED: [&str; 1] = ["RUST_LOG"];

/// Whether two values of a setting mean the same. The page describes an empty value in words.
fn same(documented: &str, effective: &str) -> bool {
    const IN_WORDS: [&str; 7] = [
        "none",
        "all",
        "all physical replicas",
        "no limit",
        "until no due rows are left",
        "forever",
        "spans are not sent",
    ];
    let span = |text: &str| humantime::parse_duration(text).ok();
    documented == effective
        || (effective.is_empty() && IN_WORDS.contains(&documented))
        || (span(documented).is_some() && span(documented) == span(effective))
}

/// With only its required setting, session-reaper uses the defaults that the page documents.
#[tokio::test]
async fn effective_defaults_match_the_documentation() {
    let url = ("DATABASE_URL", "postgres://reaper:secret@localhost/app");
    let program = testkit::binary("session-reaper");
    let (code, config) = testkit::Program::run(program, &["config"], &[url]).await;
    assert_eq!(code, Some(0), "{}", config.stderr());
    assert!(!config.stdout().contains("secret"), "{}", config.stdout());

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let page = std::fs::read_to_string(file).unwrap();
    let page = page.split("<!-- session-reaper -->").nth(1).unwrap();
    let documented = |setting: &str| {
        let row = page.lines().find(|line| line.starts_with(&format!("| `{setting}`")))?;
        row.split('|').nth(2).map(|default| default.trim().to_owned())
    };
    let mut compared = 0;
    for line in config.stdout().lines() {
        let (setting, effective) = line.split_once('=').unwrap();
        let default = documented(setting).unwrap_or_else(|| panic!("{setting} is not documented"));
        if setting == url.0 {
            assert_eq!(default, "required");
        } else if !DERIVED.contains(&setting) {
            assert!(
                same(&default, effective),
                "{setting}: {default}, but {effective} is in effect"
            );
            compared += 1;
        }
    }
    assert!(compared > 25, "{compared} settings were compared");
}
