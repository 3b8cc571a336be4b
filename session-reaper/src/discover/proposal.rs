//! Formats the findings as a `reaper.toml`.

use std::fmt::Write as _;

use super::findings::{Findings, FoundColumn, FoundPreset, FoundTarget, How, PresetTable};
use super::toml_string::{plain, quoted};

const SKELETON: &str = r#"
# No column was found that looks like an expiry or a revocation. This is an example of a target (docs/reaper-toml.md documents all keys):
#
#[[target]]
#table = "app.login_links"
#due = [{ reason = "expired", column = "expires_at", keep = "1d" }]
"#;

/// Lines of a file. Names come from the database, where an attacker may have chosen them, so a name
/// must not be able to terminate a comment or a string.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn line(&mut self, off: bool, text: &str) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(self.0, "{}{}", if off { "#" } else { "" }, plain(text));
    }

    fn comment(&mut self, text: &str) {
        self.line(false, &format!("# {text}"));
    }
}

/// Returns the whole file.
pub(super) fn text(findings: &Findings) -> String {
    let mut lines = Lines::default();
    lines.comment(&format!(
        "Proposed targets for the database {:?}, derived by role {:?} from the catalog and small samples. Nothing was changed.",
        findings.database, findings.role
    ));
    if findings.presets.is_empty() && findings.targets.is_empty() {
        unrecognised(&mut lines, findings);
        return lines.0 + SKELETON;
    }
    for text in [
        "Targets about which there is no doubt are active. All others are commented out, with the confidence and the reasons.",
        "To activate a target, remove one # from each line of its [[target]].",
        "Before the first run, review all targets and each `keep`, and create the indexes.",
    ] {
        lines.comment(text);
    }
    if !findings.presets.iter().any(FoundPreset::live)
        && !findings.targets.iter().any(|target| target.live)
    {
        lines.comment(
            "Nothing is certain here, so a run deletes nothing until you activate a target.",
        );
    }
    lines.blank();
    let named: Vec<String> = findings
        .presets
        .iter()
        .filter(|found| found.how == How::Certain)
        .map(|found| quoted(found.preset))
        .collect();
    if !named.is_empty() {
        lines.line(false, &format!("preset = [{}]", named.join(", ")));
    }
    for found in &findings.presets {
        preset(&mut lines, found);
    }
    for found in &findings.targets {
        target(&mut lines, found);
    }
    unrecognised(&mut lines, findings);
    lines.0
}

fn unrecognised(lines: &mut Lines, findings: &Findings) {
    for found in &findings.unrecognised {
        lines.blank();
        lines.comment(&format!(
            "{}: {}; looks like sessions, no column recognized",
            found.table,
            rows(found.rows)
        ));
        for column in &found.unusable {
            lines.comment(&format!(
                "- the type of {column} is not supported; supported are timestamps, dates and integers"
            ));
        }
    }
}

fn preset(lines: &mut Lines, found: &FoundPreset) {
    lines.blank();
    let FoundPreset { preset, schema, how, tables } = found;
    lines.comment(&match how {
        How::Certain => format!("Preset {preset}; docs/presets/{preset}.md documents what it deletes and why."),
        How::Again => {
            format!("The tables of preset {preset} also exist in the schema {schema}. These are the preset's targets for that schema.")
        }
        How::Perhaps => format!(
            "Possibly preset {preset}: too few of its tables match, or some differ from the project's. If it is the right preset, use preset = {}.",
            quoted(preset)
        ),
    });
    for table in tables {
        preset_table(lines, found, table);
    }
}

fn preset_table(lines: &mut Lines, preset: &FoundPreset, table: &PresetTable) {
    lines.comment(&match &table.found {
        None => format!("- {}: not found", table.table),
        Some(name) => {
            let off = if table.off { "; skipped unless enabled = true" } else { "" };
            format!("- {}: {name}, {}{off}", table.table, rows(table.rows))
        }
    });
    if table.off {
        return;
    }
    for note in &table.notes {
        lines.comment(&format!("    {note}"));
    }
    for doubt in &table.doubts {
        lines.comment(&format!("    but {doubt}"));
    }
    if !preset.live() {
        return;
    }
    for index in &table.missing_indexes {
        lines.comment(&format!("    first: {index};"));
    }
    let Some(name) = &table.found else { return };
    if table.names_others && (preset.how == How::Again || table.elsewhere) {
        lines.comment("    The `where` or `children` of this target names other tables without a schema. Before you use this target, copy that key from the preset and add the schema to the names.");
    }
    if preset.how == How::Again {
        again(lines, table, name);
    } else {
        change(lines, table, name);
    }
}

/// Writes all keys of a target of a preset (the built-in targets of a known application), for a
/// table in a schema that the preset does not cover.
fn again(lines: &mut Lines, table: &PresetTable, name: &str) {
    let off = table.names_others || !table.doubts.is_empty();
    for line in table.text.lines() {
        let line = if line.starts_with("table = ") {
            format!("table = {}", quoted(name))
        } else {
            line.to_owned()
        };
        lines.line(off, &line);
    }
    ancient(lines, off, table.ancient);
}

/// Writes the keys that override keys of the preset's target.
fn change(lines: &mut Lines, table: &PresetTable, name: &str) {
    let doubtful = !table.doubts.is_empty();
    if !table.elsewhere && !doubtful && table.ancient.is_none() {
        return;
    }
    if doubtful {
        lines.comment("    Disabled: remove `enabled` after you have resolved these doubts.");
    }
    let off = table.names_others && table.elsewhere && !doubtful;
    lines.line(off, "[[target]]");
    lines.line(
        off,
        &format!("table = {}", quoted(if table.elsewhere { name } else { &table.table })),
    );
    if table.elsewhere {
        lines.line(off, &format!("replaces = {}", quoted(&table.table)));
    }
    if doubtful {
        lines.line(off, "enabled = false");
    }
    ancient(lines, off, table.ancient);
}

fn ancient(lines: &mut Lines, off: bool, ancient: Option<&str>) {
    if let Some(ancient) = ancient {
        lines.line(
            off,
            "# Times before the year 2000, such as 0 or 0001-01-01, often mean \"never\": such rows are kept.",
        );
        lines.line(off, &format!("ancient = {}", quoted(ancient)));
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
        lines.line(off, "# Rows that a flag exempts from expiry are kept.");
        lines.line(off, &format!("where = {}", quoted(filter)));
    }
    ancient(lines, off, found.ancient);
    if let Some(group) = &found.group {
        lines.line(
            off,
            "# Rows with the same value are kept until all of them are due, so that reuse of a rotated token is still detected.",
        );
        if let Some(index) = &group.missing_index {
            lines.line(off, &format!("# first: {index};"));
        }
        lines.line(off, &format!("group = {}", quoted(&group.column)));
    }
}

fn due(lines: &mut Lines, off: bool, column: &FoundColumn) {
    let (sureness, sql_type) = (column.sureness.as_str(), &column.sql_type);
    lines.line(
        off,
        &format!("  # {sureness}: {} ({sql_type}) stores {}", column.column, column.tells),
    );
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
        text.push_str(r#" # a current time has 10 digits in "s", 13 in "ms", 16 in "us""#);
    }
    lines.line(off, &if column.chosen { text } else { format!("  #{}", text.trim_start()) });
}

fn rows(rows: Option<u64>) -> String {
    rows.map_or_else(|| "never analysed".to_owned(), |rows| format!("about {rows} rows"))
}
