//! The end of a run: its report, its exit code, and its log line.

use std::time::Instant;

use crate::exit::{Exit, TargetExit};
use crate::report::conclude;
use crate::report::run_report::{RunReport, TargetReport};
use crate::run::target_run::TargetRun;
use crate::stop::Stop;
use crate::stop_reason::StopReason;
use crate::store::runs::{NewRun, Outcome};
use crate::time::milliseconds;

/// How a target affects the result of a run: whether it counts for the outcome, and whether a
/// preflight check or a guard rejected it.
pub(crate) struct Weight {
    counts: bool,
    rejected: bool,
}

impl Weight {
    pub(crate) fn of(target_run: &TargetRun<'_>) -> Self {
        let rejected =
            matches!(target_run.ended, Some(Err(StopReason::Unsafe(_) | StopReason::Held(_))));
        Self { counts: !target_run.target.is_own_history, rejected }
    }
}

/// Builds the report of a run, and determines its exit code.
pub(crate) fn concluded(
    run: &NewRun,
    began: Instant,
    targets: Vec<(TargetReport, Weight)>,
    through: Result<(), StopReason>,
    stop: &Stop,
) -> (RunReport, Exit) {
    let interrupted = targets.iter().any(|(report, _)| report.outcome == Outcome::Interrupted);
    // The outcome of a run does not depend on the cleanup of the reaper's own history, unless a
    // signal ended the run during this cleanup.
    let counts = |(report, weight): &&(TargetReport, Weight)| {
        weight.counts || report.outcome == Outcome::Interrupted
    };
    let counted: Vec<&TargetReport> =
        targets.iter().filter(counts).map(|(report, _)| report).collect();
    let exits: Vec<TargetExit> = targets
        .iter()
        .filter(counts)
        .filter_map(|(report, weight)| {
            Some(TargetExit::new(report.outcome.ended()?, weight.rejected))
        })
        .collect();
    let exit = match (&through, stop.requested()) {
        (_, Some(signal)) if interrupted => Exit::Stopped(signal),
        (Err(reason), _) => Exit::from(reason),
        (Ok(()), _) => Exit::of(&exits),
    };
    let (outcome, why) = match through {
        Err(reason) => (Outcome::Failed, reason.to_string()),
        Ok(()) => conclude(&counted),
    };
    let targets = targets.into_iter().map(|(report, _)| report).collect();
    let report = RunReport {
        run_id: run.id.0,
        outcome: outcome.into(),
        why,
        started_at: run.started_at,
        elapsed_ms: milliseconds(began.elapsed()),
        targets,
        ..RunReport::default()
    };
    (report, exit)
}

/// Logs the end of a run.
pub(crate) fn log_end(report: &RunReport) {
    let (run_id, outcome, why) = (report.run_id, report.outcome.as_str(), report.why.as_str());
    let (deleted, elapsed_ms) = (report.deleted_rows(), report.elapsed_ms);
    match report.outcome.ended() {
        Some(Outcome::Failed) => {
            tracing::error!(event = "run_ended", %run_id, outcome, why, deleted, elapsed_ms, "run ended");
        }
        Some(Outcome::Partial) => {
            tracing::warn!(event = "run_ended", %run_id, outcome, why, deleted, elapsed_ms, "run ended");
        }
        _ => {
            tracing::info!(event = "run_ended", %run_id, outcome, why, deleted, elapsed_ms, "run ended");
        }
    }
}
