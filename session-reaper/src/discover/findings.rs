//! What was found, as data: the proposal is written from it, and `--output json` prints it.

use serde::Serialize;

use super::catalog::Catalog;
use super::shapes::REFERRERS;
use super::signs::Sureness;
use super::table::{Kind, Table};
use super::{names, reading};
use crate::sweep::Ident;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Findings {
    pub(super) database: String,
    pub(super) role: String,
    pub(super) presets: Vec<FoundPreset>,
    pub(super) targets: Vec<FoundTarget>,
    /// Tables whose names speak of sessions and the like, without a column by which their rows
    /// could go.
    pub(super) unrecognised: Vec<Unrecognised>,
    /// The proposed file.
    pub config: String,
}

/// How tables come to be those of a preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum How {
    /// More than half of its tables are there.
    Certain,
    /// As certain, in one more schema: the preset stands for those in another, and these are
    /// written out.
    Again,
    /// Some of its tables are there, or what looks like them.
    Perhaps,
}

/// A preset of which tables are there, all in one schema.
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
    /// As the preset names it.
    pub(super) table: String,
    /// As it is named here; none where it is missing.
    pub(super) found: Option<String>,
    pub(super) rows: Option<u64>,
    /// Switched off unless somebody asks for it.
    pub(super) off: bool,
    /// The preset's name for it does not lead to it: it takes `replaces`.
    pub(super) elsewhere: bool,
    /// Its condition, or its children, names other tables without their schema, which elsewhere
    /// may be those of somebody else.
    pub(super) names_others: bool,
    /// What refers to it.
    pub(super) notes: Vec<String>,
    /// What is here and not in the project: with any of these it is switched off.
    pub(super) doubts: Vec<String>,
    /// What is proposed for times from before the year 2000, where there are any.
    pub(super) ancient: Option<&'static str>,
    /// Indexes that are to be created first.
    pub(super) missing_indexes: Vec<String>,
    #[serde(skip)]
    pub(super) oid: Option<u32>,
    /// How the preset writes it.
    #[serde(skip)]
    pub(super) text: &'static str,
}

/// A table of no preset, with columns by which its rows might go.
#[derive(Debug, Serialize)]
pub(super) struct FoundTarget {
    pub(super) table: String,
    pub(super) rows: Option<u64>,
    /// Certain enough to be proposed as it is.
    pub(super) live: bool,
    pub(super) columns: Vec<FoundColumn>,
    pub(super) group: Option<Group>,
    /// What exempts rows from these reasons.
    #[serde(rename = "where")]
    pub(super) filter: Option<String>,
    /// What is proposed for times from before the year 2000, where there are or may be any.
    pub(super) ancient: Option<&'static str>,
    pub(super) notes: Vec<String>,
}

/// A table that looks like one of sessions, and has no column that is recognised.
#[derive(Debug, Serialize)]
pub(super) struct Unrecognised {
    pub(super) table: String,
    pub(super) rows: Option<u64>,
    /// Columns that seem to say when a row may go, in types that cannot be used, with these types.
    pub(super) unusable: Vec<String>,
}

/// A column by which rows might go.
#[derive(Debug, Serialize)]
pub(super) struct FoundColumn {
    pub(super) column: String,
    #[serde(rename = "type")]
    pub(super) sql_type: String,
    pub(super) tells: &'static str,
    pub(super) reason: String,
    pub(super) keep: &'static str,
    pub(super) zone: Option<&'static str>,
    /// What it counts; for integers of which that is not known, each that may be.
    pub(super) unit: Vec<&'static str>,
    pub(super) sureness: Sureness,
    pub(super) why: Vec<String>,
    /// Stands in the target as it is, be the target itself commented out or not.
    pub(super) chosen: bool,
    pub(super) missing_index: Option<String>,
}

/// A column in which rows that belong together are alike.
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

    /// Its tables, and those beside them whose rows it accounts for.
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

/// The index that a pass or a group takes, when there is none.
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
    // A partitioned table takes no CONCURRENTLY.
    let concurrently = if table.kind == Kind::Partitioned { "" } else { " CONCURRENTLY" };
    Some(format!(
        "CREATE INDEX{concurrently} ON {} ({})",
        names::table(&table.name),
        columns.join(", ")
    ))
}
