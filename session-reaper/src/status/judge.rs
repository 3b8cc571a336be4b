//! Summarizes the status as a health value and a sentence.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{RunStatus, Status};
use reaper::{Outcome, ThrottleCause, time};

/// Whether an operator has to act. Later variants are worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Healthy, or recovering by itself.
    Ok,
    /// There is no data yet.
    Unknown,
    /// A run is throttled, a pause is set, or due rows are left.
    Attention,
    /// The reaper does not work.
    #[serde(rename = "trouble")]
    Failing,
}

impl Health {
    /// Returns the name, the same as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Attention => "attention",
            Self::Failing => "trouble",
        }
    }
}

/// If rows have been due for less than this, they may have been skipped because other transactions
/// had locked them. The alert on a growing number of due rows uses the same limit.
const LONG_DUE: TimeDelta = TimeDelta::hours(6);

/// Returns the worst finding. Among equally bad findings, returns the first one.
pub(super) fn judge(status: &Status) -> (Health, String) {
    let mut found = Vec::new();
    if let Some(why) = &status.database.why {
        found.push((Health::Failing, format!("the database cannot be reached: {why}")));
    }
    if let Some(pause) = &status.pause {
        let why = pause
            .why
            .as_deref()
            .filter(|why| !why.is_empty())
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        found.push((Health::Attention, format!("paused until {}{why}", time::text(pause.until))));
    }
    // The rest between chunks is normal.
    for waiting in
        status.waiting.iter().filter(|waiting| waiting.cause != ThrottleCause::DutyCycle.as_str())
    {
        found.push((Health::Attention, format!("waiting for {}: {}", waiting.cause, waiting.why)));
    }
    if let Some(run) = status.runs.iter().find(|run| run.is_running()) {
        found.push((Health::Ok, format!("at work: {}", run.why)));
    }
    let unknown = |run: &&RunStatus| !run.is_running() && !run.has_ended();
    if let Some(run) = status.runs.iter().find(unknown) {
        found.push((Health::Unknown, format!("a run is {}", run.why)));
    }
    found.extend(last_run(status));
    // If a run is active and does not wait, it will delete the rows that have been due for a long
    // time.
    if !status.runs.iter().any(|run| run.is_running() && run.waiting.is_none()) {
        found.extend(overdue(status));
        found.extend(long_due(status));
    }
    found
        .into_iter()
        .rev()
        .max_by_key(|(health, _)| *health)
        .unwrap_or_else(|| (Health::Unknown, "no run has been recorded yet".to_owned()))
}

/// Evaluates the last run that was able to delete rows. Ignores runs that ended because of another
/// reaper's lock or a pause, unless there are no other runs.
fn last_run(status: &Status) -> Option<(Health, String)> {
    let Some(run) = last_worked(status) else {
        let skipped = status.runs.iter().find(|run| run.has_ended())?;
        let active = status.runs.iter().any(RunStatus::is_running);
        return Some(if active {
            (Health::Ok, skipped.why.clone())
        } else {
            (Health::Attention, format!("the last runs were skipped: {}", skipped.why))
        });
    };
    let why = &run.why;
    Some(match run.outcome.ended() {
        Some(Outcome::Success) => (Health::Ok, format!("the last run succeeded: {why}")),
        Some(Outcome::Partial) => (Health::Attention, format!("the last run was partial: {why}")),
        Some(Outcome::Interrupted) => {
            (Health::Attention, format!("the last run was interrupted: {why}"))
        }
        _ => (Health::Failing, format!("the last run failed: {why}")),
    })
}

/// Returns the last run that has ended and that could delete rows.
fn last_worked(status: &Status) -> Option<&RunStatus> {
    let could_run = |run: &&RunStatus| {
        !matches!(run.outcome.ended(), Some(Outcome::SkippedLock | Outcome::Paused))
    };
    status.runs.iter().filter(|run| run.has_ended()).find(could_run)
}

/// Returns a finding if no run has succeeded by the time at which one was expected.
fn overdue(status: &Status) -> Option<(Health, String)> {
    let (success, expected_by) = (status.last_success_at?, status.expected_by?);
    (status.at > expected_by).then(|| {
        let (ago, by) = (ago(status.at - success), time::text(expected_by));
        (
            Health::Attention,
            format!("the last success was {ago} ago; the next one was expected by {by}"),
        )
    })
}

/// Returns the targets with rows that an earlier run should have deleted. Such rows have been due
/// for a long time, and a run was expected to succeed after they became due. If it is not known
/// when runs are expected, an earlier run must have left the rows.
pub(super) fn late(status: &Status) -> Vec<String> {
    let is_late = |oldest: DateTime<Utc>| {
        status.at - oldest > LONG_DUE
            && if status.rhythm.is_known() {
                status.rhythm.expected_by(oldest).is_some_and(|by| by < status.at)
            } else {
                last_worked(status).is_some_and(|run| run.started_at > oldest)
            }
    };
    let targets = status.targets.iter();
    let late =
        targets.filter(|target| target.rows != Some(0) && target.oldest_due.is_some_and(is_late));
    late.map(|target| target.target.clone()).collect()
}

fn long_due(status: &Status) -> Option<(Health, String)> {
    let late = status.targets.iter().filter(|target| status.late.contains(&target.target));
    let (target, oldest) = late
        .filter_map(|target| Some((target, target.oldest_due?)))
        .min_by_key(|(_, oldest)| *oldest)?;
    let ago = ago(status.at - oldest);
    Some((
        Health::Attention,
        format!("{}: rows fell due {ago} ago and are still there", target.target),
    ))
}

fn ago(age: TimeDelta) -> String {
    match age.num_hours() {
        0 => format!("{} minutes", age.num_minutes()),
        hours @ 1..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}
