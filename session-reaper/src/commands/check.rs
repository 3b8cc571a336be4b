//! `check`: shows whether every target is safe to reap, and how to fix unsafe targets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;

use super::print;
use crate::config::Output;
use reaper::Exit;
use reaper::{Checked, Finding, Level, Sweep};

/// Checks all targets and prints the findings.
pub async fn check(sweep: &Sweep, output: Output) -> Exit {
    match sweep.check().await {
        Ok(checked) => {
            match output {
                Output::Text => print(&text(&checked)),
                // The report is serialized directly, because a `serde_json::Value` would sort the
                // members.
                Output::Json => {
                    print(&format!("{}\n", serde_json::to_string(&checked).unwrap_or_default()));
                }
            }
            if checked.safe { Exit::Done } else { Exit::Unsafe }
        }
        Err(error) => {
            tracing::error!(event = error.event(), %error, "check not performed");
            error.exit()
        }
    }
}

/// Returns one block of text for each target. If there are findings about the server, a block for
/// the server comes first.
fn text(checked: &Checked) -> String {
    let (mut text, mut remedies) = (String::new(), HashMap::new());
    if !checked.server.findings.is_empty() {
        block(&mut text, "server", checked.server.safe, &checked.server.findings, &mut remedies);
    }
    for target in &checked.targets {
        let name = if target.target == target.table {
            target.target.clone()
        } else {
            format!("{} ({})", target.target, target.table)
        };
        block(&mut text, &name, target.safe, &target.findings, &mut remedies);
    }
    let blocking = checked.targets.iter().filter(|target| !target.safe).count();
    let _ = match (checked.safe, checked.server.safe) {
        (true, _) => writeln!(text, "safe: every target can be reaped"),
        (false, false) => writeln!(text, "unsafe: nothing can be reaped on this server"),
        (false, true) => writeln!(
            text,
            "unsafe: {blocking} of {} targets would be skipped",
            checked.targets.len()
        ),
    };
    text
}

/// Writes the findings of a target. `remedies` contains the remedies that were already written,
/// each with the target for which it was written.
fn block<'a>(
    text: &mut String,
    name: &str,
    safe: bool,
    findings: &'a [Finding],
    remedies: &mut HashMap<&'a str, String>,
) {
    // Writing to a `String` cannot fail.
    let _ = writeln!(text, "{name}: {}", if safe { "safe" } else { "unsafe" });
    for finding in findings {
        let level = match finding.level {
            Level::Unsafe => "UNSAFE",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let _ = writeln!(text, "  {level:<7}  {}: {}", finding.code.as_str(), finding.what);
        if let Some(remedy) = &finding.remedy {
            let _ = match remedies.entry(remedy) {
                Entry::Occupied(first) => {
                    writeln!(text, "           → the same as for {}", first.get())
                }
                Entry::Vacant(first) => {
                    first.insert(name.to_owned());
                    writeln!(text, "           → {remedy}")
                }
            };
        }
    }
    text.push('\n');
}
