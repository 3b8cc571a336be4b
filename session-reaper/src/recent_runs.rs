//! What this process remembers of its own runs: the last count of each backlog, and how the runs of
//! the last day ended. The daemon's status page shows it, so that looking at the page counts
//! nothing, and where no history is kept.
//!
//! Like the metrics, beside which it is written, it is one for the process.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use schema::runs::{Outcome, RunId, Trigger};
use serde_json::Value;

use crate::clock;
use crate::sweep::{Report, Target};

/// Runs that are kept: some days of a quarter of an hour each, and a few hundred kilobytes.
const RUNS: usize = 500;

/// Runs of before are of no matter to a page that shows a day.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// A count of a backlog.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Rows, by reason.
    pub rows: Vec<(String, u64)>,
    /// There were more.
    pub capped: bool,
    /// When the oldest fell due.
    pub oldest_due: Option<DateTime<Utc>>,
    /// By this host's clock.
    pub at: DateTime<Utc>,
}

/// A run of this process that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Who ran it.
    pub instance: String,
    /// What set it off.
    pub trigger: Trigger,
    /// What it did.
    pub report: Value,
    /// By this host's clock.
    pub finished_at: DateTime<Utc>,
}

struct Memory {
    samples: BTreeMap<String, Sample>,
    runs: VecDeque<Ran>,
}

static MEMORY: Mutex<Memory> =
    Mutex::new(Memory { samples: BTreeMap::new(), runs: VecDeque::new() });

fn with<T>(work: impl FnOnce(&mut Memory) -> T) -> T {
    // What a thread left that panicked here is whole: each change is one statement.
    work(&mut MEMORY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps a count of the backlog of `target`, one a reason; `oldest_due` in seconds since 1970.
pub(crate) fn keep_backlog(target: &Target, rows: &[u64], capped: bool, oldest_due: Option<f64>) {
    let rows = target
        .reasons
        .iter()
        .zip(rows)
        .map(|(reason, rows)| (reason.name.clone(), *rows))
        .collect();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "`as` saturates; what is out of range is no date"
    )]
    let oldest_due =
        oldest_due.and_then(|seconds| DateTime::from_timestamp_micros((seconds * 1e6) as i64));
    let sample = Sample { rows, capped, oldest_due, at: clock::now() };
    with(|recent_runs| recent_runs.samples.insert(target.name.clone(), sample));
}

/// Keeps how a run ended.
pub(crate) fn keep_run(instance: &str, trigger: Trigger, report: &Report) {
    let report = serde_json::to_value(report).unwrap_or_default();
    let ran = Ran { instance: instance.to_owned(), trigger, report, finished_at: clock::now() };
    with(|recent_runs| {
        recent_runs.runs.push_front(ran);
        recent_runs.runs.truncate(RUNS);
    });
}

/// Keeps that a run could not begin.
pub(crate) fn keep_failure(instance: &str, why: &str) {
    let report = Report {
        run_id: RunId::generate().0,
        outcome: Outcome::Failed,
        why: why.to_owned(),
        started_at: clock::now(),
        elapsed_ms: 0,
        targets: Vec::new(),
    };
    keep_run(instance, Trigger::Schedule, &report);
}

/// The last count of a backlog.
#[must_use]
pub fn backlog(target: &str) -> Option<Sample> {
    with(|recent_runs| recent_runs.samples.get(target).cloned())
}

/// The runs of the last day, newest first.
#[must_use]
pub fn runs() -> Vec<Ran> {
    let oldest = clock::now() - KEPT_FOR;
    with(|recent_runs| {
        recent_runs.runs.iter().take_while(|ran| ran.finished_at > oldest).cloned().collect()
    })
}

/// The last run that has ended.
#[must_use]
pub fn last_run() -> Option<Ran> {
    with(|recent_runs| recent_runs.runs.front().cloned())
}
