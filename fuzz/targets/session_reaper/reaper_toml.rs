use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use reaper::{ChildTable, Ident, Order, SetColumn, TableName, Target, Unit};
use session_reaper::config::targets_of;

/// Maximum value of `keep`.
const LONGEST: Duration = Duration::from_hours(24 * 36_525);

/// Asserts that every error is reported with a line of the file, and that valid targets are
/// consistent. Also asserts that the targets are the same after they are written as a file and
/// parsed again.
pub fn reaper_toml(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match targets_of("reaper.toml", text) {
        Err(errors) => errors_have_lines(&errors.to_string(), text),
        Ok(targets) => {
            is_consistent(&targets);
            let written = targets.iter().map(written).collect::<String>();
            let again = targets_of("reaper.toml", &written)
                .unwrap_or_else(|why| panic!("{why}\n{written}"));
            assert_eq!(meaning(&again), meaning(&targets), "{written}");
        }
    }
}

fn errors_have_lines(errors: &str, text: &str) {
    let lines = text.matches('\n').count() + 1;
    let line_of = |line: &str| {
        let (line, _) = line.trim_start().strip_prefix("reaper.toml:")?.split_once(':')?;
        line.parse::<usize>().ok()
    };
    let numbers: Vec<usize> = errors.lines().filter_map(line_of).collect();
    assert!(!numbers.is_empty(), "no error has a line: {errors}");
    assert!(
        numbers.iter().all(|line| (1..=lines).contains(line)),
        "the file has {lines} lines: {errors}"
    );
}

fn is_consistent(targets: &[Target]) {
    assert!(!targets.is_empty());
    let names: BTreeSet<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    assert_eq!(names.len(), targets.len(), "duplicate target name: {names:?}");
    for target in targets {
        assert_eq!(TableName::parse(&target.table.quoted()).as_ref(), Some(&target.table));
        assert!(target.chunk.is_none_or(|rows| (1..=100_000).contains(&rows)), "{target:?}");
        assert!(
            target.filter.as_ref().is_none_or(|filter| !filter.trim().is_empty()),
            "{target:?}"
        );
        assert!(!target.reasons.is_empty(), "{target:?}");
        let reasons: BTreeSet<&str> =
            target.reasons.iter().map(|reason| reason.name.as_str()).collect();
        assert_eq!(reasons.len(), target.reasons.len(), "duplicate reason: {target:?}");
        for reason in &target.reasons {
            assert_eq!(Ident::parse(&reason.column.quoted()).as_ref(), Some(&reason.column));
            assert!(reason.keep <= LONGEST, "{target:?}");
            // Whatever the file contains, rows that auth-api still needs must never be deleted.
            let least = match (target.table.name.as_str(), reason.column.as_str()) {
                ("sessions", "expires_at" | "revoked_at") => Duration::from_hours(1),
                ("consumed_challenges", "expires_at") => Duration::from_mins(10),
                _ => Duration::ZERO,
            };
            assert!(reason.keep >= least, "{target:?}");
        }
    }
}

/// Returns all properties of the targets, except their location in the file.
fn meaning(targets: &[Target]) -> Vec<String> {
    let of = |t: &Target| {
        format!(
            "{:?}",
            (
                &t.name,
                &t.table,
                &t.reasons,
                &t.filter,
                &t.group,
                &t.children,
                &t.set,
                t.order,
                t.chunk,
                t.confirmed
            )
        )
    };
    targets.iter().map(of).collect()
}

/// Writes a target as a `[[target]]` table, including the values that came from a preset.
fn written(target: &Target) -> String {
    let mut toml = format!("[[target]]\ntable = {}\ndue = [", text(&target.table.quoted()));
    for reason in &target.reasons {
        let keep = humantime::format_duration(reason.keep).to_string();
        let (name, column, keep) = (text(&reason.name), text(&reason.column.quoted()), text(&keep));
        let _ = write!(toml, "{{ reason = {name}, column = {column}, keep = {keep}");
        if let Some(filter) = &reason.filter {
            let _ = write!(toml, ", where = {}", text(filter));
        }
        if let Some(zone) = reason.zone {
            let _ = write!(toml, ", zone = {}", text(zone.name()));
        }
        if let Some(unit) = reason.unit {
            let unit = match unit {
                Unit::Seconds => "s",
                Unit::Milliseconds => "ms",
                Unit::Microseconds => "us",
            };
            let _ = write!(toml, ", unit = {}", text(unit));
        }
        toml.push_str(" }, ");
    }
    toml.push_str("]\nchildren = [");
    for ChildTable { table, columns } in &target.children {
        let columns: Vec<String> = columns.iter().map(|column| text(&column.quoted())).collect();
        let _ = write!(
            toml,
            "{{ table = {}, columns = [{}] }}, ",
            text(&table.quoted()),
            columns.join(", ")
        );
    }
    toml.push_str("]\nset = {");
    for (n, SetColumn { column, value }) in target.set.iter().enumerate() {
        let between = if n > 0 { ", " } else { "" };
        let (column, value) = (text(&column.quoted()), text(&value.to_string()));
        let _ = write!(toml, "{between} {column} = {value}");
    }
    toml.push_str(" }\n");
    let filter = target.filter.as_deref().map(|filter| ("where", text(filter)));
    let group = target.group.as_ref().map(|group| ("group", text(&group.quoted())));
    let order = target.order.map(|order| {
        let order = match order {
            Order::Index => "index",
            Order::Heap => "heap",
        };
        ("order", text(order))
    });
    let chunk = target.chunk.map(|rows| ("chunk", rows.to_string()));
    for (key, value) in [filter, group, order, chunk].into_iter().flatten() {
        let _ = writeln!(toml, "{key} = {value}");
    }
    let _ = writeln!(toml, "confirmed = {}", target.confirmed);
    toml
}

/// Returns the text as a basic TOML string. This is the same as the JSON string, except that TOML
/// also requires U+007F to be escaped.
fn text(of: &str) -> String {
    serde_json::Value::from(of).to_string().replace('\u{7f}', "\\u007f")
}
