//! Foreign keys that point at the table, and at the tables that they cascade to.

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use super::table::estimated_rows;
use crate::sweep::auxiliary::AuxiliaryConnection;
use crate::sweep::name::{Ident, TableName};

/// Rows of a child for one row of its parent, on average: beyond it a chunk is many times what it
/// counts.
const MANY_CHILDREN: u64 = 20;

/// Every foreign key that a delete comes to, once. Of a partitioned table's own that of the whole
/// is enough, on either side.
///
/// An index serves when its first columns are those of the key, in any order (or some of them, if
/// they are unique), and none but a null is missing from it.
const REFERENCES: &str = include_str!("references.sql");

/// What the database does with rows that refer to one that goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDelete {
    Refuse,
    Cascade,
    Clear,
}

/// `first`: the tables whose rows the reaper deletes itself before their parents.
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
        let taken_first =
            first.iter().any(|table| table.name == child.name && same_schema(table, &child));
        let (quoted, columns, parent) = (child.quoted(), columns.join(", "), parent.quoted());

        if !row.get::<_, bool>(7) {
            let invalid: Vec<String> = row.get(8);
            let told = if invalid.is_empty() {
                String::new()
            } else {
                format!("; {} is invalid", invalid.join(", "))
            };
            let drop: String = invalid
                .iter()
                .flat_map(|index| ["DROP INDEX CONCURRENTLY ", index, "; "])
                .collect();
            // On a partitioned table PostgreSQL has no CONCURRENTLY.
            let create = if row.get(9) {
                format!(
                    "CREATE INDEX ON {quoted} ({columns}), or CONCURRENTLY on each of its partitions first"
                )
            } else {
                format!("CREATE INDEX CONCURRENTLY ON {quoted} ({columns})")
            };
            findings.push(Finding::new(
                Code::ForeignKeyNotIndexed,
                format!(
                    "the foreign key {key} of {quoted} points at {parent}, and no index begins with its {columns}: every \
                     row that goes would read all of {quoted}{told}"
                ),
                format!("{drop}{create}"),
            ));
        }
        match action {
            OnDelete::Refuse if !taken_first => findings.push(Finding::new(
                Code::ForeignKeyHolds,
                format!("{quoted} ({columns}) refers to {parent} by {key}, which has no ON DELETE: a chunk fails on a row that is still referred to"),
                format!("let rows of {quoted} go first, as a target before this one, or leave such rows out by `where`"),
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
                if !taken_first && children / parents >= MANY_CHILDREN {
                    findings.push(Finding::new(
                        Code::LargeCascade,
                        format!(
                            "{quoted} has about {} rows for each row of {parent}, and they go in the same statement: chunks \
                             are that many times as large",
                            children / parents
                        ),
                        format!("put them first: children = [{{ table = '{quoted}', column = '{columns}' }}]"),
                    ));
                }
            }
            OnDelete::Clear => findings.push(Finding::plain(
                Code::Cascade,
                format!("{quoted} ({columns}) is set to null or its default when its row of {parent} goes ({key})"),
            )),
            OnDelete::Refuse => {}
        }
    }
    Ok(findings)
}

/// A name without a schema stands for the table of that name.
fn same_schema(named: &TableName, found: &TableName) -> bool {
    named.schema.is_none() || named.schema == found.schema
}
