//! The results of a run and of its targets, and how the outcome of a run follows from the outcomes
//! of its targets. [`run_report`] is the report itself.

pub(crate) mod partial_report;
pub(crate) mod progress;
pub(crate) mod run_report;
pub(crate) mod spans;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::run_report::{ChunkTimes, TableDetail, TargetReport};
use crate::store::runs::Outcome;

use crate::backlog::Backlog;
use crate::stop_reason::StopReason;
use crate::time::milliseconds;

/// The maximum number of tables that a report names.
const NAMED: usize = 100;

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
    /// Empty if the target deletes rows.
    pub(crate) changed: Vec<(String, u64)>,
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
    /// The number of due rows that were left because their deletion fails, by cause.
    pub(crate) held: BTreeMap<String, u64>,
}

impl TargetReport {
    pub(crate) fn new(worked: Worked, backlog: &Backlog) -> Self {
        let remaining = backlog.total();
        let left = remaining > 0 || backlog.capped;
        let busy = worked.busy.len();
        let detail = worked
            .busy
            .into_iter()
            .map(|table| TableDetail { table, outcome: Outcome::SkippedLock.into() });
        let deleted = worked.deleted.iter().chain(&worked.changed).map(|(_, rows)| rows).sum();
        let done = || (Outcome::Success, why_done(deleted, backlog));
        let (outcome, why) = match worked.ended {
            Ok(()) if busy > 0 => (
                Outcome::Success,
                format!(
                    "everything was examined except {busy} tables that another reaper is processing"
                ),
            ),
            Ok(()) if !worked.held.is_empty() => (Outcome::Success, why_held(&worked.held)),
            // If no due rows are left, the limit has no effect on the outcome.
            Err(StopReason::Budget(_) | StopReason::Throttled(..)) if !left => done(),
            Err(reason) => (reason.outcome(), reason.to_string()),
            Ok(()) => done(),
        };
        Self {
            target: worked.target,
            outcome: outcome.into(),
            why,
            deleted: worked.deleted,
            changed: worked.changed,
            chunks: worked.chunks,
            skipped_locked: worked.skipped_locked,
            remaining: Some(remaining),
            remaining_capped: Some(backlog.capped),
            remaining_state: Some(backlog.state()).filter(|state| !state.is_exact()),
            elapsed_ms: Some(milliseconds(worked.elapsed)),
            chunk_ms: ChunkTimes::new(worked.chunks, worked.chunk_time, worked.longest_chunk),
            children: worked.children,
            detail: detail.take(NAMED).collect(),
            uncounted_cascades: worked.uncounted_cascades,
            held: worked.held,
            forced: worked.forced.iter().map(|code| (*code).to_owned()).collect(),
        }
    }
}

/// Derives the outcome of a run from the outcomes of its targets. See [`RunReport`] for the rules.
pub(crate) fn conclude(targets: &[&TargetReport]) -> (Outcome, String) {
    let of =
        |outcome: Outcome| targets.iter().copied().filter(move |target| target.outcome == outcome);
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
    } else if targets.iter().any(|target| !target.held.is_empty()) {
        let held = targets.iter().copied().filter(|target| !target.held.is_empty());
        (Outcome::Success, join_reasons(held))
    } else {
        let remaining: u64 = targets.iter().filter_map(|target| target.remaining).sum();
        let backlog = Backlog {
            rows: vec![remaining],
            capped: targets.iter().any(|target| target.remaining_capped == Some(true)),
            ..Backlog::default()
        };
        (
            Outcome::Success,
            why_done(
                targets.iter().map(|target| target.deleted_rows() + target.changed_rows()).sum(),
                &backlog,
            ),
        )
    }
}

/// The maximum number of targets whose reasons are part of the reason of a run.
const REASONS: usize = 5;

/// Joins the reasons of the targets, at most [`REASONS`] of them. If all targets have the same
/// reason, it is written once.
fn join_reasons<'a>(targets: impl Iterator<Item = &'a TargetReport>) -> String {
    let targets: Vec<&TargetReport> = targets.collect();
    let listed = &targets[..targets.len().min(REASONS)];
    let more = match targets.len() - listed.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match listed {
        [first, _, ..] if targets.iter().all(|target| target.why == first.why) => {
            let names: Vec<&str> = listed.iter().map(|target| target.target.as_str()).collect();
            format!("{}{more}: {}", names.join(", "), first.why)
        }
        _ => {
            let each = listed.iter().map(|target| format!("{}: {}", target.target, target.why));
            format!("{}{}", each.collect::<Vec<_>>().join("; "), more.replace(" and", "; and"))
        }
    }
}

fn why_held(held: &BTreeMap<String, u64>) -> String {
    let rows: u64 = held.values().sum();
    let causes: Vec<String> = held.iter().map(|(cause, rows)| format!("{cause}: {rows}")).collect();
    format!(
        "everything was examined; {rows} due rows cannot be deleted ({}); the log contains the errors",
        causes.join(", ")
    )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::budget::BudgetLimit;
    use crate::report::run_report::RunReport;
    use crate::stop::Signal;

    fn target(ended: Result<(), StopReason>, remaining: u64) -> TargetReport {
        let worked = Worked {
            target: "t".into(),
            ended,
            deleted: vec![("expired".into(), 3)],
            changed: Vec::new(),
            children: None,
            chunks: 1,
            chunk_time: Duration::from_millis(4),
            longest_chunk: Duration::from_millis(4),
            skipped_locked: 0,
            elapsed: Duration::from_millis(5),
            busy: Vec::new(),
            uncounted_cascades: Vec::new(),
            forced: Vec::new(),
            held: BTreeMap::new(),
        };
        TargetReport::new(
            worked,
            &Backlog { rows: vec![remaining], capped: false, ..Backlog::default() },
        )
    }

    fn outcome(targets: &[TargetReport]) -> Outcome {
        let targets: Vec<&TargetReport> = targets.iter().collect();
        let (outcome, why) = conclude(&targets);
        assert!(!why.is_empty());
        outcome
    }

    #[test]
    fn run_outcome_follows_from_its_targets() {
        let done = || target(Ok(()), 0);
        let locked_rows = || target(Ok(()), 2);
        let failed = || target(Err(StopReason::Failed("boom".into())), 9);
        let busy = || target(Err(StopReason::Locked(None)), 9);
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
    fn reason_of_a_run_is_short() {
        let of = |n: usize, why: &str| TargetReport {
            target: format!("t{n}"),
            outcome: Outcome::Failed.into(),
            why: format!("{why}{n}"),
            ..TargetReport::default()
        };
        let targets: Vec<TargetReport> = (0..300).map(|n| of(n, "no index on t")).collect();
        let (_, why) = conclude(&targets.iter().collect::<Vec<_>>());
        assert!(why.ends_with("; t4: no index on t4; and 295 more"), "{why}");
        let same: Vec<TargetReport> =
            (0..7).map(|n| TargetReport { why: "gone".to_owned(), ..of(n, "") }).collect();
        let (_, why) = conclude(&same.iter().collect::<Vec<_>>());
        assert_eq!(why, "t0, t1, t2, t3, t4 and 2 more: gone");
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
        let (outcome, why) = conclude(&[&target(Ok(()), 0)]);
        let report = RunReport {
            outcome: outcome.into(),
            why,
            elapsed_ms: 7,
            targets: vec![target(Ok(()), 0)],
            ..RunReport::default()
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"run_id":"00000000-0000-0000-0000-000000000000","outcome":"success","why":"no due rows are left","started_at":"1970-01-01T00:00:00Z","elapsed_ms":7,"targets":[{"target":"t","outcome":"success","why":"no due rows are left","deleted":{"expired":3},"chunks":1,"skipped_locked":0,"remaining":0,"remaining_capped":false,"elapsed_ms":5,"chunk_ms":{"mean":4.0,"max":4.0}}]}"#
        );
    }
}
