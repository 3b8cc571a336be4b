//! How far a run has come, for whoever watches: the progress bar, the heartbeat of its row in the
//! history, the status page, a watchdog.

use chrono::{DateTime, Utc};
use schema::runs::{Outcome, RunId, Trigger};

use super::stop_reason::StopReason;
use super::target::Target;
use super::throttle::ThrottleCause;

/// A run under way. It is sent after each chunk, and at each look while it waits.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// `None` between two runs.
    pub run: Option<Running>,
    /// The target that is being worked on.
    pub target: String,
    /// Rows deleted so far, of all targets.
    pub deleted: u64,
    /// Rows that were due when the run began, of all targets that it works on.
    pub due: u64,
    /// There were more, and counting them was given up at a cap.
    pub due_capped: bool,
    /// What was done on each target that was begun, in this order.
    pub targets: Vec<TargetProgress>,
    /// What it waits for, if it does.
    pub waiting: Option<Waiting>,
}

/// Which run.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Its row in `reaper_runs`.
    pub id: RunId,
    /// By the database's clock.
    pub started_at: DateTime<Utc>,
    /// What set it off.
    pub trigger: Trigger,
}

/// A target in a run under way.
#[derive(Clone, Debug)]
pub struct TargetProgress {
    /// Its name.
    pub target: String,
    /// Rows deleted, one entry a reason.
    pub deleted: Vec<(String, u64)>,
    /// Transactions that found something to do.
    pub chunks: u64,
    /// Rows passed over because somebody held them.
    pub skipped_locked: u64,
    /// How the work on it ended, and why; `None` while it is worked on.
    pub ended: Option<(Outcome, String)>,
}

/// A run that waits before it goes on.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// What for.
    pub cause: ThrottleCause,
    /// In words, with what was seen.
    pub why: String,
    /// By this host's clock.
    pub since: DateTime<Utc>,
}

impl TargetProgress {
    pub(super) fn begun(target: &Target) -> Self {
        let deleted = target.reasons.iter().map(|reason| (reason.name.clone(), 0)).collect();
        Self { target: target.name.clone(), deleted, chunks: 0, skipped_locked: 0, ended: None }
    }

    /// It is not worked on any more. What is left of it is counted at the end of the run.
    pub(super) fn has_ended(&mut self, result: &Result<(), StopReason>) {
        self.ended = Some(match result {
            Ok(()) => (Outcome::Success, "everything was examined".to_owned()),
            Err(reason) => (reason.outcome(), reason.to_string()),
        });
    }

    /// A chunk of so many rows went.
    pub(super) fn has_deleted(&mut self, reason: &str, rows: u64) {
        self.chunks += u64::from(rows > 0);
        if let Some((_, deleted)) = self.deleted.iter_mut().find(|(name, _)| name == reason) {
            *deleted += rows;
        }
    }
}
