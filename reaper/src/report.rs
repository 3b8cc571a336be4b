//! What a run did and why it ended: the object that `run --output json` prints and that is stored
//! in `reaper_runs.report`.

pub(crate) mod partial_report;
pub(crate) mod progress;
pub(crate) mod spans;

use std::time::Duration;

use crate::store::runs::Outcome;
use chrono::{DateTime, Utc};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::backlog::Backlog;
use crate::stop_reason::StopReason;
use crate::time::milliseconds;

/// The report of a run. The names and the order of the fields are a stable interface.
///
/// # The outcome of a run
///
/// 1. `interrupted` if a signal ended the work on a target. Only these targets are named in `why`.
/// 2. `failed` if the run itself could not continue (for example, its connection was lost, or it is
///    connected through a transaction-pooling proxy), or if at least one target failed and none was
///    completed or partially processed. A target that another reaper has locked does not count as
///    completed.
/// 3. `partial` if a target failed and another was completed or partially processed, or if a limit
///    or the maximum wait of a throttle was reached with due rows left.
/// 4. `paused` if a pause lasted longer than the maximum wait.
/// 5. `skipped_lock` if another reaper holds the locks of all targets.
/// 6. `success` otherwise: all rows that could be deleted were deleted. Locked rows, and targets
///    that another reaper has locked, do not change this outcome; `why` mentions them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The id of the row in `reaper_runs`.
    pub run_id: Uuid,
    /// The outcome, as described above.
    #[serde(serialize_with = "outcome_name")]
    pub outcome: Outcome,
    /// A description of the outcome. Never empty.
    pub why: String,
    /// When the run began, by the database's clock. Due rows are determined relative to this time.
    pub started_at: DateTime<Utc>,
    /// The elapsed time, in milliseconds.
    pub elapsed_ms: u64,
    /// The targets, in the order in which they were processed.
    pub targets: Vec<TargetReport>,
}

/// The report of one target.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    /// The name of the target.
    pub target: String,
    /// `success`, `partial` (a limit was reached with due rows left, or a throttle lasted too
    /// long), `paused`, `skipped_lock`, `failed` or `interrupted`.
    #[serde(serialize_with = "outcome_name")]
    pub outcome: Outcome,
    /// A description of the outcome. Never empty.
    pub why: String,
    /// The number of rows deleted for each reason. A row that was due for several reasons is
    /// counted for the first one.
    #[serde(serialize_with = "as_map")]
    pub deleted: Vec<(String, u64)>,
    /// The number of transactions that found due rows.
    pub chunks: u64,
    /// The number of due rows that were skipped because they were locked. Some of them may have
    /// been deleted at the retry.
    pub skipped_locked: u64,
    /// The number of due rows that were left after the run, including locked rows.
    pub remaining: u64,
    /// Whether more than `remaining` rows are left, because counting stopped at its cap.
    pub remaining_capped: bool,
    /// The elapsed time, in milliseconds.
    pub elapsed_ms: u64,
    /// The durations of its chunks. Omitted if there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_ms: Option<ChunkTimes>,
    /// The number of rows that were deleted from the target's `children`. Omitted for a target
    /// without children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<u64>,
    /// The tables of the target whose outcome differs from its own. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<TableDetail>,
    /// Tables from which ON DELETE CASCADE may have deleted rows that were not due: tables of this
    /// target or of another one. These rows are not counted. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uncounted_cascades: Vec<String>,
    /// The codes of the unsafe findings that were overridden. Omitted if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<&'static str>,
}

/// One table of a target, such as a partition.
#[derive(Clone, Debug, Serialize)]
pub struct TableDetail {
    /// The schema-qualified name of the table.
    pub table: String,
    /// `skipped_lock` if another reaper has locked the table or the target's children.
    #[serde(serialize_with = "outcome_name")]
    pub outcome: Outcome,
}

/// The maximum number of tables that a report names.
const NAMED: usize = 100;

/// The durations of a target's chunks, in milliseconds, from the probe to the commit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChunkTimes {
    /// The mean duration.
    pub mean: f64,
    /// The longest duration.
    pub max: f64,
}

impl ChunkTimes {
    fn new(chunks: u64, total: Duration, longest: Duration) -> Option<Self> {
        let one = u32::try_from(chunks).ok().filter(|chunks| *chunks > 0)?;
        let ms = |time: Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0;
        Some(Self { mean: ms(total / one), max: ms(longest) })
    }
}

/// The result of the work on a target, before the remaining rows are counted.
pub(crate) struct Worked {
    pub(crate) target: String,
    pub(crate) ended: Result<(), StopReason>,
    pub(crate) deleted: Vec<(String, u64)>,
    pub(crate) children: Option<u64>,
    pub(crate) chunks: u64,
    pub(crate) chunk_time: Duration,
    pub(crate) longest_chunk: Duration,
    pub(crate) skipped_locked: u64,
    pub(crate) elapsed: Duration,
    /// Tables whose lock another reaper held.
    pub(crate) busy: Vec<String>,
    pub(crate) uncounted_cascades: Vec<String>,
    pub(crate) forced: Vec<&'static str>,
}

impl TargetReport {
    pub(crate) fn new(worked: Worked, backlog: &Backlog) -> Self {
        let remaining = backlog.total();
        let left = remaining > 0 || backlog.capped;
        let busy = worked.busy.len();
        let detail = worked
            .busy
            .into_iter()
            .map(|table| TableDetail { table, outcome: Outcome::SkippedLock });
        let deleted = worked.deleted.iter().map(|(_, rows)| rows).sum();
        let done = || (Outcome::Success, why_done(deleted, backlog));
        let (outcome, why) = match worked.ended {
            Ok(()) if busy > 0 => (
                Outcome::Success,
                format!(
                    "everything was examined except {busy} tables that another reaper is processing"
                ),
            ),
            // If no due rows are left, the limit has no effect on the outcome.
            Err(StopReason::Budget(_) | StopReason::Throttled(..)) if !left => done(),
            Err(reason) => (reason.outcome(), reason.to_string()),
            Ok(()) => done(),
        };
        Self {
            target: worked.target,
            outcome,
            why,
            deleted: worked.deleted,
            chunks: worked.chunks,
            skipped_locked: worked.skipped_locked,
            remaining,
            remaining_capped: backlog.capped,
            elapsed_ms: milliseconds(worked.elapsed),
            chunk_ms: ChunkTimes::new(worked.chunks, worked.chunk_time, worked.longest_chunk),
            children: worked.children,
            detail: detail.take(NAMED).collect(),
            uncounted_cascades: worked.uncounted_cascades,
            forced: worked.forced,
        }
    }

    /// Returns the number of rows deleted for all reasons.
    #[must_use]
    pub fn deleted_rows(&self) -> u64 {
        self.deleted.iter().map(|(_, rows)| rows).sum()
    }
}

impl Report {
    /// Returns the number of rows deleted from all targets.
    #[must_use]
    pub fn deleted_rows(&self) -> u64 {
        self.targets.iter().map(TargetReport::deleted_rows).sum()
    }
}

/// Derives the outcome of a run from those of its targets. See [`Report`] for the rules.
pub(crate) fn conclude(targets: &[TargetReport]) -> (Outcome, String) {
    let of = |outcome: Outcome| targets.iter().filter(move |target| target.outcome == outcome);
    let some = |outcome| of(outcome).next().is_some();
    let reasons = |outcome| join_reasons(of(outcome));

    if some(Outcome::Interrupted) {
        (Outcome::Interrupted, reasons(Outcome::Interrupted))
    } else if some(Outcome::Failed) {
        let outcome = if some(Outcome::Success) || some(Outcome::Partial) {
            Outcome::Partial
        } else {
            Outcome::Failed
        };
        (outcome, join_reasons(of(Outcome::Failed).chain(of(Outcome::Partial))))
    } else if some(Outcome::Paused) {
        (Outcome::Paused, reasons(Outcome::Paused))
    } else if some(Outcome::Partial) {
        (Outcome::Partial, reasons(Outcome::Partial))
    } else if some(Outcome::SkippedLock) {
        let outcome = if some(Outcome::Success) { Outcome::Success } else { Outcome::SkippedLock };
        (outcome, reasons(Outcome::SkippedLock))
    } else {
        let remaining: u64 = targets.iter().map(|target| target.remaining).sum();
        let backlog = Backlog {
            rows: vec![remaining],
            capped: targets.iter().any(|target| target.remaining_capped),
            ..Backlog::default()
        };
        (Outcome::Success, why_done(targets.iter().map(TargetReport::deleted_rows).sum(), &backlog))
    }
}

/// Joins the reasons of the targets. If all targets have the same reason, it is written once.
fn join_reasons<'a>(targets: impl Iterator<Item = &'a TargetReport>) -> String {
    let targets: Vec<&TargetReport> = targets.collect();
    match targets.as_slice() {
        [first, _, ..] if targets.iter().all(|target| target.why == first.why) => {
            let names: Vec<&str> = targets.iter().map(|target| target.target.as_str()).collect();
            format!("{}: {}", names.join(", "), first.why)
        }
        _ => targets
            .iter()
            .map(|target| format!("{}: {}", target.target, target.why))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

fn why_done(deleted: u64, backlog: &Backlog) -> String {
    match (deleted, backlog.total(), backlog.capped) {
        (_, 0, true) => {
            "everything was examined; the remaining rows could not be counted".to_owned()
        }
        (0, 0, false) => "nothing was due".to_owned(),
        (_, 0, false) => "no due rows are left".to_owned(),
        (_, rows, _) => {
            format!(
                "everything was examined; {rows} due rows are left that are locked or were written in the meantime"
            )
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn outcome_name<S: Serializer>(outcome: &Outcome, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(outcome.as_str())
}

fn as_map<S: Serializer>(entries: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(entries.len()))?;
    for (name, rows) in entries {
        map.serialize_entry(name, rows)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::budget::BudgetLimit;
    use crate::stop::Signal;

    fn target(ended: Result<(), StopReason>, remaining: u64) -> TargetReport {
        let worked = Worked {
            target: "t".into(),
            ended,
            deleted: vec![("expired".into(), 3)],
            children: None,
            chunks: 1,
            chunk_time: Duration::from_millis(4),
            longest_chunk: Duration::from_millis(4),
            skipped_locked: 0,
            elapsed: Duration::from_millis(5),
            busy: Vec::new(),
            uncounted_cascades: Vec::new(),
            forced: Vec::new(),
        };
        TargetReport::new(
            worked,
            &Backlog { rows: vec![remaining], capped: false, ..Backlog::default() },
        )
    }

    fn outcome(targets: &[TargetReport]) -> Outcome {
        let (outcome, why) = conclude(targets);
        assert!(!why.is_empty());
        outcome
    }

    #[test]
    fn run_outcome_follows_from_its_targets() {
        let done = || target(Ok(()), 0);
        let locked_rows = || target(Ok(()), 2);
        let failed = || target(Err(StopReason::Failed("boom".into())), 9);
        let busy = || target(Err(StopReason::Locked), 9);
        let spent = || target(Err(StopReason::Budget(BudgetLimit::Rows(3))), 9);
        let stopped = || target(Err(StopReason::Signal(Signal::Terminate)), 9);

        for (targets, expected) in [
            (vec![done(), done()], Outcome::Success),
            (vec![done(), locked_rows()], Outcome::Success),
            (vec![done(), busy()], Outcome::Success),
            (vec![busy(), busy()], Outcome::SkippedLock),
            (vec![done(), failed()], Outcome::Partial),
            (vec![spent(), failed()], Outcome::Partial),
            (vec![spent(), busy()], Outcome::Partial),
            (vec![done(), spent()], Outcome::Partial),
            (vec![failed(), failed()], Outcome::Failed),
            (vec![failed(), busy()], Outcome::Failed),
            (vec![done(), stopped()], Outcome::Interrupted),
            (vec![failed(), stopped()], Outcome::Interrupted),
        ] {
            let named: Vec<&str> = targets.iter().map(|target| target.outcome.as_str()).collect();
            assert_eq!(outcome(&targets), expected, "{named:?}");
        }
    }

    #[test]
    fn budget_used_up_by_the_last_row_is_a_success() {
        assert_eq!(
            target(Err(StopReason::Budget(BudgetLimit::Rows(3))), 0).outcome,
            Outcome::Success
        );
    }

    #[test]
    fn field_names_and_order_are_stable() {
        let (outcome, why) = conclude(&[target(Ok(()), 0)]);
        let report = Report {
            run_id: Uuid::nil(),
            outcome,
            why,
            started_at: DateTime::UNIX_EPOCH,
            elapsed_ms: 7,
            targets: vec![target(Ok(()), 0)],
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"run_id":"00000000-0000-0000-0000-000000000000","outcome":"success","why":"no due rows are left","started_at":"1970-01-01T00:00:00Z","elapsed_ms":7,"targets":[{"target":"t","outcome":"success","why":"no due rows are left","deleted":{"expired":3},"chunks":1,"skipped_locked":0,"remaining":0,"remaining_capped":false,"elapsed_ms":5,"chunk_ms":{"mean":4.0,"max":4.0}}]}"#
        );
    }
}
