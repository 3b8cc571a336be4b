//! What a run did and why it ended: the object that `run --output json` prints, and that stands in
//! `reaper_runs.report`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schema::runs::Outcome;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use super::backlog::Backlog;
use super::stop_reason::StopReason;

/// A run. The names and the order of its members are an interface.
///
/// # The outcome of a run
///
/// 1. `interrupted` when a signal cut a target short; it says nothing else.
/// 2. `failed` when the run itself could not go on (its connection was lost, a pooler stands in
///    between), and when no target was worked through while at least one failed. A target that
///    another reaper holds was not worked through by us.
/// 3. `partial` when a target failed and another was worked through, or when a budget, or the time
///    to wait for something in the way, ran out with due rows left.
/// 4. `paused` when a pause outlasted what may be waited.
/// 5. `skipped_lock` when another reaper holds every target.
/// 6. `success` else: whatever could be deleted is gone. Rows that others hold, and targets that
///    another reaper is at work on, do not spoil it: `why` names them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The row in `reaper_runs`.
    pub run_id: Uuid,
    /// See the type.
    #[serde(serialize_with = "outcome_name")]
    pub outcome: Outcome,
    /// In words, always.
    pub why: String,
    /// By the database's clock; what is due is measured from here.
    pub started_at: DateTime<Utc>,
    /// Wall time.
    pub elapsed_ms: u64,
    /// In the order in which they were worked on.
    pub targets: Vec<TargetReport>,
}

/// A target in a run.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    /// Its name.
    pub target: String,
    /// `success`, `partial` (a budget ran out with rows left, or a throttle lasted too long),
    /// `paused`, `skipped_lock`, `failed` or `interrupted`.
    #[serde(serialize_with = "outcome_name")]
    pub outcome: Outcome,
    /// In words, always.
    pub why: String,
    /// Rows deleted, by reason. A row that was due for several went for the first.
    #[serde(serialize_with = "as_map")]
    pub deleted: Vec<(String, u64)>,
    /// Transactions that found something to do.
    pub chunks: u64,
    /// Due rows that were passed over because somebody held them. They may have gone at the second
    /// look.
    pub skipped_locked: u64,
    /// Due rows that were still there after the run, locked ones too.
    pub remaining: u64,
    /// There are more than `remaining`: counting was given up.
    pub remaining_capped: bool,
    /// Wall time.
    pub elapsed_ms: u64,
    /// How long its chunks took; left out when there were none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chunk_ms: Option<ChunkTimes>,
    /// Rows of the target's `children` that went before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<u64>,
    /// The target's tables that did not end as it did; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<TableDetail>,
    /// Tables of which ON DELETE CASCADE may have deleted rows that were not due: the target's
    /// own, or another target's. Those rows are not counted. Left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uncounted_cascades: Vec<String>,
    /// What was unsafe and overridden, by its codes; left out when nothing was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub forced: Vec<&'static str>,
}

/// One table of a target, such as a partition.
#[derive(Clone, Debug, Serialize)]
pub struct TableDetail {
    /// Its name, with its schema.
    pub table: String,
    /// `skipped_lock`: another reaper is at work on it or on the target's children.
    #[serde(serialize_with = "outcome_name")]
    pub outcome: Outcome,
}

/// Tables that a report names; of more than that it has the first.
const NAMED: usize = 100;

/// How long the chunks of a target took, in milliseconds, from asking where one ends to its commit.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ChunkTimes {
    /// On average.
    pub mean: f64,
    /// The longest.
    pub max: f64,
}

impl ChunkTimes {
    fn new(chunks: u64, total: Duration, longest: Duration) -> Option<Self> {
        let one = u32::try_from(chunks).ok().filter(|chunks| *chunks > 0)?;
        let ms = |time: Duration| (time.as_secs_f64() * 100_000.0).round() / 100.0;
        Some(Self { mean: ms(total / one), max: ms(longest) })
    }
}

/// The work on a target, before what remains has been counted.
pub(super) struct Worked {
    pub(super) target: String,
    pub(super) ended: Result<(), StopReason>,
    pub(super) deleted: Vec<(String, u64)>,
    pub(super) children: Option<u64>,
    pub(super) chunks: u64,
    pub(super) chunk_time: Duration,
    pub(super) longest_chunk: Duration,
    pub(super) skipped_locked: u64,
    pub(super) elapsed: Duration,
    /// Tables whose lock another reaper held.
    pub(super) busy: Vec<String>,
    pub(super) uncounted_cascades: Vec<String>,
    pub(super) forced: Vec<&'static str>,
}

impl TargetReport {
    pub(super) fn new(worked: Worked, backlog: &Backlog) -> Self {
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
                    "everything was examined but {busy} tables, which another reaper is at work on"
                ),
            ),
            // With nothing left it does not matter that a limit was reached.
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

    /// Rows deleted, for whatever reason.
    #[must_use]
    pub fn deleted_rows(&self) -> u64 {
        self.deleted.iter().map(|(_, rows)| rows).sum()
    }
}

impl Report {
    /// Rows deleted, of all targets.
    #[must_use]
    pub fn deleted_rows(&self) -> u64 {
        self.targets.iter().map(TargetReport::deleted_rows).sum()
    }
}

/// The outcome of a run that came to its end, from its targets'. See [`Report`] for the rules.
pub(super) fn conclude(targets: &[TargetReport]) -> (Outcome, String) {
    let of = |outcome: Outcome| targets.iter().filter(move |target| target.outcome == outcome);
    let some = |outcome| of(outcome).next().is_some();
    let told = |outcome| tell(of(outcome));

    if some(Outcome::Interrupted) {
        (Outcome::Interrupted, told(Outcome::Interrupted))
    } else if some(Outcome::Failed) {
        let outcome = if some(Outcome::Success) || some(Outcome::Partial) {
            Outcome::Partial
        } else {
            Outcome::Failed
        };
        (outcome, tell(of(Outcome::Failed).chain(of(Outcome::Partial))))
    } else if some(Outcome::Paused) {
        (Outcome::Paused, told(Outcome::Paused))
    } else if some(Outcome::Partial) {
        (Outcome::Partial, told(Outcome::Partial))
    } else if some(Outcome::SkippedLock) {
        let outcome = if some(Outcome::Success) { Outcome::Success } else { Outcome::SkippedLock };
        (outcome, told(Outcome::SkippedLock))
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

/// Each with its reason; one that all of them share once.
fn tell<'a>(targets: impl Iterator<Item = &'a TargetReport>) -> String {
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
        (_, 0, true) => "everything was examined; what is left could not be counted".to_owned(),
        (0, 0, false) => "nothing was due".to_owned(),
        (_, 0, false) => "every due row is gone".to_owned(),
        (_, rows, _) => {
            format!(
                "everything was examined; {rows} due rows are left that others hold or wrote meanwhile"
            )
        }
    }
}

pub(super) fn milliseconds(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
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
    use crate::stop::Signal;
    use crate::sweep::budget::BudgetLimit;

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
    fn the_outcome_of_a_run_follows_from_its_targets() {
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
    fn a_budget_that_runs_out_with_the_last_row_is_no_matter() {
        assert_eq!(
            target(Err(StopReason::Budget(BudgetLimit::Rows(3))), 0).outcome,
            Outcome::Success
        );
    }

    #[test]
    fn the_members_of_the_object_and_their_order_are_fixed() {
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
            r#"{"run_id":"00000000-0000-0000-0000-000000000000","outcome":"success","why":"every due row is gone","started_at":"1970-01-01T00:00:00Z","elapsed_ms":7,"targets":[{"target":"t","outcome":"success","why":"every due row is gone","deleted":{"expired":3},"chunks":1,"skipped_locked":0,"remaining":0,"remaining_capped":false,"elapsed_ms":5,"chunk_ms":{"mean":4.0,"max":4.0}}]}"#
        );
    }
}
