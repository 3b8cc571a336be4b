//! Whether all is well, in a word and a sentence.

use chrono::TimeDelta;
use serde::Serialize;

use super::{RunStatus, Status};
use crate::sweep::time;

/// Whether somebody has to look. Later ones are worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All is well, or being seen to.
    Ok,
    /// There is nothing to tell it by.
    Unknown,
    /// It makes way, stands still by somebody's word, or has left something undone.
    Attention,
    /// It does not do its work.
    DbError,
}

impl Health {
    /// As in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Attention => "attention",
            Self::DbError => "trouble",
        }
    }
}

/// A row that has been due for longer has been passed by for many runs: what the alert on a growing
/// backlog goes by, too.
const LONG_DUE: TimeDelta = TimeDelta::hours(6);

/// The worst of what there is to say; of equals the first.
pub(super) fn judge(status: &Status) -> (Health, String) {
    let mut said = Vec::new();
    if let Some(why) = &status.database.why {
        said.push((Health::DbError, format!("the database cannot be reached: {why}")));
    }
    if let Some(pause) = &status.pause {
        let why = pause
            .why
            .as_deref()
            .filter(|why| !why.is_empty())
            .map(|why| format!(": {why}"))
            .unwrap_or_default();
        said.push((Health::Attention, format!("paused until {}{why}", time(pause.until))));
    }
    // What is left to others between any two chunks is no reason to look.
    for waiting in status.waiting.iter().filter(|waiting| waiting.cause != "duty_cycle") {
        said.push((Health::Attention, format!("waiting for {}: {}", waiting.cause, waiting.why)));
    }
    if let Some(run) = status.runs.iter().find(|run| run.is_running()) {
        said.push((Health::Ok, format!("at work: {}", run.why)));
    }
    said.extend(last_run(status));
    // A run that is at work and does not wait sees to it.
    if !status.runs.iter().any(|run| run.is_running() && run.waiting.is_none()) {
        said.extend(long_due(status));
    }
    said.into_iter()
        .rev()
        .max_by_key(|(health, _)| *health)
        .unwrap_or_else(|| (Health::Unknown, "no run is known yet".to_owned()))
}

/// The last run that could have done something tells; one that found another reaper at work, or a
/// pause, does not.
fn last_run(status: &Status) -> Option<(Health, String)> {
    let ended = || status.runs.iter().filter(|run| !run.is_running());
    let tells = |run: &&RunStatus| !matches!(run.outcome.as_str(), "skipped_lock" | "paused");
    let Some(run) = ended().find(tells) else {
        let left_out = ended().next()?;
        let works = status.runs.iter().any(RunStatus::is_running);
        return Some(if works {
            (Health::Ok, left_out.why.clone())
        } else {
            (Health::Attention, format!("the last runs were left out: {}", left_out.why))
        });
    };
    let why = &run.why;
    Some(match run.outcome.as_str() {
        "success" => (Health::Ok, format!("the last run succeeded: {why}")),
        "partial" => (Health::Attention, format!("the last run did a part of its work: {why}")),
        "interrupted" => (Health::Attention, format!("the last run was cut short: {why}")),
        _ => (Health::DbError, format!("the last run failed: {why}")),
    })
}

fn long_due(status: &Status) -> Option<(Health, String)> {
    let age = |oldest| status.at - oldest;
    let late = status.targets.iter().filter_map(|target| Some((target, target.oldest_due?)));
    let (target, oldest) =
        late.filter(|(_, oldest)| age(*oldest) > LONG_DUE).min_by_key(|(_, oldest)| *oldest)?;
    let ago = match age(oldest).num_hours() {
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    };
    Some((
        Health::Attention,
        format!("{}: rows fell due {ago} ago and are still there", target.target),
    ))
}
