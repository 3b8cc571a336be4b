//! The default limits of a run. session-reaper's settings have the same defaults. Rows are deleted
//! in *chunks*: transactions that each delete a limited number of rows.

use std::time::Duration;

use crate::connection::statement_bounds::StatementBounds;
use crate::pass::pace::PaceLimits;
use crate::preflight::Rules;
use crate::preflight::first_run_guard::FirstRun;
use crate::throttle::{ReplicaLimit, ThrottleLimits};

/// The default of `LOCK_TIMEOUT`. It is half of the longest delay that users do not notice. It is
/// also far below PostgreSQL's `deadlock_timeout` of one second. If a chunk (the transaction that
/// deletes rows) and another transaction wait for each other, the chunk is therefore canceled and
/// the other transaction is not.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// The default of `STATEMENT_TIMEOUT`. It is a thousand times [`CHUNK_TIME`], the desired duration
/// of a chunk. A slower chunk would lock its rows for too long.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The default of `CHUNK_TIME`, the desired duration of a chunk. A few thousand rows of auth-api's
/// tables are deleted in this time. Chunks of 2 ms would spend half of the time on fixed costs
/// (docs/decisions/0006).
pub const CHUNK_TIME: Duration = Duration::from_millis(5);

/// The default of `MAX_CHUNK`, the maximum number of rows in a chunk. Larger chunks take longer,
/// but the throughput is not significantly higher: 500,000 to 720,000 rows per second for chunks of
/// 5,000 to 50,000 rows.
pub const MAX_CHUNK: u32 = 5_000;

/// The default of `DUTY_CYCLE`, the share of time in which a run works instead of being idle. With
/// rows as large as in auth-api's tables, about 20,000 rows per second are deleted, which exceeds
/// the login rate of any application. Few transactions of applications overlap with a chunk, so the
/// 99th percentile of the duration of all these transactions hardly changes (docs/decisions/0006).
pub const DUTY_CYCLE: f64 = 0.03;

/// The default of `MAX_SCAN_ROWS`, the size up to which a statement may read a whole table. A table
/// with this many rows takes up a few megabytes, which are read in milliseconds.
pub const MAX_SCAN_ROWS: u64 = 10_000;

/// The default of `MAX_FRACTION`, the share of a table that a first run may delete without
/// confirmation. In a sessions table that has not been reaped for a long time, most rows are due.
/// If nearly all rows are due, however, the configured column is probably wrong.
pub const MAX_FRACTION: f64 = 0.9;

/// The default of `MAX_REPLICA_LAG`. It is longer than the usual lag after a large commit or a
/// short conflicting query on the replica. It is too short for readers of the replica to notice. A
/// reaper that works at the default duty cycle writes a few megabytes per second on average.
pub const MAX_REPLICA_LAG: Duration = Duration::from_secs(10);

/// The default of `MAX_THROTTLE`, the longest uninterrupted wait of a run. With this limit, a run
/// that is scheduled every 15 minutes ends before the next one starts. A throttle that stays active
/// for longer requires the attention of an operator.
pub const MAX_THROTTLE: Duration = Duration::from_mins(10);

/// The default of `KEEP_RUNS`, which is how long the rows of the run history are kept.
pub const KEEP_RUNS: Duration = Duration::from_hours(24 * 30);

impl Default for StatementBounds {
    fn default() -> Self {
        Self { statement: STATEMENT_TIMEOUT, lock: LOCK_TIMEOUT }
    }
}

impl Default for PaceLimits {
    fn default() -> Self {
        Self { chunk_time: CHUNK_TIME, max_chunk: MAX_CHUNK, duty_cycle: DUTY_CYCLE }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self { max_scan_rows: MAX_SCAN_ROWS, force_unsafe: false }
    }
}

impl Default for FirstRun {
    fn default() -> Self {
        Self { max_fraction: MAX_FRACTION, confirmed: false }
    }
}

/// The default throttles: a run waits only for lagging replicas.
impl Default for ThrottleLimits {
    fn default() -> Self {
        Self {
            replicas: Some(ReplicaLimit::default()),
            max_active: None,
            vacuum: false,
            query: None,
            longest_wait: MAX_THROTTLE,
        }
    }
}

/// Checks all replicas whose lag can be read.
impl Default for ReplicaLimit {
    fn default() -> Self {
        Self { lag: MAX_REPLICA_LAG, asked_for: false, names: Vec::new(), query: None }
    }
}
