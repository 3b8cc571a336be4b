//! What bounds the statements of a run, and the settings of both its connections.

use std::time::Duration;

/// How long any statement of a run may take, and wait for a lock.
#[derive(Clone, Copy, Debug)]
pub struct StatementBounds {
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

/// On both connections.
///
/// A stretch has to be walked along its index, whatever the statistics say of a table that was
/// emptied or filled a moment ago: an index scan stops where the stretch ends, other plans may read
/// the table.
const COMMON: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET max_parallel_workers_per_gather = 0; SET jit = off";

/// [`COMMON`] with the bounds.
pub(super) fn common(bounds: StatementBounds) -> String {
    let (statement, lock) = (bounds.statement.as_millis(), bounds.lock.as_millis());
    format!("{COMMON}; SET statement_timeout = {statement}; SET lock_timeout = {lock}")
}
