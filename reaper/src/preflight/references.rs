//! Checks the foreign keys that refer to the table or to a table that is reached through cascades.

use tokio_postgres::Error;

use super::cascades;
use super::finding::{Code, Finding};
use super::table::estimated_rows;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::target::name::{Ident, TableName};

/// Returns the foreign keys that reference the tables `$1` or a table that is reached from these
/// tables through cascades. Each foreign key is returned only once: if one of its two tables is
/// partitioned, the copies of the foreign key for the partitions are omitted.
///
/// An index is suitable if it meets two conditions. First, the leading columns of the index are the
/// columns of the foreign key, in any order; if the index is unique, some of these columns are
/// sufficient. Second, the index contains all rows in which the columns of the foreign key are not
/// null.
const REFERENCES: &str = include_str!("references.sql");

/// What the database does with rows that refer to a deleted row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDelete {
    Refuse,
    Cascade,
    Clear,
}

/// Returns the findings on foreign keys that refer to the tables `oids`. `first` contains the child
/// tables, whose rows the reaper itself deletes before the rows that they reference.
pub(super) async fn examine(
    auxiliary: &AuxiliaryConnection,
    oids: &[u32],
    first: &[TableName],
) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for row in auxiliary.rows(REFERENCES, &[&oids]).await? {
        let named = |schema: usize, name: usize| TableName {
            schema: Some(Ident::new(row.get::<_, String>(schema))),
            name: Ident::new(row.get::<_, String>(name)),
        };
        let (key, child, parent): (String, TableName, TableName) =
            (row.get(0), named(1, 2), named(5, 6));
        let columns: Vec<String> = row
            .get::<_, Vec<String>>(3)
            .into_iter()
            .map(|name| Ident::new(name).quoted())
            .collect();
        let action = match row.get(4) {
            "c" => OnDelete::Cascade,
            "n" | "d" => OnDelete::Clear,
            _ => OnDelete::Refuse,
        };
        let deleted_first =
            first.iter().any(|table| table.name == child.name && same_schema(table, &child));
        let (quoted, columns, parent) = (child.quoted(), columns.join(", "), parent.quoted());

        if !row.get::<_, bool>(7) {
            let invalid: Vec<String> = row.get(8);
            let detail = if invalid.is_empty() {
                String::new()
            } else {
                format!("; {} is invalid", invalid.join(", "))
            };
            let drop: String = invalid
                .iter()
                .flat_map(|index| ["DROP INDEX CONCURRENTLY ", index, "; "])
                .collect();
            // PostgreSQL does not support CONCURRENTLY on a partitioned table.
            let create = if row.get(9) {
                format!(
                    "CREATE INDEX ON {quoted} ({columns}), or first create the index CONCURRENTLY on each partition"
                )
            } else {
                format!("CREATE INDEX CONCURRENTLY ON {quoted} ({columns})")
            };
            findings.push(Finding::new(
                Code::ForeignKeyNotIndexed,
                format!(
                    "the foreign key {key} of {quoted} points at {parent}, and no index begins with its {columns}: deleting \
                     a row would read all of {quoted}{detail}"
                ),
                format!("{drop}{create}"),
            ));
        }
        match action {
            OnDelete::Refuse if !deleted_first => findings.push(Finding::new(
                Code::ForeignKeyHolds,
                format!("{quoted} ({columns}) refers to {parent} by {key}, which has no ON DELETE action: a run skips the rows that are still referred to, and counts them as held"),
                format!("to delete these rows as well, delete the rows of {quoted} first, with a target before this one; or use `where` to exclude the rows that are still referred to"),
            )),
            OnDelete::Cascade => {
                findings.push(Finding::plain(
                    Code::Cascade,
                    format!(
                        "rows of {quoted} are deleted with the row of {parent} that they refer to ({key}, ON DELETE CASCADE), and are not counted"
                    ),
                ));
                let children = estimated_rows(row.get(10), row.get(11), row.get(12));
                let parents = estimated_rows(row.get(13), row.get(14), row.get(15)).max(1);
                if !deleted_first {
                    let each = children / parents;
                    findings.extend(cascades::large(&quoted, &columns, &parent, each));
                }
            }
            OnDelete::Clear => findings.push(Finding::plain(
                Code::Cascade,
                format!("{quoted} ({columns}) is set to null or to its default when the row of {parent} that it refers to is deleted ({key})"),
            )),
            OnDelete::Refuse => {}
        }
    }
    Ok(findings)
}

/// Returns whether two names have the same schema. A name without a schema matches any schema.
fn same_schema(named: &TableName, found: &TableName) -> bool {
    named.schema.is_none() || named.schema == found.schema
}
