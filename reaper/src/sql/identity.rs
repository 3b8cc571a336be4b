//! Verifies that the tables that a statement names are still the tables that were examined.
//!
//! Statements refer to tables by name. During a run, a name can start to refer to another table:
//! after `ALTER TABLE … RENAME`, after a schema is renamed, or after a partition is detached. So
//! each chunk (the rows that are deleted together) is one transaction. The transaction first locks
//! the tables, which keeps other sessions from renaming or altering them. The next statement
//! verifies that the tables, columns and partitions are the ones that were found when the run
//! began. If they are not, this statement raises an error, and the chunk is rolled back.

use std::fmt::Write as _;

use crate::sql::operator::{EQ, NE};
use crate::target::name::{Ident, TableName};
use crate::time::MICROSECONDS;

/// A table as it was found when the run began.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) oid: u32,
    /// The name with its schema.
    pub(crate) table: TableName,
    /// The name, the number and the type oid of each column that the statements use.
    pub(crate) columns: Vec<(Ident, i16, u32)>,
    /// The oids of the table, of its parent (through partitioning or inheritance), and of each
    /// further ancestor, up to the table that the target names.
    pub(crate) path: Vec<u32>,
}

/// The beginning of the error that a delete statement raises if it runs in a server process other
/// than the one that holds the lock.
pub(crate) const NOT_OURS: &str =
    "session-reaper: not the server process that holds its lock, but ";

/// The beginning of the error that a statement raises if a table is not the one that was examined.
/// The rest of the error is the text of a [`Changed`].
pub(crate) const CHANGED: &str = "session-reaper: changed since the run began: ";

/// What was altered or replaced since the run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// The name refers to another table, or to none.
    Table,
    /// A column that the statements use has another number or type, or was dropped.
    Columns,
    /// The partition was detached, or is being detached.
    Partition,
}

impl Changed {
    const ALL: [Self; 3] = [Self::Table, Self::Columns, Self::Partition];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "the name refers to another table",
            Self::Columns => "a column was replaced or altered",
            Self::Partition => "the partition was detached",
        }
    }

    /// Returns what was altered or replaced, from the message of the server's error.
    pub(crate) fn of(message: &str) -> Option<Self> {
        let (_, what) = message.split_once(CHANGED)?;
        Self::ALL.into_iter().find(|changed| what.starts_with(changed.as_str()))
    }
}

impl Identity {
    /// Returns an identity for which only the name of the table is verified.
    pub(crate) fn of_name(oid: u32, table: TableName) -> Self {
        Self { oid, table, columns: Vec::new(), path: vec![oid] }
    }

    /// Returns the identity with only these columns.
    pub(crate) fn with_columns<'a>(&self, wanted: impl Iterator<Item = &'a Ident>) -> Self {
        let wanted: Vec<&Ident> = wanted.collect();
        let columns = self.columns.iter().filter(|(name, ..)| wanted.contains(&name));
        Self { columns: columns.cloned().collect(), ..self.clone() }
    }

    /// Returns SQL that is true as long as the name refers to this table.
    fn is_named(&self) -> String {
        let name = self.table.to_string().replace('\'', "''");
        format!(
            "(pg_catalog.to_regclass('{name}')::pg_catalog.oid {EQ} {}::pg_catalog.oid) IS TRUE",
            self.oid
        )
    }

    fn has_columns(&self) -> Option<String> {
        let mut each = String::new();
        for (name, number, sql_type) in &self.columns {
            let or = if each.is_empty() { "" } else { " OR " };
            let name = name.as_str().replace('\'', "''");
            let _ = write!(
                each,
                "{or}(a.attnum {EQ} {number}::pg_catalog.int2 AND a.attname {EQ} '{name}'::pg_catalog.name \
                 AND a.atttypid {EQ} {sql_type}::pg_catalog.oid)"
            );
        }
        (!each.is_empty()).then(|| {
            format!(
                "(SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a \
                 WHERE a.attrelid {EQ} {}::pg_catalog.oid AND NOT a.attisdropped AND ({each})) {EQ} {}::pg_catalog.int8",
                self.oid,
                self.columns.len()
            )
        })
    }

    fn is_attached(&self) -> Option<String> {
        let links: Vec<String> = self
            .path
            .windows(2)
            .filter_map(|link| match link {
                [below, above] => Some(format!(
                    "EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid {EQ} {below}::pg_catalog.oid \
                     AND i.inhparent {EQ} {above}::pg_catalog.oid AND NOT i.inhdetachpending)"
                )),
                _ => None,
            })
            .collect();
        (!links.is_empty()).then(|| links.join(" AND "))
    }
}

/// Returns a statement that returns one row, with the time in its second column. The statement
/// raises an error if any of the tables was altered or replaced since the run began.
///
/// The statement has no parameters, so the server plans it only once. With parameters, it would be
/// planned for each chunk, which takes longer than executing it.
pub(crate) fn verify(tables: &[Identity]) -> String {
    let mut cases = String::new();
    let mut unless = |condition: String, changed: Changed| {
        // The text is not a constant, so the error is raised during execution and not during
        // planning.
        let _ = write!(
            cases,
            " WHEN NOT ({condition}) THEN ('{CHANGED}{}'::pg_catalog.text OPERATOR(pg_catalog.||) \
             pg_catalog.substr(pg_catalog.pg_backend_pid()::pg_catalog.text, 1, 0))::pg_catalog.bool",
            changed.as_str()
        );
    };
    for table in tables {
        unless(table.is_named(), Changed::Table);
    }
    for table in tables {
        table.has_columns().into_iter().for_each(|condition| unless(condition, Changed::Columns));
    }
    for table in tables {
        table.is_attached().into_iter().for_each(|condition| unless(condition, Changed::Partition));
    }
    format!("SELECT CASE{cases} ELSE pg_catalog.pg_backend_pid() {NE} 0 END, {MICROSECONDS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn change_is_recognized_in_the_error_message() {
        for changed in Changed::ALL {
            let message =
                format!("invalid input syntax for type boolean: \"{CHANGED}{}\"", changed.as_str());
            assert_eq!(Changed::of(&message), Some(changed));
        }
        assert_eq!(Changed::of("invalid input syntax for type boolean: \"x\""), None);
    }
}
