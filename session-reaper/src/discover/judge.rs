//! Evaluates the columns of a table. Determines, for each column, its meaning, the confidence that
//! it shows when rows may be deleted, and doubts about this.

use super::beside::{self, ColumnContext};
use super::catalog::Catalog;
use super::doubts;
use super::findings::{FoundColumn, FoundTarget, Group, missing_index};
use super::names::{self, words};
use super::nouns::{self, Rows};
use super::reading::{Reading, is_integer, read};
use super::signs::{Meaning, Sureness};
use super::table::{Column, Facts, Kind, Table};
use super::values::{Known, UNITS};
use reaper::Unit;

/// Returns the possible targets for a table: at most one or, if a condition applies to only some of
/// the reasons, two.
pub(super) fn targets(table: &Table, catalog: &Catalog) -> Vec<FoundTarget> {
    let mut readings: Vec<(&Column, Reading)> =
        table.columns.iter().filter_map(|column| Some((column, read(table, column)?))).collect();
    // Times of creation or of the last change are ignored if the table has a column with another
    // meaning.
    for little in [Meaning::Creation, Meaning::Change] {
        if readings.iter().any(|(_, reading)| reading.consequence.meaning != little) {
            readings.retain(|(_, reading)| reading.consequence.meaning != little);
        }
    }
    if readings.is_empty() {
        return Vec::new();
    }
    let times: Vec<&Column> = readings.iter().map(|(column, _)| *column).collect();
    let beside = beside::look(table, table.columns.iter(), &times);
    // A row that is exempt from expiry may still be revoked, so the condition applies only to
    // expiry.
    let (exempt, others): (Vec<_>, Vec<_>) = readings
        .into_iter()
        .partition(|(_, reading)| !beside.conditions.is_empty() && reading.is_expiry());
    let filter = (!exempt.is_empty()).then(|| beside.conditions.join(" AND "));
    let split = !exempt.is_empty() && !others.is_empty();
    let parts =
        [(exempt, filter), (others, None)].into_iter().filter(|(readings, _)| !readings.is_empty());
    parts
        .map(|(readings, filter)| target(table, catalog, &readings, filter, &beside, split))
        .collect()
}

fn target(
    table: &Table,
    catalog: &Catalog,
    readings: &[(&Column, Reading)],
    filter: Option<String>,
    beside: &ColumnContext,
    split: bool,
) -> FoundTarget {
    let expiries: Vec<&Column> =
        readings.iter().filter(|(_, r)| r.is_expiry()).map(|(column, _)| *column).collect();
    let of_table: Vec<String> =
        doubts::of_name(table).into_iter().chain(beside.doubts.iter().cloned()).collect();
    let of_rows = doubts::of_rows(table, catalog);
    let mut ancient = false;
    let mut columns: Vec<FoundColumn> = Vec::new();
    for (column, reading) in readings {
        let mut found = found(table, catalog, column, reading);
        let facts = catalog.facts(table, &column.name);
        let values = doubts::of_values(column, reading, facts, &found.unit);
        ancient |= values.ancient;
        let other = expiries.iter().find(|other| reading.is_expiry() && other.name != column.name);
        let other =
            other.map(|other| format!("{} has the same meaning", names::ident(&other.name)));
        for doubt in of_table.iter().chain(&of_rows).chain(&values.doubts).chain(&other) {
            found.sureness = found.sureness.lowered();
            found.why.push(format!("but {doubt}"));
        }
        found.why.extend(values.notes);
        columns.push(found);
    }
    columns.sort_by_key(|column| std::cmp::Reverse(column.sureness));
    let best = columns.iter().map(|column| column.sureness).max().unwrap_or(Sureness::Low);
    for column in &mut columns {
        column.chosen = column.sureness == best;
    }
    name_apart(&mut columns);
    let group = table.group().filter(|_| best > Sureness::Low).map(|column| Group {
        column: names::ident(column),
        missing_index: missing_index(catalog, table, column, false),
    });
    let mut notes = notes(table, catalog);
    if split && group.is_some() {
        notes
            .push("the table has two targets; rows that belong together are kept until all of them are due by the same target".to_owned());
    }
    FoundTarget {
        table: names::table(&table.name),
        rows: table.rows,
        live: best == Sureness::High,
        columns,
        group,
        filter,
        ancient: ancient.then_some("keep"),
        notes,
    }
}

fn notes(table: &Table, catalog: &Catalog) -> Vec<String> {
    let mut notes = vec![match nouns::rows(&words(table.name.name.as_str())) {
        (Rows::Fleeting, Some(noun)) => {
            format!("its name contains {noun:?}: such rows are usually temporary")
        }
        (Rows::Lasting, Some(noun)) => {
            format!("its name contains {noun:?}: such rows are often permanent")
        }
        _ => "its name does not show whether its rows are temporary".to_owned(),
    }];
    notes.extend(doubts::references(table, catalog));
    if table.kind == Kind::Partitioned {
        notes.push(
            "it is partitioned: if whole partitions are due, dropping them is cheaper".to_owned(),
        );
    }
    notes
}

/// Changes the names of the reasons in a target, so that they are unique.
fn name_apart(columns: &mut [FoundColumn]) {
    let names: Vec<String> = columns.iter().map(|column| column.reason.clone()).collect();
    for (index, column) in columns.iter_mut().enumerate() {
        let before = names[..index].iter().filter(|name| **name == column.reason).count();
        if before > 0 {
            column.reason = format!("{}_{}", column.reason, before + 1);
        }
    }
}

fn found(table: &Table, catalog: &Catalog, column: &Column, reading: &Reading) -> FoundColumn {
    let consequence = reading.consequence;
    let mut why = Vec::new();
    if !reading.of_row {
        why.push("but it may describe a part of the row, not the row itself".to_owned());
    }
    let facts = catalog.facts(table, &column.name);
    let zone = (column.sql_type == "timestamp without time zone").then_some("UTC");
    if zone.is_some() {
        why.push(
            "it has no time zone: UTC is assumed; the error is at most 14 hours, which `keep` covers"
                .to_owned(),
        );
    }
    if column.nullable {
        why.push("rows in which it is null are kept".to_owned());
    }
    if facts.indexed {
        why.push("it is the first column of an index".to_owned());
    }
    let unit = if is_integer(column) { unit(column, reading.unit, facts) } else { Vec::new() };
    if let [unit] = unit.as_slice() {
        why.push(format!("its unit is {unit} since 1970, according to its values, name or type"));
    }
    FoundColumn {
        column: names::ident(&column.name),
        sql_type: column.sql_type.clone(),
        tells: consequence.tells,
        reason: consequence.reason.to_owned(),
        keep: consequence.keep,
        zone,
        unit,
        sureness: reading.sureness,
        why,
        chosen: false,
        missing_index: missing_index(catalog, table, &column.name, true),
    }
}

/// Returns the possible units of an integer column, according to its values, name and type.
fn unit(column: &Column, named: Option<Unit>, facts: &Facts) -> Vec<&'static str> {
    let all = || UNITS.iter().map(|(name, ..)| *name).collect();
    match &facts.values {
        // Values that are not times in any unit contradict the name.
        Known::Values(values) if values.median().is_some() => {
            return values.unit().map_or_else(all, |(name, ..)| vec![*name]);
        }
        _ => {}
    }
    let named = UNITS.iter().find(|(_, unit, _)| Some(*unit) == named);
    // Milliseconds since 1970 do not fit into 32 bits.
    let typed = UNITS.first().filter(|_| column.sql_type == "integer");
    named.or(typed).map_or_else(all, |(name, ..)| vec![*name])
}
