//! The text output of `run`: a line per target and reason, and the reason for which the run ended.

use std::fmt::Write as _;

use reaper::{BacklogState, RunReport, TargetReport};

use super::table::{columns, grouped, time};

const HEAD: [&str; 8] =
    ["TARGET", "REASON", "DELETED", "CHUNKS", "SKIPPED LOCKED", "REMAINING", "TIME", "OUTCOME"];

/// For each column of the table, `true` if it contains text (aligned left), and `false` if it
/// contains numbers (aligned right).
const WORDS: [bool; 8] = [true, true, false, false, false, false, false, true];

/// Returns the whole summary, with a trailing newline.
#[must_use]
pub fn text(report: &RunReport) -> String {
    let rows: Vec<Vec<String>> = report.targets.iter().flat_map(target_rows).collect();
    let mut text = columns(HEAD, WORDS, &rows);
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "\n{} after {}, {} rows deleted{}: {}",
        report.outcome.as_str(),
        time(report.elapsed_ms),
        grouped(report.deleted_rows()),
        match report.changed_rows() {
            0 => String::new(),
            rows => format!(", {} changed", grouped(rows)),
        },
        report.why
    );
    text
}

/// Returns one line per reason. The first line also contains the values that apply to the whole
/// target.
fn target_rows(target: &TargetReport) -> Vec<Vec<String>> {
    let rows = target.remaining.unwrap_or(0);
    let remaining = match target.remaining_state.unwrap_or_default() {
        BacklogState::Exact => grouped(rows),
        BacklogState::AtLeast => format!("{}+", grouped(rows)),
        BacklogState::Unknown => "unknown".to_owned(),
    };
    let of_target = [
        grouped(target.chunks),
        grouped(target.skipped_locked),
        remaining,
        time(target.elapsed_ms.unwrap_or(0)),
        target.outcome.as_str().to_owned(),
    ];
    let line = |(index, (reason, deleted)): (usize, &(String, u64))| {
        let first = index == 0;
        let mut cells = vec![
            if first { target.target.clone() } else { String::new() },
            reason.clone(),
            grouped(*deleted),
        ];
        cells.extend(of_target.iter().map(|cell| if first { cell.clone() } else { String::new() }));
        cells
    };
    let children = target.children.map(|rows| ("children".to_owned(), rows));
    let changed = target.changed.iter().map(|(reason, rows)| (format!("{reason} (set)"), *rows));
    let changed: Vec<(String, u64)> = changed.collect();
    target.deleted.iter().chain(&changed).chain(&children).enumerate().map(line).collect()
}
