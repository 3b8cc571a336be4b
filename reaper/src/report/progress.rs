//! The progress of a run. It is used for the progress bar, the status page, the watchdog, and the
//! regular update of the run's row in the history.

use crate::store::runs::{Outcome, RunId, Trigger};
use chrono::{DateTime, Utc};

use crate::stop_reason::StopReason;
use crate::target::Target;
use crate::throttle::cause::ThrottleCause;

/// The state of the active run. It is published after each chunk (one transaction that deletes
/// rows), and at each throttle check while the run waits.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The active run; `None` between two runs.
    pub run: Option<Running>,
    /// The name of the current target.
    pub target: String,
    /// The number of rows deleted so far, over all targets.
    pub deleted: u64,
    /// The number of rows that were due when the run began, over all targets that it processes.
    pub due: u64,
    /// Whether more rows than `due` were due, because counting stopped at the cap.
    pub due_capped: bool,
    /// The progress of each target on which work has begun, in the order in which the work began.
    pub targets: Vec<TargetProgress>,
    /// The throttle that makes the run wait; `None` if the run does not wait.
    pub waiting: Option<Waiting>,
}

/// Identifies the active run.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// The id of the run's row in `reaper_runs`.
    pub id: RunId,
    /// When the run began, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// What triggered the run.
    pub trigger: Trigger,
}

/// The progress of a target in the active run.
#[derive(Clone, Debug)]
pub struct TargetProgress {
    /// The name of the target.
    pub target: String,
    /// The number of rows deleted for each reason. If the target sets columns instead, the number
    /// of changed rows.
    pub deleted: Vec<(String, u64)>,
    /// Whether the target sets columns instead of deleting rows.
    pub sets: bool,
    /// The number of chunks that deleted rows.
    pub chunks: u64,
    /// The number of rows that were skipped because other transactions had locked them.
    pub skipped_locked: u64,
    /// The outcome of the target and the reason for it; `None` while the target is being processed.
    pub ended: Option<(Outcome, String)>,
}

/// A throttle that makes the run wait.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// The throttle cause.
    pub cause: ThrottleCause,
    /// A description with the measured values.
    pub why: String,
    /// When the wait began, by this host's clock.
    pub since: DateTime<Utc>,
}

impl TargetProgress {
    pub(crate) fn begun(target: &Target) -> Self {
        let deleted = target.reasons.iter().map(|reason| (reason.name.clone(), 0)).collect();
        let (target, sets) = (target.name.clone(), !target.set.is_empty());
        Self { target, deleted, sets, chunks: 0, skipped_locked: 0, ended: None }
    }

    /// Marks the target as ended. Its remaining rows are counted at the end of the run.
    pub(crate) fn has_ended(&mut self, result: &Result<(), StopReason>) {
        self.ended = Some(match result {
            Ok(()) => (Outcome::Success, "everything was examined".to_owned()),
            Err(reason) => (reason.outcome(), reason.to_string()),
        });
    }

    /// Records a chunk that deleted `rows` rows.
    pub(crate) fn has_deleted(&mut self, reason: &str, rows: u64) {
        self.chunks += u64::from(rows > 0);
        if let Some((_, deleted)) = self.deleted.iter_mut().find(|(name, _)| name == reason) {
            *deleted += rows;
        }
    }
}
