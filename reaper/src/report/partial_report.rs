//! The report of a run that has not ended: the object of [`crate::report`] as stored in
//! `reaper_runs.report` while the run is active, and as shown on the status page.

use std::time::Duration;

use crate::store::runs::{Outcome, Run};
use serde_json::{Map, Value, json};

use crate::report::progress::{Progress, TargetProgress, Waiting};
use crate::time::{self, milliseconds};

/// The `outcome` of a run or a target that has not ended.
pub const RUNNING: &str = "running";

/// Returns the report of the active run, or `None` if no run is active. Omits the fields that are
/// known only at the end: the remaining rows and the duration of each target. `due` is the number
/// of due rows of all targets, counted at the start of the run.
#[must_use]
pub fn partial_report(progress: &Progress, elapsed: Duration) -> Option<Value> {
    let run = progress.run?;
    let mut report = json!({
        "run_id": run.id.0,
        "outcome": RUNNING,
        "why": why(progress),
        "started_at": run.started_at,
        "elapsed_ms": milliseconds(elapsed),
        "targets": progress.targets.iter().map(target).collect::<Vec<_>>(),
        "due": progress.due,
        "due_capped": progress.due_capped,
    });
    if let Some(waiting) = &progress.waiting {
        report["waiting"] = wait(waiting);
    }
    Some(report)
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

fn target(target: &TargetProgress) -> Value {
    let running = (RUNNING.to_owned(), format!("deleting from {}", target.target));
    let ended =
        target.ended.as_ref().map(|(outcome, why)| (outcome.as_str().to_owned(), why.clone()));
    let (outcome, why) = ended.unwrap_or(running);
    let deleted: Map<String, Value> =
        target.deleted.iter().map(|(reason, rows)| (reason.clone(), (*rows).into())).collect();
    json!({
        "target": target.target,
        "outcome": outcome,
        "why": why,
        "deleted": deleted,
        "chunks": target.chunks,
        "skipped_locked": target.skipped_locked,
    })
}

fn wait(waiting: &Waiting) -> Value {
    json!({"cause": waiting.cause.as_str(), "why": waiting.why, "since": waiting.since})
}

/// Returns the last stored report of a run that was killed, or a minimal one if none was stored.
/// The run may have deleted more rows than the report contains.
#[must_use]
pub fn of_killed(run: &Run) -> Value {
    let seen = time::text(run.heartbeat_at);
    let why = format!("killed, or cut off from the database; last heartbeat at {seen}");
    let elapsed = (run.heartbeat_at - run.started_at).to_std().unwrap_or_default();
    let mut report = run.report.clone().filter(Value::is_object).unwrap_or_else(
        || json!({"run_id": run.id.0, "started_at": run.started_at, "targets": []}),
    );
    let interrupted = Value::from(Outcome::Interrupted.as_str());
    report["outcome"] = interrupted.clone();
    report["why"] = why.clone().into();
    report["elapsed_ms"] = milliseconds(elapsed).into();
    if let Some(report) = report.as_object_mut() {
        report.remove("waiting");
    }
    for target in report["targets"].as_array_mut().into_iter().flatten() {
        if target["outcome"] == RUNNING {
            target["outcome"] = interrupted.clone();
            target["why"] = why.clone().into();
        }
    }
    report
}
