//! The results of the statements. Counts are always returned in one row, regardless of the number
//! of rows that the statement deletes.

use tokio_postgres::{Error, Row};

use super::Cursor;
use crate::sql::query::Text;

/// The result of [`super::PassSql::count`].
pub(crate) struct Counted {
    /// The number of rows that are due, may be deleted, and are not due for an earlier reason of
    /// the target.
    pub(crate) fresh: u64,
    /// The number of rows that are due and may be deleted.
    pub(crate) all: u64,
    /// The number of rows that were examined.
    pub(crate) seen: u64,
    /// The oldest due time of the rows in `all`, in seconds since 1970.
    pub(crate) oldest: Option<f64>,
}

impl Counted {
    pub(crate) fn of(row: &Row) -> Self {
        let seen = row.get(1);
        // Without a filter, all examined rows may be deleted.
        let all = if row.len() > 3 { row.get(3) } else { seen };
        Self {
            fresh: unsigned(row.get(0)),
            all: unsigned(all),
            seen: unsigned(seen),
            oldest: row.get(2),
        }
    }
}

/// The result of [`super::PassSql::lock`].
pub(crate) struct Locked {
    /// The number of locked rows.
    pub(crate) rows: u64,
    /// The groups (rows that are deleted only together) in which another session has locked a row.
    pub(crate) refused: Vec<String>,
    /// The number of groups that are too large to be locked row by row.
    pub(crate) large: u64,
    /// The number of groups that are left for a later transaction, because this one would lock too
    /// many rows.
    pub(crate) later: u64,
}

impl Locked {
    pub(crate) fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            rows: unsigned(row.try_get(0)?),
            refused: row.try_get(1)?,
            large: unsigned(row.try_get(2)?),
            later: unsigned(row.try_get(3)?),
        })
    }
}

/// Reads the cursor from the result of [`super::PassSql::probe`].
pub(crate) fn cursor(row: &Row) -> Cursor {
    (0..row.len()).map(|column| Text(row.get(column))).collect()
}

/// The results for one child table (a table whose rows are deleted first).
pub(crate) struct Children {
    /// The number of rows that were selected for deletion.
    pub(crate) found: u64,
    /// The number of deleted rows. It is smaller than `found` if a row was updated in the meantime,
    /// or if a trigger prevented its deletion. The parents are then not deleted.
    pub(crate) deleted: u64,
}

/// Reads the result of [`super::PassSql::delete`] for a target with children: the number of deleted
/// rows of the target, and the counts of each child table.
pub(crate) fn with_children(row: &Row) -> (u64, Vec<Children>) {
    let (found, deleted): (Vec<i64>, Vec<i64>) = (row.get(1), row.get(2));
    let pair = |(found, deleted)| Children { found: unsigned(found), deleted: unsigned(deleted) };
    (unsigned(row.get(0)), found.into_iter().zip(deleted).map(pair).collect())
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
