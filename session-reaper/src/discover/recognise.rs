//! Finding the tables of presets: by their names, and by the columns that the preset speaks of. What a preset is stands in
//! its file alone.

use std::collections::{BTreeSet, HashSet};

use super::catalog::{Catalog, Table};
use super::findings::{FoundPreset, How, PresetTable, missing_index};
use super::judge;
use crate::config::{Preset, PresetTarget};
use crate::sweep::{Ident, Reason};

/// The columns that presets speak of.
pub(super) fn wanted(presets: &[Preset]) -> Vec<Ident> {
    let names: BTreeSet<String> = presets
        .iter()
        .flat_map(|preset| &preset.targets)
        .flat_map(columns)
        .map(|column| column.as_str().to_owned())
        .collect();
    names.into_iter().map(Ident::new).collect()
}

/// Each preset of which tables are there, once a schema.
pub(super) fn presets(presets: &[Preset], catalog: &Catalog) -> Vec<FoundPreset> {
    presets.iter().flat_map(|preset| in_schemas(preset, catalog)).collect()
}

fn in_schemas(preset: &Preset, catalog: &Catalog) -> Vec<FoundPreset> {
    let fits = |table: &&Table| preset.targets.iter().any(|target| target.enabled && fits(table, target));
    let schemas: BTreeSet<&str> = catalog.tables.iter().filter(fits).map(Table::schema).collect();
    let mut found: Vec<FoundPreset> = schemas.into_iter().map(|schema| in_schema(preset, schema, catalog)).collect();
    // The preset stands for the tables that its names lead to, where there are any.
    found.sort_by_key(|found| found.tables.iter().any(|table| table.elsewhere));
    for again in found.iter_mut().filter(|found| found.how == How::Certain).skip(1) {
        again.how = How::Again;
    }
    found
}

fn in_schema(preset: &Preset, schema: &str, catalog: &Catalog) -> FoundPreset {
    let of = |target: &PresetTarget| {
        let table = catalog.tables.iter().find(|table| table.schema() == schema && fits(table, target));
        let led_to = |table: &Table| target.table.schema.as_ref().map_or(table.visible, |own| own.as_str() == schema);
        let columns =
            target.reasons.iter().map(|reason| (&reason.column, true)).chain(target.group.as_ref().map(|g| (g, false)));
        let missing =
            |table| columns.filter_map(|(column, with_key)| missing_index(catalog, table, column, with_key)).collect();
        PresetTable {
            table: target.table.spelt(),
            found: table.map(|table| table.name.spelt()),
            rows: table.and_then(|table| table.rows),
            off: !target.enabled,
            elsewhere: table.is_some_and(|table| !led_to(table)),
            names_others: target.filter.as_ref().is_some_and(|filter| words(filter).any(|word| word == "from"))
                || target.text.contains("\nchildren"),
            notes: table.map(|table| judge::references(table, catalog)).unwrap_or_default(),
            missing_indexes: table.map(missing).unwrap_or_default(),
            oid: table.map(|table| table.oid),
            text: target.text,
        }
    };
    let tables: Vec<PresetTable> = preset.targets.iter().map(of).collect();
    // A project adds tables in one version and drops them in another; but one table of two may be anybody's `sessions`.
    let wanted: HashSet<&str> = tables.iter().filter(|table| !table.off).map(|table| table.table.as_str()).collect();
    let there: HashSet<&str> =
        tables.iter().filter(|table| !table.off && table.found.is_some()).map(|table| table.table.as_str()).collect();
    let how = if there.len() * 2 > wanted.len() { How::Certain } else { How::Perhaps };
    FoundPreset { preset: preset.name, schema: schema.to_owned(), how, tables }
}

/// The name is the same, and so is every column that the preset speaks of, in a type that it can be spoken of in.
fn fits(table: &Table, target: &PresetTarget) -> bool {
    table.name.name == target.table.name
        && columns(target).all(|column| table.column(&column).is_some())
        && target
            .reasons
            .iter()
            .all(|reason| table.column(&reason.column).is_some_and(|column| may_be(reason, &column.sql_type)))
}

fn may_be(reason: &Reason, sql_type: &str) -> bool {
    match sql_type {
        "timestamp with time zone" | "date" => reason.unit.is_none(),
        "timestamp without time zone" => reason.unit.is_none() && reason.zone.is_some(),
        _ => reason.unit.is_some(),
    }
}

/// Those of its reasons, its group, and its condition, in which the row is called `t`.
fn columns(target: &PresetTarget) -> impl Iterator<Item = Ident> {
    let spoken_of = target.filter.as_deref().map(of_row).unwrap_or_default();
    let named: Vec<Ident> =
        target.reasons.iter().map(|reason| reason.column.clone()).chain(target.group.clone()).collect();
    named.into_iter().chain(spoken_of)
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
    fn a_condition_speaks_of_the_columns_of_its_row() {
        let filter =
            r#"NOT EXISTS (SELECT FROM other o WHERE o.id = t.id) AND (t."userId") > 0 AND t.a::text <> 't.b'"#;
        assert_eq!(of_row(filter), ["id", "userId", "a", "b"].map(Ident::new));
    }
}
