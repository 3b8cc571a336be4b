//! The transaction around a chunk: locks on its tables first, and proof that they are the ones that
//! were looked at.

use super::{Only, PassSql};
use crate::sweep::identity::verify;

/// How long the lock on a table is waited for under which a large group is decided: everybody who
/// writes to it waits meanwhile.
const TABLE_LOCK_WAIT: &str = "50ms";

/// The statements around those that lock and delete. They are the same for every chunk of a pass.
#[derive(Clone, Debug)]
pub(in crate::sweep) struct Around {
    /// Begins, and locks the tables whose rows go.
    pub(in crate::sweep) begin: String,
    /// The same for a group that is too large to be locked row by row: nobody else writes to the
    /// table, or holds a row of it.
    pub(in crate::sweep) begin_exclusive: Option<String>,
    /// Raises an error unless these are the tables that were looked at.
    pub(in crate::sweep) verify: String,
    /// The same for the tables that decide about rows of others. The statement that reads them
    /// locks them.
    pub(in crate::sweep) verify_after: Option<String>,
}

impl Around {
    pub(super) fn of(pass: &PassSql) -> Self {
        let names: Vec<String> =
            pass.tables.iter().map(|table| format!("ONLY {}", table.table)).collect();
        let lock = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", names.join(", "));
        let group = pass.only.as_ref().and_then(|Only { group, .. }| group.as_ref());
        let exclusive = group.map(|group| {
            // All tables that its rows are in.
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
    /// The statements around each chunk.
    pub(in crate::sweep) fn around(&self) -> Around {
        Around::of(self)
    }
}
