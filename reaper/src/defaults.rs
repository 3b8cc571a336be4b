//! The default limits of a run. session-reaper's settings have the same defaults.

use std::time::Duration;

use crate::connection::statement_bounds::StatementBounds;
use crate::pass::pace::PaceLimits;
use crate::preflight::Rules;
use crate::preflight::first_run_guard::FirstRun;
use crate::throttle::{ReplicaLimit, ThrottleLimits};

/// `LOCK_TIMEOUT`. Half of the delay that a user does not notice in a request, and far below
/// PostgreSQL's `deadlock_timeout` of one second. If a chunk and a request ever wait for each other,
/// the chunk is canceled.
pub const LOCK_TIMEOUT: Duration = Duration::from_millis(50);

/// `STATEMENT_TIMEOUT`. A thousand times the desired duration of a chunk. A slower chunk locks its
/// rows for too long.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// `CHUNK_TIME`. A few thousand rows of auth-api's tables. Chunks of 2 ms spend half of the time on
/// fixed costs (docs/decisions/0006).
pub const CHUNK_TIME: Duration = Duration::from_millis(5);

/// `MAX_CHUNK`. Larger chunks take longer without a significantly higher throughput: 500,000 to
/// 720,000 rows per second for chunks of 5,000 to 50,000 rows.
pub const MAX_CHUNK: u32 = 5_000;

/// `DUTY_CYCLE`. About 20,000 rows per second for rows as large as auth-api's, which exceeds the
/// login rate of any application. So few concurrent transactions meet a chunk that their 99th
/// percentile hardly changes (docs/decisions/0006).
pub const DUTY_CYCLE: f64 = 0.03;

/// `MAX_SCAN_ROWS`. A few megabytes, which are read in milliseconds.
pub const MAX_SCAN_ROWS: u64 = 10_000;

/// `MAX_FRACTION`. Most rows of a sessions table that has not been reaped for a long time are due.
/// If nearly all rows are due, the configured column is probably wrong.
pub const MAX_FRACTION: f64 = 0.9;

/// `MAX_REPLICA_LAG`. More than the usual lag after a large commit or a short conflicting query on
/// the replica, and less than readers of the replica would notice. A reaper at its default pace
/// writes a few megabytes per second on average.
pub const MAX_REPLICA_LAG: Duration = Duration::from_secs(10);

/// `MAX_THROTTLE`. A run every 15 minutes ends before the next one starts. A longer obstruction
/// requires an operator.
pub const MAX_THROTTLE: Duration = Duration::from_mins(10);

/// `KEEP_RUNS`: how long the rows of the run history are kept.
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

/// Waits for lagging replicas only.
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

/// All replicas, if their lag can be read.
impl Default for ReplicaLimit {
    fn default() -> Self {
        Self { lag: MAX_REPLICA_LAG, asked_for: false, names: Vec::new(), query: None }
    }
}
