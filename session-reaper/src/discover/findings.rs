//! The findings: what `discover` has found in the database. The proposal is derived from the
//! findings, and `--output json` prints them.

use serde::Serialize;

use super::catalog::Catalog;
use super::shapes::REFERRERS;
use super::signs::Sureness;
use super::table::{Kind, Table};
use super::{names, reading};
use reaper::Ident;

/// All findings.
#[derive(Debug, Serialize)]
pub struct Findings {
    pub(super) database: String,
    pub(super) role: String,
    pub(super) presets: Vec<FoundPreset>,
    pub(super) targets: Vec<FoundTarget>,
    /// Tables whose names suggest sessions, tokens or codes, but in which no column was recognized
    /// that determines when rows may be deleted.
    pub(super) unrecognised: Vec<Unrecognised>,
    /// The proposed file.
    pub config: String,
}

/// How certain it is that tables belong to a preset (the built-in targets of a known application).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// More than half of the preset's tables exist.
    Certain,
    /// More than half of the preset's tables exist in this schema, but also in another one. The
    /// name of the preset in `reaper.toml` stands for the tables in that other schema. Therefore,
    /// the targets for this schema are written in full.
    Again,
    /// Some tables are, or look like, tables of the preset.
    Perhaps,
}

/// A preset (a built-in list of targets for a known application) whose tables were found in one
/// schema of the database.
#[derive(Debug, Serialize)]
pub(super) struct FoundPreset {
    pub(super) preset: &'static str,
    pub(super) schema: String,
    pub(super) how: How,
    pub(super) tables: Vec<PresetTable>,
}

/// A target of a preset.
#[derive(Debug, Serialize)]
pub(super) struct PresetTable {
    /// The name in the preset.
    pub(super) table: String,
    /// The name in this database; `None` if the table is missing.
    pub(super) found: Option<String>,
    pub(super) rows: Option<u64>,
    /// Whether the preset disables the target by default.
    pub(super) off: bool,
    /// `true` if the name in the preset does not resolve to the table in this database. The
    /// proposal then needs `replaces`.
    pub(super) elsewhere: bool,
    /// Whether the target's `where` or `children` contain names of other tables without a schema.
    /// If the target is used for another schema, these names may resolve to unrelated tables.
    pub(super) names_others: bool,
    /// Foreign keys that reference the table.
    pub(super) notes: Vec<String>,
    /// Differences from the table that the project creates. Any difference disables the target.
    pub(super) doubts: Vec<String>,
    /// The proposed handling of times before the year 2000; set if the columns contain such times.
    pub(super) ancient: Option<&'static str>,
    /// Indexes to create before the first run.
    pub(super) missing_indexes: Vec<String>,
    #[serde(skip)]
    pub(super) oid: Option<u32>,
    /// The TOML text in the preset.
    #[serde(skip)]
    pub(super) text: &'static str,
}

/// A table that belongs to no preset and has columns that may determine when rows should be
/// deleted.
#[derive(Debug, Serialize)]
pub(super) struct FoundTarget {
    pub(super) table: String,
    pub(super) rows: Option<u64>,
    /// Whether the target is certain enough to be active in the proposal.
    pub(super) live: bool,
    pub(super) columns: Vec<FoundColumn>,
    pub(super) group: Option<Group>,
    /// The condition that excludes the rows that a flag exempts from deletion.
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    /// The proposed handling of times before the year 2000; set if the columns contain or may
    /// contain such times.
    pub(super) ancient: Option<&'static str>,
    pub(super) notes: Vec<String>,
}

/// A table whose name suggests sessions, tokens or codes, but in which no column was recognized
/// that determines when rows may be deleted.
#[derive(Debug, Serialize)]
pub(super) struct Unrecognised {
    pub(super) table: String,
    pub(super) rows: Option<u64>,
    /// Columns that seem to contain the time at which a row is due, but have an unsupported type,
    /// each with its type.
    pub(super) unusable: Vec<String>,
}

/// A column that may determine when rows should be deleted.
#[derive(Debug, Serialize)]
pub(super) struct FoundColumn {
    pub(super) column: String,
    #[serde(rename = "type")]
    pub(super) sql_type: String,
    pub(super) tells: &'static str,
    pub(super) reason: String,
    pub(super) keep: &'static str,
    pub(super) zone: Option<&'static str>,
    /// The unit of an integer column; all possible units if the unit is not known.
    pub(super) unit: Vec<&'static str>,
    pub(super) sureness: Sureness,
    pub(super) why: Vec<String>,
    /// Whether the column is part of the proposed target, and not commented out. The whole target
    /// may be commented out even so.
    pub(super) chosen: bool,
    pub(super) missing_index: Option<String>,
}

/// A column that has the same value in rows that belong together.
#[derive(Debug, Serialize)]
pub(super) struct Group {
    pub(super) column: String,
    pub(super) missing_index: Option<String>,
}

impl Findings {
    pub(super) fn new(
        catalog: &Catalog,
        presets: Vec<FoundPreset>,
        targets: Vec<FoundTarget>,
        unrecognised: Vec<Unrecognised>,
    ) -> Self {
        let (database, role) = (catalog.database.clone(), catalog.role.clone());
        Self { database, role, presets, targets, unrecognised, config: String::new() }
    }
}

impl FoundPreset {
    pub(super) fn live(&self) -> bool {
        self.how != How::Perhaps
    }

    /// Returns the OIDs of the preset's tables, and of the referencing tables that the preset
    /// covers.
    pub(super) fn oids<'a>(&'a self, catalog: &'a Catalog) -> impl Iterator<Item = u32> + 'a {
        let beside = catalog.tables.iter().filter(|table| {
            table.schema() == self.schema && REFERRERS.contains(&table.name.name.as_str())
        });
        self.tables.iter().filter_map(|table| table.oid).chain(beside.map(|table| table.oid))
    }
}

impl Unrecognised {
    pub(super) fn new(table: &Table) -> Self {
        let unusable = reading::of_other_types(table)
            .map(|column| format!("{} {}", names::ident(&column.name), column.sql_type));
        Self { table: names::table(&table.name), rows: table.rows, unusable: unusable.collect() }
    }
}

/// Returns the statement that creates the index on a due column or on the column of a group, if the
/// index is missing.
pub(super) fn missing_index(
    catalog: &Catalog,
    table: &Table,
    column: &Ident,
    with_key: bool,
) -> Option<String> {
    if catalog.facts(table, column).indexed {
        return None;
    }
    let column = names::ident(column);
    let key = table.key.iter().filter(|part| with_key && **part != column);
    let columns: Vec<&str> = [&column].into_iter().chain(key).map(String::as_str).collect();
    // PostgreSQL does not support CONCURRENTLY on a partitioned table.
    let concurrently = if table.kind == Kind::Partitioned { "" } else { " CONCURRENTLY" };
    Some(format!(
        "CREATE INDEX{concurrently} ON {} ({})",
        names::table(&table.name),
        columns.join(", ")
    ))
}
