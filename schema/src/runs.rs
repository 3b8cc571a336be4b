//! The reaper's history: one row a run, written when it starts, touched while it works, finished when it ends.
//!
//! These queries take a bare [`Client`]: the reaper has no Diesel connection, and four statements are no reason for one.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

/// The id of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A fresh `UUIDv7`, like every id here.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What set a run off: the closed set of `reaper_runs.trigger`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Somebody, or another scheduler, called `run`.
    Manual,
    /// The daemon's schedule.
    Schedule,
}

impl Trigger {
    /// As it stands in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Schedule => "schedule",
        }
    }
}

/// How a run ended: the closed set of `reaper_runs.outcome`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Everything that was due and not locked is gone.
    Success,
    /// Some of it is: a target failed, or a budget ran out with rows left.
    Partial,
    /// Another reaper holds the lock.
    SkippedLock,
    /// A pause is set.
    Paused,
    /// Nothing was worked through to its end.
    Failed,
    /// A signal ended it.
    Interrupted,
}

impl Outcome {
    /// All of them, for metrics that are created at start.
    pub const ALL: [Self; 6] =
        [Self::Success, Self::Partial, Self::SkippedLock, Self::Paused, Self::Failed, Self::Interrupted];

    /// As it stands in the table, in reports and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Partial => "partial",
            Self::SkippedLock => "skipped_lock",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A run that begins.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// Which process on which host.
    pub instance: String,
    /// Of the program.
    pub version: String,
    /// By the database's clock.
    pub started_at: DateTime<Utc>,
    /// What set it off.
    pub trigger: Trigger,
}

impl NewRun {
    /// Notes that it has begun.
    pub async fn insert(&self, client: &Client) -> Result<(), Error> {
        client
            .execute(
                "INSERT INTO reaper_runs (id, instance, version, started_at, trigger) VALUES ($1, $2, $3, $4, $5)",
                &[&self.id.0, &self.instance, &self.version, &self.started_at, &self.trigger.as_str()],
            )
            .await
            .map(drop)
    }
}

/// Notes that a run is still at work.
pub async fn touch(client: &Client, id: RunId) -> Result<(), Error> {
    client.execute("UPDATE reaper_runs SET heartbeat_at = now() WHERE id = $1", &[&id.0]).await.map(drop)
}

/// Notes how a run ended, and what it did.
pub async fn finish(client: &Client, id: RunId, outcome: Outcome, report: &Value) -> Result<(), Error> {
    client
        .execute(
            "UPDATE reaper_runs SET heartbeat_at = now(), finished_at = now(), outcome = $2, report = $3 WHERE id = $1",
            &[&id.0, &outcome.as_str(), report],
        )
        .await
        .map(drop)
}

/// The reports of the last runs that ended, newest first.
pub async fn last_reports(client: &Client) -> Result<Vec<Value>, Error> {
    const SQL: &str =
        "SELECT report FROM reaper_runs WHERE report IS NOT NULL ORDER BY started_at DESC, id DESC LIMIT 50";
    Ok(client.query(SQL, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// When a run last succeeded, and when one last ended, whoever's it was. Both are among the last ones, unless nothing has
/// succeeded for weeks: so far back the index is read and no further.
pub async fn last_ended(client: &Client) -> Result<(Option<DateTime<Utc>>, Option<DateTime<Utc>>), Error> {
    const SQL: &str = "SELECT max(finished_at) FILTER (WHERE outcome = 'success'), max(finished_at)
                       FROM (SELECT finished_at, outcome FROM reaper_runs ORDER BY started_at DESC, id DESC LIMIT 5000) AS last";
    client.query_one(SQL, &[]).await.map(|row| (row.get(0), row.get(1)))
}

/// Whether `error` says that the table is not there: the reaper's migrations were not applied, and may stay so.
#[must_use]
pub fn is_absent(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}
