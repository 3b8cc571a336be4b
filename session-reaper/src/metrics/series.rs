//! The names and help texts of the metrics, and the series that exist from the start.

use hardening::revision::REVISION;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use reaper::runs::Outcome;

use super::labels::{CHILDREN, Exporter};
use reaper::{BacklogState, ChunkOutcome, HeldCause, LockAttempt, Target, ThrottleCause};

pub(crate) const BUILD_INFO: &str = "session_reaper_build_info";
pub(super) const INTERVAL: &str = "session_reaper_interval_seconds";
pub(super) const LAST_SUCCESS: &str = "session_reaper_last_success_timestamp_seconds";
pub(super) const LAST_COMPLETION: &str = "session_reaper_last_completion_timestamp_seconds";
pub(super) const LAST_RUN_DURATION: &str = "session_reaper_last_run_duration_seconds";
pub(super) const LAST_RUN_DELETED: &str = "session_reaper_last_run_deleted_rows";
pub(super) const RUNS: &str = "session_reaper_runs_total";
pub(super) const RUN_DURATION: &str = "session_reaper_run_duration_seconds";
pub(super) const ROWS_DELETED: &str = "session_reaper_rows_deleted_total";
pub(super) const ROWS_CHANGED: &str = "session_reaper_rows_changed_total";
pub(super) const ROWS_SKIPPED: &str = "session_reaper_rows_skipped_locked_total";
pub(super) const ROWS_HELD: &str = "session_reaper_rows_held";
pub(super) const CHUNKS: &str = "session_reaper_chunks_total";
pub(super) const CHUNK_DURATION: &str = "session_reaper_chunk_duration_seconds";
pub(super) const CHUNK_SIZE: &str = "session_reaper_chunk_size_rows";
pub(super) const BACKLOG: &str = "session_reaper_backlog_rows";
pub(super) const BACKLOG_CAPPED: &str = "session_reaper_backlog_capped";
pub(super) const BACKLOG_OLDEST: &str = "session_reaper_backlog_oldest_due_timestamp_seconds";
pub(super) const BACKLOG_SAMPLED: &str = "session_reaper_backlog_sampled_timestamp_seconds";
pub(super) const BACKLOG_STATE: &str = "session_reaper_backlog_state";
pub(super) const LOCK_ATTEMPTS: &str = "session_reaper_lock_attempts_total";
pub(super) const THROTTLE_SECONDS: &str = "session_reaper_throttle_seconds_total";
pub(super) const THROTTLED: &str = "session_reaper_throttled";
pub(super) const REPLICA_LAG: &str = "session_reaper_replica_lag_seconds";
pub(super) const CHECKS: &str = "session_reaper_checks_total";
pub(super) const LOCK_HELD: &str = "session_reaper_lock_held";
pub(super) const TICKS_SKIPPED: &str = "session_reaper_ticks_skipped_total";
pub(super) const EXPORT_FAILURES: &str = "session_reaper_export_failures_total";

/// Histogram buckets for the duration of a chunk: around the desired duration, and up to the
/// default statement timeout.
pub(super) const CHUNK_BUCKETS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Histogram buckets for the duration of a run: from a run without due rows up to an hour.
pub(super) const RUN_BUCKETS: [f64; 12] =
    [0.01, 0.05, 0.25, 1.0, 5.0, 15.0, 60.0, 150.0, 300.0, 900.0, 1_800.0, 3_600.0];

pub(super) fn describe() {
    describe_gauge!(BUILD_INFO, "Always 1; the labels identify the running version.");
    describe_gauge!(
        INTERVAL,
        "Longest time between two scheduled runs, including the random delay."
    );
    describe_gauge!(
        LAST_SUCCESS,
        "When the last run completed without failures and without reaching a limit; 0 before the first."
    );
    describe_gauge!(
        LAST_COMPLETION,
        "When the last run ended, with any outcome; 0 before the first."
    );
    describe_gauge!(LAST_RUN_DURATION, "Duration of the last run.");
    describe_gauge!(LAST_RUN_DELETED, "Rows deleted by the last run.");
    describe_counter!(RUNS, "Ended runs, by outcome.");
    describe_histogram!(RUN_DURATION, "Wall-clock time of runs.");
    describe_counter!(ROWS_DELETED, "Deleted rows, by the reason for which they were due.");
    describe_counter!(
        ROWS_CHANGED,
        "Rows whose columns were set, by the reason for which they were due."
    );
    describe_counter!(ROWS_SKIPPED, "Due rows skipped because they were locked.");
    describe_gauge!(ROWS_HELD, "Due rows that the last complete run of a target left, by cause.");
    describe_counter!(CHUNKS, "Attempted chunks, by outcome.");
    describe_histogram!(
        CHUNK_DURATION,
        "Duration of chunks, from finding the end of a chunk to its commit."
    );
    describe_gauge!(CHUNK_SIZE, "Maximum number of rows in the next chunk.");
    describe_gauge!(BACKLOG, "Due rows when the backlog was last counted, up to a cap.");
    describe_gauge!(BACKLOG_CAPPED, "1 if the count of the backlog stopped at its cap.");
    describe_gauge!(
        BACKLOG_OLDEST,
        "When the oldest row of the backlog fell due; 0 if no row is due."
    );
    describe_gauge!(
        BACKLOG_SAMPLED,
        "When the backlog was last counted; 0 before the first count."
    );
    describe_gauge!(
        BACKLOG_STATE,
        "1 for the state of the last count of the backlog: exact, at_least or unknown."
    );
    describe_counter!(LOCK_ATTEMPTS, "Attempts to acquire the lock of a target, by result.");
    describe_counter!(CHECKS, "Preflight checks of a target, by result.");
    describe_counter!(THROTTLE_SECONDS, "Time spent waiting before chunks, by cause.");
    describe_gauge!(THROTTLED, "1 while a run waits, by cause.");
    describe_gauge!(REPLICA_LAG, "Last measured replay lag, by the replica's application_name.");
    describe_counter!(TICKS_SKIPPED, "Scheduled runs skipped because another run was active.");
    describe_counter!(EXPORT_FAILURES, "Failed exports of metrics or spans, by destination.");
    describe_gauge!(LOCK_HELD, "1 while this process holds the lock of a target.");
}

/// Creates the counters and histograms, which start at 0.
pub(super) fn create_counts(targets: &[Target]) {
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "revision" => REVISION).set(1);
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
            let counter = if target.set.is_empty() { ROWS_DELETED } else { ROWS_CHANGED };
            counter!(counter, "target" => name.clone(), "reason" => reason.name.clone())
                .absolute(0);
        }
    }
}

/// Creates the gauges and the counters of a daemon, so that they exist before their first values
/// are recorded.
pub(super) fn create_gauges(targets: &[Target]) {
    counter!(TICKS_SKIPPED).absolute(0);
    for name in [INTERVAL, LAST_SUCCESS, LAST_COMPLETION, LAST_RUN_DURATION] {
        gauge!(name).set(0);
    }
    for cause in ThrottleCause::ALL {
        gauge!(THROTTLED, "cause" => cause.as_str()).set(0);
    }
    for target in targets {
        let name = &target.name;
        let zero = [
            LAST_RUN_DELETED,
            CHUNK_SIZE,
            BACKLOG_CAPPED,
            BACKLOG_OLDEST,
            BACKLOG_SAMPLED,
            LOCK_HELD,
        ];
        super::backlog_state(name, BacklogState::Unknown);
        for gauge in zero {
            gauge!(gauge, "target" => name.clone()).set(0);
        }
        for cause in HeldCause::ALL {
            gauge!(ROWS_HELD, "target" => name.clone(), "cause" => cause.as_str()).set(0);
        }
        for reason in &target.reasons {
            gauge!(BACKLOG, "target" => name.clone(), "reason" => reason.name.clone()).set(0);
        }
    }
}

/// Returns whether session-reaper defines a metric with this name.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with("session_reaper_")
}

/// Returns whether a gauge is meaningful only while the process of the run exists, and not after
/// the run has ended.
pub(crate) fn is_momentary(name: &str) -> bool {
    [INTERVAL, LOCK_HELD, THROTTLED, REPLICA_LAG, CHUNK_SIZE].contains(&name)
}
