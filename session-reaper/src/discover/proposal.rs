//! The proposal as a `reaper.toml`.

use std::fmt::Write as _;

use super::findings::{Findings, FoundColumn, FoundPreset, FoundTarget, How, PresetTable};

const SKELETON: &str = r#"
# Nothing was found that looks like an expiry or a revocation. A target is written so (docs/reaper-toml.md has every key):
#
#[[target]]
#table = "app.login_links"
#due = [{ reason = "expired", column = "expires_at", keep = "1d" }]
"#;

/// Lines of a file. Names come from a database where anybody may have made them up: none of them ends a comment or a text.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn line(&mut self, off: bool, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{}{}", if off { "#" } else { "" }, plain(text));
    }

    fn comment(&mut self, text: &str) {
        self.line(false, &format!("# {text}"));
    }
}

/// The whole file.
pub(super) fn text(findings: &Findings) -> String {
    let mut lines = Lines::default();
    lines.comment(&format!(
        "What could be reaped in the database {:?}, by its catalog as {:?} sees it. No table was read, nothing was changed.",
        findings.database, findings.role
    ));
    if findings.presets.is_empty() && findings.targets.is_empty() {
        return lines.0 + SKELETON;
    }
    for text in [
        "What is certain stands here as it is. What is not is commented out, with how sure it is and why: take one # away from each",
        "line of a [[target]] to use it. Read all of it, say what each `keep` should be, and create the indexes, before the first run.",
    ] {
        lines.comment(text);
    }
    if !findings.presets.iter().any(FoundPreset::live) && !findings.targets.iter().any(|target| target.live) {
        lines.comment("Nothing is certain here: until something is uncommented there is nothing to run.");
    }
    lines.blank();
    let named: Vec<String> =
        findings.presets.iter().filter(|found| found.how == How::Certain).map(|found| quoted(found.preset)).collect();
    if !named.is_empty() {
        lines.line(false, &format!("preset = [{}]", named.join(", ")));
    }
    for found in &findings.presets {
        preset(&mut lines, found);
    }
    for found in &findings.targets {
        target(&mut lines, found);
    }
    lines.0
}

fn preset(lines: &mut Lines, found: &FoundPreset) {
    lines.blank();
    let FoundPreset { preset, schema, how, tables } = found;
    lines.comment(&match how {
        How::Certain => format!("Preset {preset}; docs/presets/{preset}.md says what goes and why."),
        How::Again => {
            format!("The tables of preset {preset} once more, in the schema {schema}, as the preset has them.")
        }
        How::Perhaps => format!(
            "Perhaps preset {preset}, of which too little is here to be sure. If it is: preset = {}.",
            quoted(preset)
        ),
    });
    for table in tables {
        preset_table(lines, found, table);
    }
}

fn preset_table(lines: &mut Lines, preset: &FoundPreset, table: &PresetTable) {
    lines.comment(&match &table.found {
        None => format!("- {}: not here", table.table),
        Some(name) => {
            let off = if table.off { "; left alone unless it is asked for: enabled = true" } else { "" };
            format!("- {}: {name}, {}{off}", table.table, rows(table.rows))
        }
    });
    if table.off || !preset.live() {
        return;
    }
    for note in &table.notes {
        lines.comment(&format!("    {note}"));
    }
    for index in &table.missing_indexes {
        lines.comment(&format!("    first: {index};"));
    }
    let Some(name) = &table.found else { return };
    let again = preset.how == How::Again;
    if !again && !table.elsewhere {
        return;
    }
    if table.names_others {
        lines.comment("    Its `where` or `children` names other tables without their schema: copy it, and say the schema, before this is used.");
    }
    if again {
        for line in table.text.lines() {
            let line = if line.starts_with("table = ") { format!("table = {}", quoted(name)) } else { line.to_owned() };
            lines.line(table.names_others, &line);
        }
    } else {
        lines.line(table.names_others, "[[target]]");
        lines.line(table.names_others, &format!("table = {}", quoted(name)));
        lines.line(table.names_others, &format!("replaces = {}", quoted(&table.table)));
    }
}

fn target(lines: &mut Lines, found: &FoundTarget) {
    lines.blank();
    lines.comment(&format!("{}: {}", found.table, rows(found.rows)));
    for note in &found.notes {
        lines.comment(&format!("- {note}"));
    }
    let off = !found.live;
    lines.line(off, "[[target]]");
    lines.line(off, &format!("table = {}", quoted(&found.table)));
    lines.line(off, "due = [");
    for column in &found.columns {
        due(lines, off, column);
    }
    lines.line(off, "]");
    if let Some(filter) = &found.filter {
        lines.line(off, "# What is no time since 2000 stays: 0 often means never.");
        lines.line(off, &format!("where = {}", quoted(filter)));
    }
    if let Some(group) = &found.group {
        lines.line(
            off,
            "# Rows that are alike in it stay until all are due, so that reuse of a rotated token is still recognised.",
        );
        if let Some(index) = &group.missing_index {
            lines.line(off, &format!("# first: {index};"));
        }
        lines.line(off, &format!("group = {}", quoted(&group.column)));
    }
}

fn due(lines: &mut Lines, off: bool, column: &FoundColumn) {
    let (sureness, sql_type) = (column.sureness.as_str(), &column.sql_type);
    lines.line(off, &format!("  # {sureness}: {} ({sql_type}) tells {}", column.column, column.tells));
    for why in &column.why {
        lines.line(off, &format!("  #   {why}"));
    }
    if let Some(index) = &column.missing_index {
        lines.line(off, &format!("  #   first: {index};"));
    }
    let mut text = format!(
        "  {{ reason = {}, column = {}, keep = {}",
        quoted(&column.reason),
        quoted(&column.column),
        quoted(column.keep)
    );
    // Writing to a String cannot fail.
    if let Some(zone) = column.zone {
        let _ = write!(text, ", zone = {}", quoted(zone));
    }
    if let Some(unit) = column.unit.first() {
        let _ = write!(text, ", unit = {}", quoted(unit));
    }
    text.push_str(" },");
    if column.unit.len() > 1 {
        text.push_str(r#" # "s" of today has 10 digits, "ms" 13, "us" 16"#);
    }
    lines.line(off, &if column.chosen { text } else { format!("  #{}", text.trim_start()) });
}

fn rows(rows: Option<u64>) -> String {
    rows.map_or_else(|| "never analysed".to_owned(), |rows| format!("about {rows} rows"))
}

/// As a text in TOML; in single quotes where that saves escapes.
pub(super) fn quoted(text: &str) -> String {
    let literal = text.contains('"') && !text.contains('\'') && !text.chars().any(char::is_control);
    if literal {
        return format!("'{text}'");
    }
    // What JSON escapes, TOML reads alike; and it wants DEL escaped, too.
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// Without anything that TOML would not have in a line.
fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}
