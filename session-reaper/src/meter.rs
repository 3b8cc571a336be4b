//! Metrics: their names, their help, and one function for each thing that is measured. In `run`, where nobody scrapes,
//! no recorder is installed and all of this does nothing.
//!
//! Labels come from closed sets, and every value is there from the start, so that a rate is defined before the first
//! event. Points in time are exported as such, not as ages: an age freezes when its job dies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use schema::runs::Outcome;

use crate::clock;
use crate::memory;
use crate::sweep::{Cause, Target};

const BUILD_INFO: &str = "session_reaper_build_info";
const INTERVAL: &str = "session_reaper_interval_seconds";
const LAST_SUCCESS: &str = "session_reaper_last_success_timestamp_seconds";
const LAST_COMPLETION: &str = "session_reaper_last_completion_timestamp_seconds";
const LAST_RUN_DURATION: &str = "session_reaper_last_run_duration_seconds";
const LAST_RUN_DELETED: &str = "session_reaper_last_run_deleted_rows";
const RUNS: &str = "session_reaper_runs_total";
const RUN_DURATION: &str = "session_reaper_run_duration_seconds";
const ROWS_DELETED: &str = "session_reaper_rows_deleted_total";
/// The `reason` of rows that went because they referred to a due one.
pub(crate) const CHILDREN: &str = "children";
const ROWS_SKIPPED: &str = "session_reaper_rows_skipped_locked_total";
const CHUNKS: &str = "session_reaper_chunks_total";
const CHUNK_DURATION: &str = "session_reaper_chunk_duration_seconds";
const CHUNK_SIZE: &str = "session_reaper_chunk_size_rows";
const BACKLOG: &str = "session_reaper_backlog_rows";
const BACKLOG_CAPPED: &str = "session_reaper_backlog_capped";
const BACKLOG_OLDEST: &str = "session_reaper_backlog_oldest_due_timestamp_seconds";
const BACKLOG_SAMPLED: &str = "session_reaper_backlog_sampled_timestamp_seconds";
const LOCK_ATTEMPTS: &str = "session_reaper_lock_attempts_total";
const THROTTLE_SECONDS: &str = "session_reaper_throttle_seconds_total";
const THROTTLED: &str = "session_reaper_throttled";
const REPLICA_LAG: &str = "session_reaper_replica_lag_seconds";
const CHECKS: &str = "session_reaper_checks_total";
const LOCK_HELD: &str = "session_reaper_lock_held";

/// Around the 10 ms that a chunk aims at, up to the statement timeout.
const CHUNK_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// From an idle tick to an hour.
const RUN_BUCKETS: [f64; 12] = [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 150.0, 300.0, 900.0, 1_800.0, 3_600.0];

/// What became of a try at a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ChunkOutcome {
    Done,
    TimedOut,
    Retried,
    Failed,
}

impl ChunkOutcome {
    const ALL: [Self; 4] = [Self::Done, Self::TimedOut, Self::Retried, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::TimedOut => "timeout",
            Self::Retried => "retried",
            Self::Failed => "failed",
        }
    }
}

/// What became of a try for a target's lock.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LockAttempt {
    Acquired,
    Busy,
    Error,
}

impl LockAttempt {
    const ALL: [Self; 3] = [Self::Acquired, Self::Busy, Self::Error];

    fn as_str(self) -> &'static str {
        match self {
            Self::Acquired => "acquired",
            Self::Busy => "busy",
            Self::Error => "error",
        }
    }
}

/// Installs the recorder and creates every series that these targets will have.
pub fn install(targets: &[Target]) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(CHUNK_DURATION.to_owned()), &CHUNK_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(RUN_DURATION.to_owned()), &RUN_BUCKETS)?
        .install_recorder()?;
    describe();
    create(targets);
    Ok(handle)
}

fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; its labels say what is running.");
    describe_gauge!(INTERVAL, "Longest time between two runs of the schedule.");
    describe_gauge!(
        LAST_SUCCESS,
        "When the last run ended with nothing failed and nothing left by a budget; 0 before the first."
    );
    describe_gauge!(LAST_COMPLETION, "When the last run ended, whatever its outcome; 0 before the first.");
    describe_gauge!(LAST_RUN_DURATION, "How long the last run took.");
    describe_gauge!(LAST_RUN_DELETED, "Rows that the last run deleted.");
    describe_counter!(RUNS, "Runs that ended, by outcome.");
    describe_histogram!(RUN_DURATION, "Wall time of runs.");
    describe_counter!(ROWS_DELETED, "Rows deleted, by the reason for which they were due.");
    describe_counter!(ROWS_SKIPPED, "Due rows passed over because somebody held them.");
    describe_counter!(CHUNKS, "Chunks tried, by what became of them.");
    describe_histogram!(CHUNK_DURATION, "From asking where a chunk ends to its commit.");
    describe_gauge!(CHUNK_SIZE, "Rows that the next chunk asks for.");
    describe_gauge!(BACKLOG, "Rows due when the backlog was last looked at, counted up to a cap.");
    describe_gauge!(BACKLOG_CAPPED, "1 when the count of the backlog stopped at its cap.");
    describe_gauge!(BACKLOG_OLDEST, "When the oldest row of the backlog fell due; 0 without one.");
    describe_gauge!(BACKLOG_SAMPLED, "When the backlog was last looked at; 0 before the first time.");
    describe_counter!(LOCK_ATTEMPTS, "Tries for the lock of a target, by result.");
    describe_counter!(CHECKS, "Looks at whether a target is safe to work on, by result.");
    describe_counter!(THROTTLE_SECONDS, "Time waited before a chunk, by what for.");
    describe_gauge!(THROTTLED, "1 while a run waits, by what for.");
    describe_gauge!(REPLICA_LAG, "Replay lag last seen, by the replica's application_name.");
    describe_gauge!(LOCK_HELD, "1 while this process holds the lock of a target.");
}

fn create(targets: &[Target]) {
    let revision = option_env!("SESSION_REAPER_REVISION").unwrap_or("unknown");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1);
    for name in [LAST_SUCCESS, LAST_COMPLETION, LAST_RUN_DURATION, BACKLOG_SAMPLED] {
        gauge!(name).set(0);
    }
    let _ = histogram!(RUN_DURATION);
    for outcome in Outcome::ALL {
        counter!(RUNS, "outcome" => outcome.as_str()).absolute(0);
    }
    for result in LockAttempt::ALL {
        counter!(LOCK_ATTEMPTS, "result" => result.as_str()).absolute(0);
    }
    for cause in Cause::ALL {
        counter!(THROTTLE_SECONDS, "cause" => cause.as_str()).absolute(0);
        gauge!(THROTTLED, "cause" => cause.as_str()).set(0);
    }
    for target in targets {
        let name = &target.name;
        for gauge in [LAST_RUN_DELETED, CHUNK_SIZE, BACKLOG_CAPPED, BACKLOG_OLDEST, LOCK_HELD] {
            gauge!(gauge, "target" => name.clone()).set(0);
        }
        counter!(ROWS_SKIPPED, "target" => name.clone()).absolute(0);
        for result in ["safe", "unsafe"] {
            counter!(CHECKS, "target" => name.clone(), "result" => result).absolute(0);
        }
        let _ = histogram!(CHUNK_DURATION, "target" => name.clone());
        for outcome in ChunkOutcome::ALL {
            counter!(CHUNKS, "target" => name.clone(), "outcome" => outcome.as_str()).absolute(0);
        }
        if !target.children.is_empty() {
            counter!(ROWS_DELETED, "target" => name.clone(), "reason" => CHILDREN).absolute(0);
        }
        for reason in &target.reasons {
            counter!(ROWS_DELETED, "target" => name.clone(), "reason" => reason.name.clone()).absolute(0);
            gauge!(BACKLOG, "target" => name.clone(), "reason" => reason.name.clone()).set(0);
        }
    }
}

/// The schedule's longest gap.
pub(crate) fn interval(interval: Duration) {
    gauge!(INTERVAL).set(interval);
}

/// A try at a chunk that came to nothing, or is about to be made again.
pub(crate) fn chunk(target: &str, outcome: ChunkOutcome) {
    counter!(CHUNKS, "target" => target.to_owned(), "outcome" => outcome.as_str()).increment(1);
}

/// A chunk that was committed, and the size of the next.
pub(crate) fn chunk_done(target: &str, elapsed: Duration, next_size: u32) {
    chunk(target, ChunkOutcome::Done);
    histogram!(CHUNK_DURATION, "target" => target.to_owned()).record(elapsed);
    gauge!(CHUNK_SIZE, "target" => target.to_owned()).set(next_size);
}

/// Rows that went.
pub(crate) fn deleted(target: &str, reason: &str, rows: u64) {
    counter!(ROWS_DELETED, "target" => target.to_owned(), "reason" => reason.to_owned()).increment(rows);
}

/// Due rows that somebody held.
pub(crate) fn skipped_locked(target: &str, rows: u64) {
    counter!(ROWS_SKIPPED, "target" => target.to_owned()).increment(rows);
}

/// The backlog of a target, one count a reason.
pub(crate) fn backlog(target: &Target, rows: &[u64], capped: bool, oldest_due: Option<f64>) {
    let name = &target.name;
    for (reason, rows) in target.reasons.iter().zip(rows) {
        gauge!(BACKLOG, "target" => name.clone(), "reason" => reason.name.clone()).set(as_f64(*rows));
    }
    gauge!(BACKLOG_CAPPED, "target" => name.clone()).set(u8::from(capped));
    gauge!(BACKLOG_OLDEST, "target" => name.clone()).set(oldest_due.unwrap_or(0.0));
    gauge!(BACKLOG_SAMPLED).set(clock::timestamp());
    memory::keep_backlog(target, rows, capped, oldest_due);
}

/// Time waited for `cause`. Counters are whole numbers: what is not a whole second yet is kept for the next time.
pub(crate) fn has_waited(cause: Cause, waited: Duration) {
    static MICROSECONDS: [AtomicU64; Cause::ALL.len()] = [const { AtomicU64::new(0) }; Cause::ALL.len()];
    let waited = u64::try_from(waited.as_micros()).unwrap_or(0);
    let total = MICROSECONDS[cause as usize].fetch_add(waited, Ordering::Relaxed) + waited;
    counter!(THROTTLE_SECONDS, "cause" => cause.as_str()).absolute(total / 1_000_000);
}

/// Whether a run waits for `cause`.
pub(crate) fn throttled(cause: Cause, waits: bool) {
    gauge!(THROTTLED, "cause" => cause.as_str()).set(u8::from(waits));
}

/// How far a replica is behind.
pub(crate) fn replica_lag(replica: &str, lag: Duration) {
    gauge!(REPLICA_LAG, "replica" => replica.to_owned()).set(lag);
}

/// A look at whether a target is safe.
pub(crate) fn checked(target: &str, safe: bool) {
    counter!(CHECKS, "target" => target.to_owned(), "result" => if safe { "safe" } else { "unsafe" }).increment(1);
}

/// A try for a lock.
pub(crate) fn lock_attempt(result: LockAttempt) {
    counter!(LOCK_ATTEMPTS, "result" => result.as_str()).increment(1);
}

/// Whether we hold the lock of a target.
pub(crate) fn lock_held(target: &str, held: bool) {
    gauge!(LOCK_HELD, "target" => target.to_owned()).set(u8::from(held));
}

/// The end of a run, with the rows that it deleted by target.
pub(crate) fn run_ended<'a>(outcome: Outcome, elapsed: Duration, deleted: impl IntoIterator<Item = (&'a str, u64)>) {
    counter!(RUNS, "outcome" => outcome.as_str()).increment(1);
    histogram!(RUN_DURATION).record(elapsed);
    gauge!(LAST_RUN_DURATION).set(elapsed);
    for (target, rows) in deleted {
        gauge!(LAST_RUN_DELETED, "target" => target.to_owned()).set(as_f64(rows));
    }
    let now = clock::timestamp();
    gauge!(LAST_COMPLETION).set(now);
    if outcome == Outcome::Success {
        gauge!(LAST_SUCCESS).set(now);
    }
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float; rows stay far below 2^53")]
fn as_f64(rows: u64) -> f64 {
    rows as f64
}
