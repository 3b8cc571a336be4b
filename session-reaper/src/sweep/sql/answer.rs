//! What the statements answer: counts, one row whatever the chunk.

use tokio_postgres::{Error, Row};

use super::Cursor;
use crate::sweep::query::Text;

/// What [`super::PassSql::count`] found.
pub(in crate::sweep) struct Counted {
    /// Due and free to go, and not due by an earlier pass.
    pub(in crate::sweep) fresh: u64,
    /// Due and free to go.
    pub(in crate::sweep) all: u64,
    /// Looked at.
    pub(in crate::sweep) seen: u64,
    /// Of `all`, in seconds since 1970.
    pub(in crate::sweep) oldest: Option<f64>,
}

impl Counted {
    pub(in crate::sweep) fn of(row: &Row) -> Self {
        let seen = row.get(1);
        // Without a filter all that was seen is free to go.
        let all = if row.len() > 3 { row.get(3) } else { seen };
        Self {
            fresh: unsigned(row.get(0)),
            all: unsigned(all),
            seen: unsigned(seen),
            oldest: row.get(2),
        }
    }
}

/// What [`super::PassSql::lock`] has locked, and what it has not.
pub(in crate::sweep) struct Locked {
    /// Rows.
    pub(in crate::sweep) rows: u64,
    /// Groups of which somebody else holds a row.
    pub(in crate::sweep) refused: Vec<String>,
    /// Groups that are too large to be locked row by row.
    pub(in crate::sweep) large: u64,
    /// Groups that would have been too many for one chunk.
    pub(in crate::sweep) later: u64,
}

impl Locked {
    pub(in crate::sweep) fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            rows: unsigned(row.try_get(0)?),
            refused: row.try_get(1)?,
            large: unsigned(row.try_get(2)?),
            later: unsigned(row.try_get(3)?),
        })
    }
}

/// The mark that [`super::PassSql::probe`] found.
pub(in crate::sweep) fn mark(row: &Row) -> Cursor {
    (0..row.len()).map(|column| Text(row.get(column))).collect()
}

/// Rows of one table of children.
pub(in crate::sweep) struct Children {
    /// Picked to be deleted.
    pub(in crate::sweep) found: u64,
    /// Fewer, when one was updated meanwhile, or a trigger keeps it: then the parents stay.
    pub(in crate::sweep) deleted: u64,
}

/// What [`super::PassSql::delete`] tells when there are children: rows of the target, and of each
/// table of children.
pub(in crate::sweep) fn with_children(row: &Row) -> (u64, Vec<Children>) {
    let (found, deleted): (Vec<i64>, Vec<i64>) = (row.get(1), row.get(2));
    let pair = |(found, deleted)| Children { found: unsigned(found), deleted: unsigned(deleted) };
    (unsigned(row.get(0)), found.into_iter().zip(deleted).map(pair).collect())
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
