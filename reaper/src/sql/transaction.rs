//! The transaction of a chunk (the rows that are deleted together), which first locks the tables
//! and verifies that they are the ones that were examined.

use super::{Only, PassSql};
use crate::sql::identity::verify;

/// The timeout for acquiring the lock on the whole table that is needed if a group has too many
/// rows to lock them one by one. While the request for this lock is queued, all other writers to
/// the table wait.
const TABLE_LOCK_WAIT: &str = "50ms";

/// The statements that are executed before and after the statements that lock and delete rows.
/// These additional statements are the same for every chunk of a pass.
#[derive(Clone, Debug)]
pub(crate) struct Around {
    /// Begins the transaction and locks the tables from which rows are deleted.
    pub(crate) begin: String,
    /// Begins the transaction for a group that is too large to be locked row by row, and also locks
    /// the table of the group, so that no other transaction can write to the table or lock its
    /// rows.
    pub(crate) begin_exclusive: Option<String>,
    /// Raises an error if the tables are not the ones that were examined.
    pub(crate) verify: String,
    /// Raises the same error for the tables that determine whether rows of other tables may be
    /// deleted. It is executed after the statement that reads these tables, because that statement
    /// locks them.
    pub(crate) verify_after: Option<String>,
}

impl Around {
    pub(super) fn of(pass: &PassSql) -> Self {
        let names: Vec<String> =
            pass.tables.iter().map(|table| format!("ONLY {}", table.table)).collect();
        let names = names.join(", ");
        let lock = if pass.due.set.is_empty() {
            format!("LOCK TABLE {names} IN ROW EXCLUSIVE MODE")
        } else {
            // LOCK TABLE requires a privilege on the whole table, and the role may have the
            // privilege to update the columns only. A query of no rows locks the table in the mode
            // ACCESS SHARE, which also prevents that the table is replaced.
            format!("SELECT FROM {names} WHERE false")
        };
        let group = pass.only.as_ref().and_then(|Only { group, .. }| group.as_ref());
        let exclusive = group.map(|group| {
            // Locks all partitions as well.
            format!(
                "BEGIN; SET LOCAL lock_timeout = '{TABLE_LOCK_WAIT}'; LOCK TABLE {} IN EXCLUSIVE MODE; {lock}",
                group.table
            )
        });
        Self {
            begin: format!("BEGIN; {lock}"),
            begin_exclusive: exclusive,
            verify: verify(&pass.tables),
            verify_after: (!pass.read.is_empty()).then(|| verify(&pass.read)),
        }
    }
}

impl PassSql {
    /// Returns the statements that are executed before and after the statements of each chunk.
    pub(crate) fn around(&self) -> Around {
        Around::of(self)
    }
}
