//! Rules for the source code that the compiler does not check.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod imports;

use std::path::{Path, PathBuf};

use imports::Imports;

const PACKAGES: [&str; 8] =
    ["auth-api", "auth-client", "hardening", "pg", "reaper", "schema", "session-reaper", "testkit"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Returns all Rust files below the `src` of a package.
fn sources(package: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(package).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{package} has sources");
    found
}

/// Returns the arguments of each call to a logging macro of `tracing`.
fn logging_calls(source: &str) -> Vec<&str> {
    let mut calls = Vec::new();
    for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
        for (start, _) in source.match_indices(&format!("tracing::{level}")) {
            let arguments = &source[start + "tracing::".len() + level.len()..];
            let end = arguments.find(");").unwrap_or(arguments.len());
            calls.push(&arguments[..end]);
        }
    }
    calls
}

/// The filters of operators and the tests depend on the field `event` of a log line, because the
/// wording of a message may change.
#[test]
fn every_log_line_has_an_event() {
    let mut calls = 0;
    let mut without = Vec::new();
    for package in PACKAGES.into_iter().filter(|package| *package != "testkit") {
        for path in sources(package) {
            let source = std::fs::read_to_string(&path).unwrap();
            for call in logging_calls(&source) {
                calls += 1;
                let names = call.split([',', '=']).map(str::trim);
                if !names.into_iter().any(|name| name == "event") {
                    without.push(format!("{}: {call}", path.display()));
                }
            }
        }
    }
    assert!(calls > 100, "{calls} calls were found");
    assert!(without.is_empty(), "log lines without an event:\n{}", without.join("\n"));
}

/// Without import cycles, the files of a crate can be read from the top down. A file and its folder
/// count as one unit.
#[test]
fn files_do_not_import_each_other() {
    let mut found = Vec::new();
    for package in PACKAGES {
        let imports = Imports::read(&root().join(package).join("src"), &sources(package));
        for cycle in imports.cycles() {
            found.push(format!(
                "{package}: {}\n{}",
                cycle.join(", "),
                imports.within(&cycle).join("\n")
            ));
        }
    }
    assert!(found.is_empty(), "files that import each other:\n{}", found.join("\n"));
}
