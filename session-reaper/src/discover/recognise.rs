//! Finds the tables of presets (the built-in targets of known applications). A table is recognized
//! by its name, by the columns that the preset uses and, if the name of the table is common, by the
//! other columns of the table. Only the file of a preset defines what the preset deletes.

use std::collections::{BTreeSet, HashSet};

use super::catalog::{Catalog, Wanted};
use super::doubts;
use super::findings::{FoundPreset, How, PresetTable, missing_index};
use super::shapes::{REFERRERS, Shape, shape};
use super::table::{Column, Table};
use super::values::Known;
use super::{beside, names};
use crate::config::{Preset, PresetTarget};
use reaper::{Ident, Reason};

/// Returns the tables and columns that presets use.
pub(super) fn wanted(presets: &[Preset]) -> Wanted {
    let targets = || presets.iter().flat_map(|preset| &preset.targets);
    let columns: BTreeSet<String> =
        targets().flat_map(columns).map(|column| column.as_str().to_owned()).collect();
    let tables = targets().map(|target| target.table.name.clone()).collect();
    Wanted { tables, columns: columns.into_iter().map(Ident::new).collect() }
}

/// Returns the presets that have tables in the database. A preset with tables in several schemas is
/// returned once for each of these schemas.
pub(super) fn presets(presets: &[Preset], catalog: &Catalog) -> Vec<FoundPreset> {
    presets.iter().flat_map(|preset| in_schemas(preset, catalog)).collect()
}

fn in_schemas(preset: &Preset, catalog: &Catalog) -> Vec<FoundPreset> {
    let fits = |table: &&Table| {
        preset.targets.iter().any(|target| target.enabled && fits(preset.name, table, target))
    };
    let schemas: BTreeSet<&str> = catalog.tables.iter().filter(fits).map(Table::schema).collect();
    let mut found: Vec<FoundPreset> =
        schemas.into_iter().map(|schema| in_schema(preset, schema, catalog)).collect();
    // If there is a schema to which the preset's names resolve, the preset itself covers that
    // schema.
    found.sort_by_key(|found| found.tables.iter().any(|table| table.elsewhere));
    for again in found.iter_mut().filter(|found| found.how == How::Certain).skip(1) {
        again.how = How::Again;
    }
    found
}

fn in_schema(preset: &Preset, schema: &str, catalog: &Catalog) -> FoundPreset {
    let of = |target: &PresetTarget| {
        let table = catalog
            .tables
            .iter()
            .find(|table| table.schema() == schema && fits(preset.name, table, target));
        let led_to = |table: &Table| {
            target.table.schema.as_ref().map_or(table.visible, |own| own.as_str() == schema)
        };
        let columns = target
            .reasons
            .iter()
            .map(|reason| (&reason.column, true))
            .chain(target.group.as_ref().map(|g| (g, false)));
        let missing = |table| {
            columns
                .filter_map(|(column, with_key)| missing_index(catalog, table, column, with_key))
                .collect()
        };
        PresetTable {
            table: target.table.quoted(),
            found: table.map(|table| names::table(&table.name)),
            rows: table.and_then(|table| table.rows),
            off: !target.enabled,
            elsewhere: table.is_some_and(|table| !led_to(table)),
            names_others: target
                .filter
                .as_ref()
                .is_some_and(|filter| words(filter).any(|word| word == "from"))
                || target.text.contains("\nchildren"),
            notes: table.map(|table| doubts::references(table, catalog)).unwrap_or_default(),
            doubts: table
                .map(|table| doubts_of(preset, table, target, catalog))
                .unwrap_or_default(),
            ancient: table.filter(|table| has_ancient(table, target, catalog)).map(|_| "keep"),
            missing_indexes: table.map(missing).unwrap_or_default(),
            oid: table.map(|table| table.oid),
            text: target.text,
        }
    };
    let tables: Vec<PresetTable> = preset.targets.iter().map(of).collect();
    // The versions of a project have different tables, so not all tables are required. One table of
    // two is not enough: the table may be an unrelated `sessions`.
    let wanted: HashSet<&str> =
        tables.iter().filter(|table| !table.off).map(|table| table.table.as_str()).collect();
    let there: HashSet<&str> = tables
        .iter()
        .filter(|table| !table.off && table.found.is_some())
        .map(|table| table.table.as_str())
        .collect();
    let doubtless =
        tables.iter().any(|table| !table.off && table.found.is_some() && table.doubts.is_empty());
    let how = if there.len() * 2 > wanted.len() && doubtless { How::Certain } else { How::Perhaps };
    FoundPreset { preset: preset.name, schema: schema.to_owned(), how, tables }
}

/// Returns whether a table matches a target. The table must have the same name and all columns that
/// the preset uses, with suitable types. If the name is common, the table must also have enough of
/// the other columns.
fn fits(preset: &str, table: &Table, target: &PresetTarget) -> bool {
    let has = |name: &&&str| table.column(&Ident::new(**name)).is_some();
    let shaped = |shape: &Shape| shape.columns.iter().filter(has).count() >= shape.least;
    table.name.name == target.table.name
        && shape(preset, table.name.name.as_str()).is_none_or(shaped)
        && columns(target).all(|column| table.column(&column).is_some())
        && target.reasons.iter().all(|reason| {
            table.column(&reason.column).is_some_and(|column| may_be(reason, &column.sql_type))
        })
}

/// Returns those differences from the table that the project creates that might make the preset
/// delete rows that must be kept.
fn doubts_of(
    preset: &Preset,
    table: &Table,
    target: &PresetTarget,
    catalog: &Catalog,
) -> Vec<String> {
    let same_schema = |other: &reaper::TableName| other.schema == table.name.schema;
    let own = |other: &reaper::TableName| {
        let targets = preset.targets.iter().any(|target| target.table.name == other.name);
        same_schema(other) && (targets || REFERRERS.contains(&other.name.as_str()))
    };
    let mut found = Vec::new();
    let foreign = catalog
        .references(table)
        .iter()
        .find(|reference| !reference.to_itself && !own(&reference.from));
    found.extend(foreign.map(|foreign| {
        format!(
            "{} references these rows and does not belong to the preset",
            names::table(&foreign.from)
        )
    }));
    let mut named = doubts::named(table, catalog);
    let named = named.find(|named| same_schema(&named.table) && !own(&named.table));
    found.extend(named.map(doubts::of_named));
    found.extend(doubts::of_deleting(table));
    if let Some(shape) = shape(preset.name, table.name.name.as_str()) {
        let due: Vec<&Column> =
            target.reasons.iter().filter_map(|reason| table.column(&reason.column)).collect();
        let more =
            table.columns.iter().filter(|column| !shape.columns.contains(&column.name.as_str()));
        let beside = beside::look(table, more, &due);
        found.extend(beside.doubts);
        found.extend(
            beside
                .conditions
                .first()
                .map(|condition| format!("rows may be exempt from expiry: where = {condition:?}")),
        );
    }
    found
}

/// Returns whether a due column contains times before the year 2000.
fn has_ancient(table: &Table, target: &PresetTarget, catalog: &Catalog) -> bool {
    target.reasons.iter().any(|reason| match &catalog.facts(table, &reason.column).values {
        Known::Values(values) => {
            values.times(doubts::per_second(reason.unit), 0.0).ancient.is_some()
        }
        _ => false,
    })
}

fn may_be(reason: &Reason, sql_type: &str) -> bool {
    match sql_type {
        "timestamp with time zone" | "date" => reason.unit.is_none(),
        "timestamp without time zone" => reason.unit.is_none() && reason.zone.is_some(),
        _ => reason.unit.is_some(),
    }
}

/// Returns the columns in the reasons, the group and the condition of a target. In the condition,
/// the row is called `t`.
fn columns(target: &PresetTarget) -> impl Iterator<Item = Ident> {
    let in_filter = target.filter.as_deref().map(of_row).unwrap_or_default();
    let named: Vec<Ident> = target
        .reasons
        .iter()
        .map(|reason| reason.column.clone())
        .chain(target.group.clone())
        .collect();
    named.into_iter().chain(in_filter)
}

fn of_row(filter: &str) -> Vec<Ident> {
    let qualified = filter.split(|c: char| !(c.is_alphanumeric() || "_$.\"".contains(c)));
    qualified.filter_map(|name| name.strip_prefix("t.")).filter_map(Ident::parse).collect()
}

fn words(filter: &str) -> impl Iterator<Item = String> {
    filter.split(|c: char| !(c.is_alphanumeric() || c == '_')).map(str::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_row_are_found_in_a_condition() {
        let filter = r#"NOT EXISTS (SELECT FROM other o WHERE o.id = t.id) AND (t."userId") > 0 AND t.a::text <> 't.b'"#;
        assert_eq!(of_row(filter), ["id", "userId", "a", "b"].map(Ident::new));
    }
}
