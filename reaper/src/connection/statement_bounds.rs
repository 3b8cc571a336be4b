//! The timeouts of the statements of a run, and the settings of both connections.

use std::time::Duration;

/// The maximum duration of a statement, and of its wait for a lock.
#[derive(Clone, Copy, Debug)]
pub struct StatementBounds {
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

/// The settings of both connections.
///
/// A key range must be read through its index, even if the statistics are outdated because the
/// table was just emptied or filled: an index scan stops at the end of the range, whereas other
/// plans may read the whole table.
const COMMON: &str = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET enable_seqscan = off; SET enable_bitmapscan = off; \
     SET max_parallel_workers_per_gather = 0; SET jit = off";

/// Returns [`COMMON`] with the timeouts.
pub(crate) fn common(bounds: StatementBounds) -> String {
    let (statement, lock) = (bounds.statement.as_millis(), bounds.lock.as_millis());
    format!("{COMMON}; SET statement_timeout = {statement}; SET lock_timeout = {lock}")
}
