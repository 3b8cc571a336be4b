//! The metrics' names, their help, and every series that is there from the start.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use schema::runs::Outcome;

use super::labels::{CHILDREN, ChunkOutcome, Exporter, LockAttempt};
use crate::sweep::{Target, ThrottleCause};

pub(crate) const BUILD_INFO: &str = "session_reaper_build_info";
pub(super) const INTERVAL: &str = "session_reaper_interval_seconds";
pub(super) const LAST_SUCCESS: &str = "session_reaper_last_success_timestamp_seconds";
pub(super) const LAST_COMPLETION: &str = "session_reaper_last_completion_timestamp_seconds";
pub(super) const LAST_RUN_DURATION: &str = "session_reaper_last_run_duration_seconds";
pub(super) const LAST_RUN_DELETED: &str = "session_reaper_last_run_deleted_rows";
pub(super) const RUNS: &str = "session_reaper_runs_total";
pub(super) const RUN_DURATION: &str = "session_reaper_run_duration_seconds";
pub(super) const ROWS_DELETED: &str = "session_reaper_rows_deleted_total";
pub(super) const ROWS_SKIPPED: &str = "session_reaper_rows_skipped_locked_total";
pub(super) const CHUNKS: &str = "session_reaper_chunks_total";
pub(super) const CHUNK_DURATION: &str = "session_reaper_chunk_duration_seconds";
pub(super) const CHUNK_SIZE: &str = "session_reaper_chunk_size_rows";
pub(super) const BACKLOG: &str = "session_reaper_backlog_rows";
pub(super) const BACKLOG_CAPPED: &str = "session_reaper_backlog_capped";
pub(super) const BACKLOG_OLDEST: &str = "session_reaper_backlog_oldest_due_timestamp_seconds";
pub(super) const BACKLOG_SAMPLED: &str = "session_reaper_backlog_sampled_timestamp_seconds";
pub(super) const LOCK_ATTEMPTS: &str = "session_reaper_lock_attempts_total";
pub(super) const THROTTLE_SECONDS: &str = "session_reaper_throttle_seconds_total";
pub(super) const THROTTLED: &str = "session_reaper_throttled";
pub(super) const REPLICA_LAG: &str = "session_reaper_replica_lag_seconds";
pub(super) const CHECKS: &str = "session_reaper_checks_total";
pub(super) const LOCK_HELD: &str = "session_reaper_lock_held";
pub(super) const TICKS_SKIPPED: &str = "session_reaper_ticks_skipped_total";
pub(super) const EXPORT_FAILURES: &str = "session_reaper_export_failures_total";

/// Around the 10 ms that a chunk aims at, up to the statement timeout.
pub(super) const CHUNK_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// From an idle tick to an hour.
pub(super) const RUN_BUCKETS: [f64; 12] =
    [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 150.0, 300.0, 900.0, 1_800.0, 3_600.0];

pub(super) fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; its labels say what is running.");
    describe_gauge!(INTERVAL, "Longest time between two runs of the schedule.");
    describe_gauge!(
        LAST_SUCCESS,
        "When the last run ended with nothing failed and nothing left by a budget; 0 before the first."
    );
    describe_gauge!(
        LAST_COMPLETION,
        "When the last run ended, whatever its outcome; 0 before the first."
    );
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
    describe_gauge!(
        BACKLOG_SAMPLED,
        "When the backlog was last looked at; 0 before the first time."
    );
    describe_counter!(LOCK_ATTEMPTS, "Tries for the lock of a target, by result.");
    describe_counter!(CHECKS, "Looks at whether a target is safe to work on, by result.");
    describe_counter!(THROTTLE_SECONDS, "Time waited before a chunk, by what for.");
    describe_gauge!(THROTTLED, "1 while a run waits, by what for.");
    describe_gauge!(REPLICA_LAG, "Replay lag last seen, by the replica's application_name.");
    describe_counter!(
        TICKS_SKIPPED,
        "Times of the schedule that were left out because a run was going."
    );
    describe_counter!(
        EXPORT_FAILURES,
        "Numbers or spans that could not be handed on, by where they were to go."
    );
    describe_gauge!(LOCK_HELD, "1 while this process holds the lock of a target.");
}

/// Counters and histograms: they begin with 0, whoever reads them.
pub(super) fn create_counts(targets: &[Target]) {
    let revision = option_env!("SESSION_REAPER_REVISION").unwrap_or("unknown");
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => revision).set(1);
    let _ = histogram!(RUN_DURATION);
    for outcome in Outcome::ALL {
        counter!(RUNS, "outcome" => outcome.as_str()).absolute(0);
    }
    for result in LockAttempt::ALL {
        counter!(LOCK_ATTEMPTS, "result" => result.as_str()).absolute(0);
    }
    for cause in ThrottleCause::ALL {
        counter!(THROTTLE_SECONDS, "cause" => cause.as_str()).absolute(0);
    }
    for exporter in Exporter::ALL {
        counter!(EXPORT_FAILURES, "exporter" => exporter.as_str()).absolute(0);
    }
    for target in targets {
        let name = &target.name;
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
            counter!(ROWS_DELETED, "target" => name.clone(), "reason" => reason.name.clone())
                .absolute(0);
        }
    }
}

/// Gauges, for whoever comes before they have been measured; and what only a daemon counts.
pub(super) fn create_gauges(targets: &[Target]) {
    counter!(TICKS_SKIPPED).absolute(0);
    for name in [INTERVAL, LAST_SUCCESS, LAST_COMPLETION, LAST_RUN_DURATION, BACKLOG_SAMPLED] {
        gauge!(name).set(0);
    }
    for cause in ThrottleCause::ALL {
        gauge!(THROTTLED, "cause" => cause.as_str()).set(0);
    }
    for target in targets {
        let name = &target.name;
        for gauge in [LAST_RUN_DELETED, CHUNK_SIZE, BACKLOG_CAPPED, BACKLOG_OLDEST, LOCK_HELD] {
            gauge!(gauge, "target" => name.clone()).set(0);
        }
        for reason in &target.reasons {
            gauge!(BACKLOG, "target" => name.clone(), "reason" => reason.name.clone()).set(0);
        }
    }
}

/// Whether a metric of this name is one of session-reaper's.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("session_reaper_")
}

/// Whether a gauge says something only while its process is there: what a run that is over does now
/// is nothing.
pub(crate) fn is_momentary(name: &str) -> bool {
    [INTERVAL, LOCK_HELD, THROTTLED, REPLICA_LAG, CHUNK_SIZE].contains(&name)
}
