//! A run in the status.

use chrono::{DateTime, Utc};
use reaper::runs::Run;
use serde::Serialize;
use serde_json::Value;

use super::{Waiting, text};
use crate::recent_runs::Ran;
use reaper::{RUNNING, of_killed};

/// A run. The names and the order of its members are an interface.
#[derive(Clone, Debug, Serialize)]
pub struct RunStatus {
    /// The ID of its row in `reaper_runs`.
    pub run_id: String,
    /// The host and process of the reaper.
    pub instance: String,
    /// The version of the reaper.
    pub version: String,
    /// `manual` or `schedule`.
    pub trigger: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// Its last heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// When it ended; `None` while it is active and if it was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// The outcome as in reports, or `running`. A run that was killed is `interrupted`.
    pub outcome: String,
    /// The reason, as a sentence.
    pub why: String,
    /// Deleted rows of all targets and reasons; the current number while it is active.
    pub deleted: u64,
    /// Rows that were due at its start; set only while it is active.
    pub due: Option<u64>,
    /// Whether more rows were due.
    pub due_capped: bool,
    /// Wall-clock time; the current value while it is active.
    pub elapsed_ms: u64,
    /// The targets as in its report.
    pub targets: Value,
    /// The current throttle: `cause`, `why` and `since`.
    pub waiting: Option<Value>,
}

impl RunStatus {
    pub(super) fn of(run: &Run, now: DateTime<Utc>) -> Self {
        let mut seen = Self {
            run_id: run.id.to_string(),
            instance: run.instance.clone(),
            version: run.version.clone(),
            trigger: run.trigger.clone(),
            started_at: run.started_at,
            heartbeat_at: run.heartbeat_at,
            finished_at: run.finished_at,
            outcome: run.outcome.clone().unwrap_or_else(|| RUNNING.to_owned()),
            why: String::new(),
            deleted: 0,
            due: None,
            due_capped: false,
            elapsed_ms: milliseconds(run.started_at, run.finished_at.unwrap_or(now)),
            targets: Value::Array(Vec::new()),
            waiting: None,
        };
        if run.finished_at.is_some() || run.alive {
            seen.fill(run.report.as_ref().unwrap_or(&Value::Null));
            if seen.why.is_empty() {
                let why = if run.alive { "it has started" } else { "its report is not available" };
                why.clone_into(&mut seen.why);
            }
        } else {
            "interrupted".clone_into(&mut seen.outcome);
            seen.fill(&of_killed(run));
        }
        if run.alive {
            seen.elapsed_ms = milliseconds(run.started_at, now);
        }
        seen
    }

    /// Creates the status of an ended run that this process keeps in memory.
    pub(crate) fn remembered(ran: &Ran) -> Option<Self> {
        let started_at = ran.report["started_at"].as_str()?.parse().ok()?;
        let mut seen = Self {
            run_id: text(&ran.report["run_id"])?,
            instance: ran.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trigger: ran.trigger.as_str().to_owned(),
            started_at,
            heartbeat_at: ran.finished_at,
            finished_at: Some(ran.finished_at),
            outcome: text(&ran.report["outcome"])?,
            why: String::new(),
            deleted: 0,
            due: None,
            due_capped: false,
            elapsed_ms: 0,
            targets: Value::Array(Vec::new()),
            waiting: None,
        };
        seen.fill(&ran.report);
        Some(seen)
    }

    /// Creates the status of this process's active run from its [`reaper::partial_report`].
    pub(crate) fn live(
        report: &Value,
        instance: &str,
        trigger: &str,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let mut seen = Self {
            run_id: text(&report["run_id"])?,
            instance: instance.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trigger: trigger.to_owned(),
            started_at: report["started_at"].as_str()?.parse().ok()?,
            heartbeat_at: now,
            finished_at: None,
            outcome: RUNNING.to_owned(),
            why: String::new(),
            deleted: 0,
            due: None,
            due_capped: false,
            elapsed_ms: 0,
            targets: Value::Array(Vec::new()),
            waiting: None,
        };
        seen.fill(report);
        Some(seen)
    }

    /// Copies the values of a report.
    fn fill(&mut self, report: &Value) {
        self.why = text(&report["why"]).unwrap_or_default();
        self.elapsed_ms = report["elapsed_ms"].as_u64().unwrap_or(self.elapsed_ms);
        self.deleted = deleted(report);
        if self.outcome == RUNNING {
            self.due = report["due"].as_u64();
            self.due_capped = report["due_capped"].as_bool().unwrap_or(false);
            self.waiting = report.get("waiting").filter(|waiting| waiting.is_object()).cloned();
        }
        if report["targets"].is_array() {
            self.targets = report["targets"].clone();
        }
    }

    /// Returns whether the run is active.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.outcome == RUNNING
    }

    pub(super) fn waits(&self) -> Option<Waiting> {
        let waiting = self.waiting.as_ref().filter(|_| self.is_running())?;
        Some(Waiting {
            run_id: self.run_id.clone(),
            instance: self.instance.clone(),
            cause: text(&waiting["cause"])?,
            why: text(&waiting["why"]).unwrap_or_default(),
            since: waiting["since"].as_str().and_then(|time| time.parse().ok()),
        })
    }
}

/// Returns the number of deleted rows in a report.
pub(crate) fn deleted(report: &Value) -> u64 {
    let targets = report["targets"].as_array().into_iter().flatten();
    targets
        .filter_map(|target| target["deleted"].as_object())
        .flat_map(|by| by.values())
        .filter_map(Value::as_u64)
        .sum()
}

fn milliseconds(from: DateTime<Utc>, to: DateTime<Utc>) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}
