//! Keeps the recent runs of this process in memory: the last count of each backlog (the due rows of
//! a target), and the results of the runs of the last day. The daemon's status page shows this
//! data. Viewing the page therefore counts no rows, and the page works without a run history.
//!
//! This memory is global to the process, like the metrics, which are updated in the same places.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use reaper::runs::{Outcome, RunId, Trigger};

use crate::clock;
use reaper::{BacklogCount, BacklogSample, RunReport, Target, time};

/// Maximum number of runs that are kept. It is sufficient for several days with a run every 15
/// minutes. The runs take a few hundred kilobytes of memory.
const RUNS: usize = 500;

/// Maximum age of a run. The status page shows one day.
const KEPT_FOR: TimeDelta = TimeDelta::hours(24);

/// A run of this process that has ended.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The host and process of the run.
    pub instance: String,
    /// What triggered the run.
    pub trigger: Trigger,
    /// The report of the run.
    pub report: RunReport,
    /// The time when the run ended, by the clock of this host.
    pub finished_at: DateTime<Utc>,
}

struct Memory {
    samples: BTreeMap<String, BacklogSample>,
    /// The targets whose backlog is unknown.
    unknown: BTreeSet<String>,
    runs: VecDeque<Ran>,
}

static MEMORY: Mutex<Memory> = Mutex::new(Memory {
    samples: BTreeMap::new(),
    unknown: BTreeSet::new(),
    runs: VecDeque::new(),
});

fn with<T>(work: impl FnOnce(&mut Memory) -> T) -> T {
    // After a panic the data is consistent: each change is one statement.
    work(&mut MEMORY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Stores a count of the backlog (due rows) of `target`.
pub(crate) fn keep_backlog(target: &Target, count: BacklogCount<'_>) {
    let rows = target
        .reasons
        .iter()
        .zip(count.rows)
        .map(|(reason, rows)| (reason.name.clone(), *rows))
        .collect();
    let oldest_due = count.oldest_due.and_then(time::from_seconds);
    let (capped, state) = (count.capped, count.state);
    let sample = BacklogSample { rows, capped, state, oldest_due, at: clock::now() };
    with(|recent_runs| {
        recent_runs.unknown.remove(&target.name);
        recent_runs.samples.insert(target.name.clone(), sample)
    });
}

/// Records that the backlog of `target` is unknown from now on.
pub(crate) fn forget_backlog(target: &str) {
    with(|recent_runs| {
        recent_runs.samples.remove(target);
        recent_runs.unknown.insert(target.to_owned());
    });
}

/// Returns whether the last attempt to count a backlog failed, or was not made because the target is
/// unsafe.
#[must_use]
pub fn is_unknown(target: &str) -> bool {
    with(|recent_runs| recent_runs.unknown.contains(target))
}

/// Stores the report of a run.
pub(crate) fn keep_run(instance: &str, trigger: Trigger, report: &RunReport) {
    let ran = Ran {
        instance: instance.to_owned(),
        trigger,
        report: report.clone(),
        finished_at: clock::now(),
    };
    with(|recent_runs| {
        recent_runs.runs.push_front(ran);
        recent_runs.runs.truncate(RUNS);
    });
}

/// Stores a run that could not start, with the reason `why`.
pub(crate) fn keep_failure(instance: &str, why: &str) {
    let report = RunReport {
        run_id: RunId::generate().0,
        outcome: Outcome::Failed.into(),
        why: why.to_owned(),
        started_at: clock::now(),
        ..RunReport::default()
    };
    keep_run(instance, Trigger::Schedule, &report);
}

/// Returns the last count of a backlog.
#[must_use]
pub fn backlog(target: &str) -> Option<BacklogSample> {
    with(|recent_runs| recent_runs.samples.get(target).cloned())
}

/// Returns the runs of the last day, newest first.
#[must_use]
pub fn runs() -> Vec<Ran> {
    let oldest = clock::now() - KEPT_FOR;
    with(|recent_runs| {
        recent_runs.runs.iter().take_while(|ran| ran.finished_at > oldest).cloned().collect()
    })
}

/// Returns the last run that has ended.
#[must_use]
pub fn last_run() -> Option<Ran> {
    with(|recent_runs| recent_runs.runs.front().cloned())
}
