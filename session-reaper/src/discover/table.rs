//! A table as the catalog describes it.

use tokio_postgres::{Error, Row};

use super::names;
use super::signs::GROUPS;
use super::values::Known;
use reaper::{Ident, TableName};

/// A table. If the table is a candidate, all its columns are listed. Otherwise, only columns that
/// could contain a time are listed.
pub(super) struct Table {
    pub(super) oid: u32,
    /// The name, with the schema.
    pub(super) name: TableName,
    /// Whether the unqualified name resolves to this table with the configured `search_path`.
    pub(super) visible: bool,
    pub(super) kind: Kind,
    /// Whether a trigger or a rule runs when a row is deleted.
    pub(super) acts_on_delete: bool,
    /// The number of rows that the last VACUUM or ANALYZE estimated; `None` if neither has run yet.
    pub(super) rows: Option<u64>,
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key, quoted where SQL requires it.
    pub(super) key: Vec<String>,
}

/// Which tables contain the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The table itself contains all rows.
    Plain,
    /// The partitions of the table contain all rows.
    Partitioned,
    /// Tables that inherit from the table contain rows. The table itself may also contain rows.
    Parent,
}

#[derive(Clone)]
pub(super) struct Column {
    pub(super) name: Ident,
    pub(super) sql_type: String,
    pub(super) nullable: bool,
}

/// Details of a column that are read only if the column is relevant.
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

    /// Returns the column to propose as `group`, if the table has such a column.
    pub(super) fn group(&self) -> Option<&Ident> {
        let group =
            |column: &&Column| GROUPS.contains(&names::run_together(column.name.as_str()).as_str());
        self.columns.iter().find(group).map(|column| &column.name)
    }
}

/// Returns a table name with its schema. The result column at `at` contains the schema, and the
/// next column contains the name.
pub(super) fn name(row: &Row, at: usize) -> Result<TableName, Error> {
    let (schema, name): (String, String) = (row.try_get(at)?, row.try_get(at + 1)?);
    Ok(TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) })
}

/// Returns the OIDs of the tables and the names of the columns, as parameters of a statement.
pub(super) fn keys(asked: &[(&Table, &Column)]) -> (Vec<u32>, Vec<String>) {
    asked.iter().map(|(table, column)| (table.oid, column.name.as_str().to_owned())).unzip()
}
