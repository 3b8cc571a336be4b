//! Two kinds of reports: the report of an active run, which is stored in `reaper_runs.report` and
//! shown on the status page, and the report of a run that was killed.

use std::time::Duration;

use super::progress::{Progress, TargetProgress};
use super::run_report::{ReportedOutcome, ReportedWait, RunReport, TargetReport};
use crate::store::runs::{Outcome, Run};
use crate::time::{self, milliseconds};

/// Returns the report of the active run, or `None` if no run is active. The report does not contain
/// the fields that are known only at the end: the remaining rows and the duration of each target.
/// `due` is the number of due rows of all targets, counted at the start of the run.
#[must_use]
pub fn partial_report(progress: &Progress, elapsed: Duration) -> Option<RunReport> {
    let run = progress.run?;
    Some(RunReport {
        run_id: run.id.0,
        outcome: ReportedOutcome::Running,
        why: why(progress),
        started_at: run.started_at,
        elapsed_ms: milliseconds(elapsed),
        targets: progress.targets.iter().map(target).collect(),
        due: Some(progress.due),
        due_capped: Some(progress.due_capped),
        waiting: progress.waiting.as_ref().map(|waiting| ReportedWait {
            cause: waiting.cause.as_str().to_owned(),
            why: waiting.why.clone(),
            since: Some(waiting.since),
        }),
    })
}

fn why(progress: &Progress) -> String {
    match &progress.waiting {
        Some(waiting) => format!("waiting for {}: {}", waiting.cause.as_str(), waiting.why),
        None if progress.target.is_empty() => {
            "examining tables, acquiring locks and counting due rows".to_owned()
        }
        None if progress.targets.last().is_some_and(|target| target.ended.is_some()) => {
            "counting remaining rows".to_owned()
        }
        None => format!("deleting from {}", progress.target),
    }
}

fn target(target: &TargetProgress) -> TargetReport {
    let (outcome, why) = match &target.ended {
        Some((outcome, why)) => ((*outcome).into(), why.clone()),
        None => (ReportedOutcome::Running, format!("deleting from {}", target.target)),
    };
    let counts = |shown: bool| if shown { target.deleted.clone() } else { Vec::new() };
    TargetReport {
        target: target.target.clone(),
        outcome,
        why,
        deleted: counts(!target.sets),
        changed: counts(target.sets),
        chunks: target.chunks,
        skipped_locked: target.skipped_locked,
        ..TargetReport::default()
    }
}

/// Returns the last stored report of a run that was killed, or a minimal report if none was stored.
/// The run may have deleted more rows than the report contains.
#[must_use]
pub fn of_killed(run: &Run) -> RunReport {
    let why = format!(
        "killed, or cut off from the database; last heartbeat at {}",
        time::text(run.heartbeat_at)
    );
    let elapsed = (run.heartbeat_at - run.started_at).to_std().unwrap_or_default();
    let stored = run.report.as_ref().and_then(RunReport::read);
    let mut report = stored.unwrap_or_else(|| RunReport {
        run_id: run.id.0,
        started_at: run.started_at,
        ..RunReport::default()
    });
    for target in &mut report.targets {
        if target.outcome == ReportedOutcome::Running {
            (target.outcome, target.why) = (Outcome::Interrupted.into(), why.clone());
        }
    }
    RunReport {
        outcome: Outcome::Interrupted.into(),
        why,
        elapsed_ms: milliseconds(elapsed),
        waiting: None,
        ..report
    }
}
