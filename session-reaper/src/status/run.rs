//! The description of a run that `status` and the status page show.

use chrono::{DateTime, TimeDelta, Utc};
use reaper::runs::Run;
use serde::Serialize;

use super::Waiting;
use crate::recent_runs::Ran;
use reaper::{Outcome, ReportedOutcome, ReportedWait, RunReport, TargetReport, of_killed, time};

/// A run whose last heartbeat (regular update of its row) is older than this may have been killed.
/// A later run closes the row of a killed run after the same time.
const SILENT: TimeDelta = TimeDelta::minutes(1);

/// The outcome of a run without a recent heartbeat, if the history is read on a replica. A replica
/// does not contain the lock that distinguishes an active run from one that was killed.
const UNKNOWN: &str = "unknown";

/// A run. The names and the order of the members are a public interface.
#[derive(Clone, Debug, Serialize)]
pub struct RunStatus {
    /// The ID of the run's row in `reaper_runs`.
    pub run_id: String,
    /// The host and process of the reaper.
    pub instance: String,
    /// The version of the reaper.
    pub version: String,
    /// `manual` or `schedule`.
    pub trigger: String,
    /// When the run started.
    pub started_at: DateTime<Utc>,
    /// The last heartbeat of the run.
    pub heartbeat_at: DateTime<Utc>,
    /// When the run ended; `None` while the run is active, and if the run was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// How the run ended, as in reports, or `running`. For a run that was killed, the value is
    /// `interrupted`; on a replica, where this cannot be detected, it is `unknown`.
    pub outcome: ReportedOutcome,
    /// The reason for the outcome, as a sentence.
    pub why: String,
    /// The number of deleted rows of all targets and reasons; while the run is active, the number
    /// so far.
    pub deleted: u64,
    /// The number of rows that were due when the run started; set only while the run is active.
    pub due: Option<u64>,
    /// Whether counting stopped at a limit, so that more rows than `due` were due.
    pub due_capped: bool,
    /// The duration of the run in milliseconds; while the run is active, the time elapsed so far.
    pub elapsed_ms: u64,
    /// The targets, as in the report of the run.
    pub targets: Vec<TargetReport>,
    /// The current wait because of a throttle: `cause`, `why` and `since`; `None` if the run does
    /// not wait.
    pub waiting: Option<ReportedWait>,
}

impl RunStatus {
    /// Creates the status of a run in the history.
    pub(super) fn of(run: &Run, now: DateTime<Utc>) -> Self {
        let stored = run.report.as_ref().and_then(RunReport::read);
        let silent = run.heartbeat_at.checked_add_signed(SILENT).is_some_and(|limit| limit < now);
        let (outcome, report) = match run.alive {
            _ if run.finished_at.is_some() => {
                let running = ReportedOutcome::Running;
                (run.outcome.as_deref().map_or(running, ReportedOutcome::of), stored)
            }
            Some(false) => (Outcome::Interrupted.into(), Some(of_killed(run))),
            None if silent => {
                (ReportedOutcome::of(UNKNOWN), Some(unknown(run, stored.unwrap_or_default())))
            }
            Some(true) | None => (ReportedOutcome::Running, stored),
        };
        let mut status = Self {
            run_id: run.id.to_string(),
            instance: run.instance.clone(),
            version: run.version.clone(),
            trigger: run.trigger.clone(),
            started_at: run.started_at,
            heartbeat_at: run.heartbeat_at,
            finished_at: run.finished_at,
            outcome,
            why: String::new(),
            deleted: 0,
            due: None,
            due_capped: false,
            elapsed_ms: milliseconds(run.started_at, run.finished_at.unwrap_or(now)),
            targets: Vec::new(),
            waiting: None,
        };
        if let Some(report) = report {
            status.fill(report);
        }
        if status.why.is_empty() {
            let why =
                if status.is_running() { "it has started" } else { "its report is not available" };
            why.clone_into(&mut status.why);
        }
        if status.is_running() && run.finished_at.is_none() {
            status.elapsed_ms = milliseconds(run.started_at, now);
        }
        status
    }

    /// Creates the status of a run of this process that has ended and is not in the history.
    pub(crate) fn remembered(ran: &Ran) -> Self {
        Self {
            heartbeat_at: ran.finished_at,
            finished_at: Some(ran.finished_at),
            ..Self::of_this_process(&ran.report, &ran.instance, ran.trigger.as_str())
        }
    }

    /// Creates the status of this process's active run from its [`reaper::partial_report`].
    pub(crate) fn live(
        report: &RunReport,
        instance: &str,
        trigger: &str,
        now: DateTime<Utc>,
    ) -> Self {
        Self { heartbeat_at: now, ..Self::of_this_process(report, instance, trigger) }
    }

    fn of_this_process(report: &RunReport, instance: &str, trigger: &str) -> Self {
        let mut status = Self {
            run_id: report.run_id.to_string(),
            instance: instance.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trigger: trigger.to_owned(),
            started_at: report.started_at,
            heartbeat_at: report.started_at,
            finished_at: None,
            outcome: report.outcome.clone(),
            why: String::new(),
            deleted: 0,
            due: None,
            due_capped: false,
            elapsed_ms: 0,
            targets: Vec::new(),
            waiting: None,
        };
        status.fill(report.clone());
        status
    }

    /// Copies the values of a report.
    fn fill(&mut self, report: RunReport) {
        self.elapsed_ms = report.elapsed_ms;
        self.deleted = report.deleted_rows();
        if self.is_running() {
            self.due = report.due;
            self.due_capped = report.due_capped.unwrap_or(false);
            self.waiting = report.waiting;
        }
        self.why = report.why;
        self.targets = report.targets;
    }

    /// Returns whether the run is active.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.outcome == ReportedOutcome::Running
    }

    /// Returns whether the run has ended. A run whose state is unknown may be active.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.is_running() && (self.finished_at.is_some() || self.outcome.ended().is_some())
    }

    pub(super) fn waits(&self) -> Option<Waiting> {
        let waiting = self.waiting.as_ref().filter(|_| self.is_running())?;
        Some(Waiting {
            run_id: self.run_id.clone(),
            instance: self.instance.clone(),
            cause: waiting.cause.clone(),
            why: waiting.why.clone(),
            since: waiting.since,
        })
    }
}

fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    reaper::time::milliseconds((to - from).to_std().unwrap_or_default())
}

/// Returns the last report of a run for a replica, on which it is unknown whether the run is active
/// or was killed. The reason in the report states this.
fn unknown(run: &Run, report: RunReport) -> RunReport {
    let why = format!(
        "active or killed, which a replica cannot tell; last heartbeat at {}",
        time::text(run.heartbeat_at)
    );
    RunReport { why, waiting: None, ..report }
}
