//! Whether the tables that a statement names are still the ones that were looked at.
//!
//! Statements go by names, and a name can come to mean another table while a run is under way:
//! `ALTER TABLE … RENAME`, a schema that is renamed, a partition that is detached. So each chunk is
//! one transaction that first locks its tables, which keeps anybody from renaming or altering them,
//! and then verifies that these are the tables, columns and partitions that were found when the run
//! began. A statement of ours that finds something else raises an error, and the chunk is undone.

use std::fmt::Write as _;

use super::name::{Ident, TableName};
use super::operator::{EQ, NE};

/// A table as it was found.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) oid: u32,
    /// With its schema.
    pub(super) table: TableName,
    /// The name, the number and the type of each column that matters.
    pub(super) columns: Vec<(Ident, i16, u32)>,
    /// The table itself, the one it is a partition of or inherits from, and so on, to the one that
    /// was named.
    pub(super) path: Vec<u32>,
}

/// What the server says when a statement that deletes comes to another process than it was made
/// for.
pub(super) const NOT_OURS: &str =
    "session-reaper: not the server process that holds its lock, but ";

/// What the server answers when a table is not the one that was looked at. What follows is one of
/// [`Changed`].
pub(super) const CHANGED: &str = "session-reaper: changed since the run began: ";

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changed {
    /// The name means another table, or none.
    Table,
    /// A column that matters has another number or type, or is gone.
    Columns,
    /// The partition was detached, or is about to be.
    Partition,
}

impl Changed {
    const ALL: [Self; 3] = [Self::Table, Self::Columns, Self::Partition];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "the name means another table",
            Self::Columns => "a column is another one",
            Self::Partition => "the partition was detached",
        }
    }

    /// Reads the server's answer.
    pub(super) fn of(message: &str) -> Option<Self> {
        let (_, what) = message.split_once(CHANGED)?;
        Self::ALL.into_iter().find(|changed| what.starts_with(changed.as_str()))
    }
}

impl Identity {
    /// A table of which nothing but the name matters.
    pub(super) fn of_name(oid: u32, table: TableName) -> Self {
        Self { oid, table, columns: Vec::new(), path: vec![oid] }
    }

    /// The same, minding these columns alone.
    pub(super) fn with_columns<'a>(&self, wanted: impl Iterator<Item = &'a Ident>) -> Self {
        let wanted: Vec<&Ident> = wanted.collect();
        let columns = self.columns.iter().filter(|(name, ..)| wanted.contains(&name));
        Self { columns: columns.cloned().collect(), ..self.clone() }
    }

    /// SQL that is true as long as the name means this table.
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

/// A statement of one row that raises an error unless all of them are still what they were.
///
/// It has no parameters, so that its plan is made once and kept: with one it would be planned for
/// each chunk, which takes longer than to carry it out.
pub(super) fn verify(tables: &[Identity]) -> String {
    let mut cases = String::new();
    let mut unless = |condition: String, changed: Changed| {
        // Of text that is not a constant, so that the error is raised when the statement is carried
        // out.
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
    format!("SELECT CASE{cases} ELSE pg_catalog.pg_backend_pid() {NE} 0 END")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_back() {
        for changed in Changed::ALL {
            let told =
                format!("invalid input syntax for type boolean: \"{CHANGED}{}\"", changed.as_str());
            assert_eq!(Changed::of(&told), Some(changed));
        }
        assert_eq!(Changed::of("invalid input syntax for type boolean: \"x\""), None);
    }
}
