//! Updates the metrics, the recent runs and the watchdog from the events of a run.

use std::time::Duration;

use reaper::runs::Trigger;
use reaper::{
    BacklogCount, BacklogState, ChunkOutcome, HeldCause, LockAttempt, Observer, RunReport, Target,
    ThrottleCause,
};

use crate::{metrics, recent_runs, watchdog};

/// The observer of all runs of this program. Its metrics are global to the process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessObserver;

impl Observer for ProcessObserver {
    fn progressed(&self) {
        watchdog::sign();
    }

    fn chunk_failed(&self, target: &str, outcome: ChunkOutcome) {
        metrics::chunk(target, outcome);
    }

    fn chunk_done(&self, target: &str, elapsed: Duration, next_rows: u32) {
        metrics::chunk_done(target, elapsed, next_rows);
    }

    fn rows_deleted(&self, target: &str, reason: &str, rows: u64) {
        metrics::deleted(target, reason, rows);
    }

    fn rows_changed(&self, target: &str, reason: &str, rows: u64) {
        metrics::changed(target, reason, rows);
    }

    fn children_deleted(&self, target: &str, rows: u64) {
        metrics::deleted(target, metrics::CHILDREN, rows);
    }

    fn rows_skipped(&self, target: &str, rows: u64) {
        metrics::skipped_locked(target, rows);
    }

    fn rows_held(&self, target: &str, cause: HeldCause, rows: u64) {
        metrics::rows_held(target, cause, rows);
    }

    fn backlog_counted(&self, target: &Target, count: BacklogCount<'_>) {
        metrics::backlog(target, count);
        recent_runs::keep_backlog(target, count);
    }

    fn backlog_unknown(&self, target: &Target) {
        metrics::backlog_state(&target.name, BacklogState::Unknown);
        recent_runs::forget_backlog(&target.name);
    }

    fn throttled(&self, cause: ThrottleCause, waits: bool) {
        metrics::throttled(cause, waits);
    }

    fn waited(&self, cause: ThrottleCause, time: Duration) {
        metrics::has_waited(cause, time);
    }

    fn replica_lag(&self, replica: &str, lag: Duration) {
        metrics::replica_lag(replica, lag);
    }

    fn target_checked(&self, target: &str, safe: bool) {
        metrics::checked(target, safe);
    }

    fn lock_attempted(&self, result: LockAttempt) {
        metrics::lock_attempt(result);
    }

    fn lock_held(&self, target: &str, held: bool) {
        metrics::lock_held(target, held);
    }

    fn run_ended(&self, instance: &str, trigger: Trigger, report: &RunReport) {
        let deleted =
            report.targets.iter().map(|target| (target.target.as_str(), target.deleted_rows()));
        let elapsed = Duration::from_millis(report.elapsed_ms);
        if let Some(outcome) = report.outcome.ended() {
            metrics::run_ended(outcome, elapsed, deleted);
        }
        recent_runs::keep_run(instance, trigger, report);
    }
}
