//! The metrics, with one function per measurement. [`series`] defines the names and help texts of
//! the metrics, and [`labels`] defines labels and their values. During a `run` without `--textfile`
//! and `--pushgateway`, no recorder is installed, and these functions do nothing.
//!
//! Every series exists from the start, so that a rate is defined before the first event. Times are
//! exported as timestamps and not as ages, because an age would no longer be updated after the
//! process has died.

mod labels;
mod series;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics::{counter, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_process::Collector;
use reaper::runs::Outcome;

pub(crate) use labels::{CHILDREN, DATABASE, Exporter};
use series::{
    BACKLOG, BACKLOG_CAPPED, BACKLOG_OLDEST, BACKLOG_SAMPLED, BACKLOG_STATE, CHECKS, CHUNK_BUCKETS,
    CHUNK_DURATION, CHUNK_SIZE, CHUNKS, EXPORT_FAILURES, INTERVAL, LAST_COMPLETION,
    LAST_RUN_DELETED, LAST_RUN_DURATION, LAST_SUCCESS, LOCK_ATTEMPTS, LOCK_HELD, REPLICA_LAG,
    ROWS_CHANGED, ROWS_DELETED, ROWS_HELD, ROWS_SKIPPED, RUN_BUCKETS, RUN_DURATION, RUNS,
    THROTTLE_SECONDS, THROTTLED, TICKS_SKIPPED,
};
pub(crate) use series::{BUILD_INFO, is_momentary, is_ours};

use crate::clock;
use reaper::time::as_f64;
use reaper::{
    BacklogCount, BacklogState, ChunkOutcome, HeldCause, LockAttempt, Target, ThrottleCause,
};

/// The collector of the metrics `process_*`, with the names of Prometheus' client libraries.
static PROCESS: LazyLock<Collector> = LazyLock::new(Collector::default);

/// Installs the recorder of a daemon and creates every series of these targets. Every series has
/// the name of the database as a label.
pub fn install(targets: &[Target], database: &str) -> Result<PrometheusHandle, BuildError> {
    let handle = recorder(database)?;
    PROCESS.describe();
    series::create_counts(targets);
    series::create_gauges(targets);
    Ok(handle)
}

/// Installs the recorder of a single run. A gauge is created only when it is first measured.
/// Otherwise, a value that this run did not measure, such as the backlog of an unreachable
/// database, would be 0 and replace the value of the previous run.
pub fn install_for_one_run(
    targets: &[Target],
    database: &str,
) -> Result<PrometheusHandle, BuildError> {
    let handle = recorder(database)?;
    series::create_counts(targets);
    Ok(handle)
}

fn recorder(database: &str) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .add_global_label(DATABASE, database)
        .set_buckets_for_metric(Matcher::Full(CHUNK_DURATION.to_owned()), &CHUNK_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(RUN_DURATION.to_owned()), &RUN_BUCKETS)?
        .install_recorder()?;
    series::describe();
    Ok(handle)
}

/// Measures the process: its processor time, memory and open files.
pub(crate) fn process() {
    PROCESS.collect();
}

/// Sets when a run last succeeded and when a run last ended, before this process started. Without
/// these times, a restarted daemon would look as if it had never succeeded.
pub(crate) fn runs_before(success: Option<DateTime<Utc>>, completion: Option<DateTime<Utc>>) {
    for (name, time) in [(LAST_SUCCESS, success), (LAST_COMPLETION, completion)] {
        if let Some(time) = time {
            gauge!(name).set(clock::seconds_since_1970(time));
        }
    }
}

/// Counts a failed export.
pub(crate) fn export_failed(exporter: Exporter) {
    counter!(EXPORT_FAILURES, "exporter" => exporter.as_str()).increment(1);
}

/// Sets the longest interval between two scheduled runs, including the random delay.
pub(crate) fn interval(interval: Duration) {
    gauge!(INTERVAL).set(interval);
}

/// Counts scheduled runs that were skipped because another run was active.
pub(crate) fn ticks_skipped(ticks: usize) {
    counter!(TICKS_SKIPPED).increment(ticks as u64);
}

/// Counts an attempt to delete a chunk (one transaction that deletes rows).
pub(crate) fn chunk(target: &str, outcome: ChunkOutcome) {
    counter!(CHUNKS, "target" => target.to_owned(), "outcome" => outcome.as_str()).increment(1);
}

/// Records a committed chunk and the size of the next chunk.
pub(crate) fn chunk_done(target: &str, elapsed: Duration, next_size: u32) {
    chunk(target, ChunkOutcome::Done);
    histogram!(CHUNK_DURATION, "target" => target.to_owned()).record(elapsed);
    gauge!(CHUNK_SIZE, "target" => target.to_owned()).set(next_size);
}

/// Counts deleted rows.
pub(crate) fn deleted(target: &str, reason: &str, rows: u64) {
    counter!(ROWS_DELETED, "target" => target.to_owned(), "reason" => reason.to_owned())
        .increment(rows);
}

/// Counts rows whose columns were set.
pub(crate) fn changed(target: &str, reason: &str, rows: u64) {
    counter!(ROWS_CHANGED, "target" => target.to_owned(), "reason" => reason.to_owned())
        .increment(rows);
}

/// Counts due rows that were skipped because other transactions had locked them.
pub(crate) fn skipped_locked(target: &str, rows: u64) {
    counter!(ROWS_SKIPPED, "target" => target.to_owned()).increment(rows);
}

/// Sets the number of due rows that a run has left because of `cause`.
pub(crate) fn rows_held(target: &str, cause: HeldCause, rows: u64) {
    gauge!(ROWS_HELD, "target" => target.to_owned(), "cause" => cause.as_str()).set(as_f64(rows));
}

/// Sets the backlog of a target.
pub(crate) fn backlog(target: &Target, count: BacklogCount<'_>) {
    let name = &target.name;
    for (reason, rows) in target.reasons.iter().zip(count.rows) {
        gauge!(BACKLOG, "target" => name.clone(), "reason" => reason.name.clone())
            .set(as_f64(*rows));
    }
    gauge!(BACKLOG_CAPPED, "target" => name.clone()).set(u8::from(count.capped));
    gauge!(BACKLOG_OLDEST, "target" => name.clone()).set(count.oldest_due.unwrap_or(0.0));
    gauge!(BACKLOG_SAMPLED, "target" => name.clone()).set(clock::timestamp());
    backlog_state(name, count.state);
}

/// Sets how reliable the backlog of a target is.
pub(crate) fn backlog_state(target: &str, state: BacklogState) {
    for known in BacklogState::ALL {
        gauge!(BACKLOG_STATE, "target" => target.to_owned(), "state" => known.as_str())
            .set(u8::from(*known == state));
    }
}

/// Counts time spent waiting because of `cause`. Counters are whole numbers, so the fraction of a
/// second is carried over to the next call.
pub(crate) fn has_waited(cause: ThrottleCause, waited: Duration) {
    static MICROSECONDS: [AtomicU64; ThrottleCause::ALL.len()] =
        [const { AtomicU64::new(0) }; ThrottleCause::ALL.len()];
    let waited = u64::try_from(waited.as_micros()).unwrap_or(0);
    let total = MICROSECONDS[cause as usize].fetch_add(waited, Ordering::Relaxed) + waited;
    counter!(THROTTLE_SECONDS, "cause" => cause.as_str()).absolute(total / 1_000_000);
}

/// Sets whether a run waits because of `cause`.
pub(crate) fn throttled(cause: ThrottleCause, waits: bool) {
    gauge!(THROTTLED, "cause" => cause.as_str()).set(u8::from(waits));
}

/// Sets the lag of a replica.
pub(crate) fn replica_lag(replica: &str, lag: Duration) {
    gauge!(REPLICA_LAG, "replica" => replica.to_owned()).set(lag);
}

/// Counts a preflight check of a target.
pub(crate) fn checked(target: &str, safe: bool) {
    counter!(CHECKS, "target" => target.to_owned(), "result" => if safe { "safe" } else { "unsafe" }).increment(1);
}

/// Counts an attempt to acquire a lock.
pub(crate) fn lock_attempt(result: LockAttempt) {
    counter!(LOCK_ATTEMPTS, "result" => result.as_str()).increment(1);
}

/// Sets whether this process holds the lock of a target.
pub(crate) fn lock_held(target: &str, held: bool) {
    gauge!(LOCK_HELD, "target" => target.to_owned()).set(u8::from(held));
}

/// Records the end of a run, with the number of deleted rows per target.
pub(crate) fn run_ended<'a>(
    outcome: Outcome,
    elapsed: Duration,
    deleted: impl IntoIterator<Item = (&'a str, u64)>,
) {
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
