//! Tables without borders, and the formats of their cells. On a terminal, a table is at most as
//! wide as the terminal, and outcomes are colored unless `NO_COLOR` is set.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};

/// Formats a table. Columns of text are aligned left, and columns of numbers are aligned right.
pub(crate) fn columns<const N: usize>(
    head: [&str; N],
    words: [bool; N],
    rows: &[Vec<String>],
) -> String {
    format(Table::new(), head, words, rows)
}

fn format<const N: usize>(
    mut table: Table,
    head: [&str; N],
    words: [bool; N],
    rows: &[Vec<String>],
) -> String {
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        // Use the width of the terminal, but write no escape sequences.
        if let Some(width) = table.width() {
            table.set_width(width);
        }
        table.force_no_tty();
    }
    table.set_header(head);
    for row in rows {
        table.add_row(head.iter().zip(row).map(|(column, cell)| styled(column, cell)));
    }
    let last = N.saturating_sub(1);
    for (index, (column, word)) in table.column_iter_mut().zip(words).enumerate() {
        column.set_padding((0, if index == last { 0 } else { 2 }));
        if !word {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt() + "\n"
}

fn styled(column: &str, cell: &str) -> Cell {
    let color = match cell {
        _ if column != "OUTCOME" => None,
        "success" => Some(Color::Green),
        "failed" | "interrupted" => Some(Color::Red),
        "partial" | "paused" | "skipped_lock" => Some(Color::Yellow),
        _ => None,
    };
    let styled = Cell::new(cell);
    match color {
        Some(color) => styled.fg(color),
        None => styled,
    }
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

    const HEAD: [&str; 3] = ["TARGET", "DELETED", "OUTCOME"];
    const WORDS: [bool; 3] = [true, false, true];

    fn rows() -> Vec<Vec<String>> {
        [["sessions", "1,200", "success"], ["a_table_with_a_long_name", "3", "failed"]]
            .map(|row| row.map(str::to_owned).to_vec())
            .to_vec()
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let lines = [
            "TARGET                    DELETED  OUTCOME",
            "sessions                    1,200  success",
            "a_table_with_a_long_name        3  failed",
            "",
        ];
        assert_eq!(columns(HEAD, WORDS, &rows()), lines.join("\n"));
    }

    #[test]
    fn table_fits_a_narrow_terminal() {
        let mut table = Table::new();
        table.set_width(34).force_no_tty();
        let text = format(table, HEAD, WORDS, &rows());
        assert!(text.lines().all(|line| line.chars().count() <= 34), "{text}");
        let joined: String = text.split_whitespace().collect();
        assert!(joined.contains("success") && joined.contains("failed"), "{text}");
    }

    #[test]
    fn outcomes_have_colors_on_a_terminal() {
        let mut table = Table::new();
        table.enforce_styling();
        let text = format(table, HEAD, WORDS, &rows());
        assert!(text.contains("\u{1b}[38;5;10msuccess"), "{text:?}");
        assert!(!columns(HEAD, WORDS, &rows()).contains('\u{1b}'));
    }

    #[test]
    fn numbers_and_durations_are_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([7, 1_240, 61_500].map(time), ["7ms", "1.2s", "1m 1s"]);
    }
}
