//! The text output of `run`: a line per target and reason, and why the run ended.

use std::fmt::Write as _;
use std::time::Duration;

use reaper::{RunReport, TargetReport};

const HEAD: [&str; 8] =
    ["TARGET", "REASON", "DELETED", "CHUNKS", "SKIPPED LOCKED", "REMAINING", "TIME", "OUTCOME"];

/// Columns of text, aligned left; the others are numbers, aligned right.
const WORDS: [bool; 8] = [true, true, false, false, false, false, false, true];

/// Returns the whole summary, with a trailing newline.
#[must_use]
pub fn text(report: &RunReport) -> String {
    let rows: Vec<Vec<String>> = report.targets.iter().flat_map(target_rows).collect();
    let mut text = columns(HEAD, WORDS, &rows);
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "\n{} after {}, {} rows deleted: {}",
        report.outcome.as_str(),
        time(report.elapsed_ms),
        grouped(report.deleted_rows()),
        report.why
    );
    text
}

/// Formats a table. Each column is as wide as its widest cell; columns of text are aligned left.
pub(crate) fn columns<const N: usize>(
    head: [&str; N],
    words: [bool; N],
    rows: &[Vec<String>],
) -> String {
    let head = head.map(str::to_owned).to_vec();
    let lines = || std::iter::once(&head).chain(rows);
    let widest = |column: usize| lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(widest).collect();
    let mut text = String::new();
    for row in lines() {
        let cells = row.iter().zip(&widths).zip(words).map(|((cell, width), word)| {
            if word { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// Returns one line per reason. The first line also contains the values of the whole target.
fn target_rows(target: &TargetReport) -> Vec<Vec<String>> {
    let remaining = format!(
        "{}{}",
        grouped(target.remaining.unwrap_or(0)),
        if target.remaining_capped == Some(true) { "+" } else { "" }
    );
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
    target.deleted.iter().chain(&children).enumerate().map(line).collect()
}

/// Formats `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a duration in milliseconds with units that suit its length.
pub(crate) fn time(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        _ => humantime::format_duration(Duration::from_secs(ms / 1_000)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_durations_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([7, 1_240, 61_500].map(time), ["7ms", "1.2s", "1m 1s"]);
    }
}
