//! A table as the catalog describes it.

use tokio_postgres::{Error, Row};

use super::names;
use super::signs::GROUPS;
use super::values::Known;
use crate::sweep::{Ident, TableName};

/// A table. It has all of its columns if it is a candidate, otherwise only those that could be a
/// time.
pub(super) struct Table {
    pub(super) oid: u32,
    /// With its schema.
    pub(super) name: TableName,
    /// The configured `search_path` leads to it by its name alone.
    pub(super) visible: bool,
    pub(super) kind: Kind,
    /// A trigger or a rule acts when a row is deleted.
    pub(super) acts_on_delete: bool,
    /// As of the last VACUUM or ANALYZE; none before the first.
    pub(super) rows: Option<u64>,
    pub(super) columns: Vec<Column>,
    /// In quotes where SQL wants them.
    pub(super) key: Vec<String>,
}

/// Which other tables have rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// None.
    Plain,
    /// Its partitions, and it has none itself.
    Partitioned,
    /// Those that inherit from it, beside its own.
    Parent,
}

#[derive(Clone)]
pub(super) struct Column {
    pub(super) name: Ident,
    pub(super) sql_type: String,
    pub(super) nullable: bool,
}

/// What is looked up only for columns that matter.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) indexed: bool,
    pub(super) values: Known,
}

impl Table {
    pub(super) fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    pub(super) fn schema(&self) -> &str {
        self.name.schema.as_ref().map(Ident::as_str).unwrap_or_default()
    }

    /// The column that keeps rows together.
    pub(super) fn group(&self) -> Option<&Ident> {
        let group =
            |column: &&Column| GROUPS.contains(&names::run_together(column.name.as_str()).as_str());
        self.columns.iter().find(group).map(|column| &column.name)
    }
}

/// The schema of a table in one column, its name in the next.
pub(super) fn name(row: &Row, at: usize) -> Result<TableName, Error> {
    let (schema, name): (String, String) = (row.try_get(at)?, row.try_get(at + 1)?);
    Ok(TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) })
}

/// The oids and names of columns, as statements take them.
pub(super) fn keys(asked: &[(&Table, &Column)]) -> (Vec<u32>, Vec<String>) {
    asked.iter().map(|(table, column)| (table.oid, column.name.as_str().to_owned())).unzip()
}
