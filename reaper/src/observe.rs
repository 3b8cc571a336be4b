//! The interface through which a run reports its progress. The engine has no metrics of its own. A
//! program that has metrics implements [`Observer`] and updates the metrics in the methods of the
//! observer.

use std::fmt::Debug;
use std::time::Duration;

use crate::backlog::state::BacklogState;
use crate::report::run_report::RunReport;
use crate::store::runs::Trigger;
use crate::target::Target;
use crate::throttle::cause::ThrottleCause;

/// The result of an attempt to delete a chunk (the rows that one transaction deletes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ChunkOutcome {
    /// The chunk was committed.
    Done,
    /// A timeout was reached. The chunk is retried with fewer rows.
    #[strum(serialize = "timeout")]
    TimedOut,
    /// The attempt failed, and the chunk is retried.
    Retried,
    /// The attempt failed, and therefore the target failed.
    Failed,
}

impl ChunkOutcome {
    /// All results.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// The result of an attempt to acquire the lock of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LockAttempt {
    /// The lock was acquired.
    Acquired,
    /// Another reaper holds the lock.
    Busy,
    /// The attempt failed.
    Error,
}

impl LockAttempt {
    /// All results.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Why rows that are due were not deleted, although the run processed them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum HeldCause {
    /// Rows of another table reference the due rows through a foreign key that rejects their
    /// deletion.
    ForeignKey,
    /// A trigger raises an error when the due rows are deleted.
    Trigger,
    /// The server rejects the deletion for another reason, such as a condition that fails.
    Error,
    /// Other transactions have locked the due rows, or a trigger has kept them without an error.
    Lock,
    /// The due rows belong to a group (rows that are deleted only together) in which another
    /// transaction has locked a row.
    Group,
}

impl HeldCause {
    /// All causes.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value of the metric label, which is also the name in the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Returns `true` if the server rejects the deletion of the rows, so that it will fail again in
    /// the next run.
    pub(crate) fn is_failure(self) -> bool {
        matches!(self, Self::ForeignKey | Self::Trigger | Self::Error)
    }
}

/// The due rows of a target.
#[derive(Clone, Copy, Debug)]
pub struct BacklogCount<'a> {
    /// One count for each reason why rows are due.
    pub rows: &'a [u64],
    /// Whether counting stopped at the limit.
    pub capped: bool,
    /// [`BacklogState::Exact`] or [`BacklogState::AtLeast`].
    pub state: BacklogState,
    /// When the oldest row became due, in seconds since 1970.
    pub oldest_due: Option<f64>,
}

/// Receives what a run reports. Each method is called in the task of the run, so it must not block.
/// By default, a method does nothing.
#[allow(unused_variables, reason = "the defaults do nothing, but the names are documentation")]
pub trait Observer: Debug + Send + Sync {
    /// A statement has ended. A watchdog can use these calls to detect a run that hangs.
    fn progressed(&self) {}

    /// An attempt to delete a chunk of `target` has ended without a commit.
    fn chunk_failed(&self, target: &str, outcome: ChunkOutcome) {}

    /// A chunk of `target` was committed `elapsed` after its start. The next chunk has at most
    /// `next_rows` rows.
    fn chunk_done(&self, target: &str, elapsed: Duration, next_rows: u32) {}

    /// Rows of `target` were deleted for `reason`.
    fn rows_deleted(&self, target: &str, reason: &str, rows: u64) {}

    /// Columns of rows of `target` were set for `reason`, instead of deleting the rows.
    fn rows_changed(&self, target: &str, reason: &str, rows: u64) {}

    /// Rows that reference deleted rows of `target` were deleted from the target's `children`.
    fn children_deleted(&self, target: &str, rows: u64) {}

    /// Due rows were skipped because other transactions had locked them.
    fn rows_skipped(&self, target: &str, rows: u64) {}

    /// The run has processed all due rows of `target` and could not delete `rows` of them because
    /// of `cause`.
    fn rows_held(&self, target: &str, cause: HeldCause, rows: u64) {}

    /// The due rows of a target were counted.
    fn backlog_counted(&self, target: &Target, count: BacklogCount<'_>) {}

    /// The number of due rows of a target is unknown from now on: the count failed, or the target is
    /// unsafe.
    fn backlog_unknown(&self, target: &Target) {}

    /// The run starts to wait because of `cause` (`waits` is `true`), or it stops waiting (`waits`
    /// is `false`).
    fn throttled(&self, cause: ThrottleCause, waits: bool) {}

    /// The run has waited for `time` because of `cause`.
    fn waited(&self, cause: ThrottleCause, time: Duration) {}

    /// The lag of a replica was measured.
    fn replica_lag(&self, replica: &str, lag: Duration) {}

    /// The preflight checks of a target have ended.
    fn target_checked(&self, target: &str, safe: bool) {}

    /// The run tried to acquire the lock of a target.
    fn lock_attempted(&self, result: LockAttempt) {}

    /// The run acquired the lock of `target` (`held` is `true`), or no longer holds the lock
    /// (`held` is `false`).
    fn lock_held(&self, target: &str, held: bool) {}

    /// A run has ended, successfully or not.
    fn run_ended(&self, instance: &str, trigger: Trigger, report: &RunReport) {}
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
