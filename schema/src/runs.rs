//! The reaper's history: one row a run, written when it starts, kept up to date while it works,
//! finished when it ends.
//!
//! A run also holds a session advisory lock of [`ALIVE`] and [`RunId::lock_key`] on the connection
//! that writes its row, so that whether a run without an end is alive or was killed can be told by
//! every role, from `pg_locks`.
//!
//! These queries take a bare [`Client`]: the reaper has no Diesel connection, and some statements
//! are no reason for one.

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};
use uuid::Uuid;

use crate::own::OwnTables;

/// The letters `SRru`: the class of the locks that say which runs are alive.
pub const ALIVE: i32 = 0x5352_7275;

/// Whether somebody holds the lock of the run `r`. Its key is the end of its id, read as an oid
/// reads it.
const IS_ALIVE: &str =
    "EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted
        AND l.objsubid OPERATOR(pg_catalog.=) 2
        AND l.database OPERATOR(pg_catalog.=) (
            SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
        AND l.classid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
        AND l.objid OPERATOR(pg_catalog.=) (('x' OPERATOR(pg_catalog.||)
            pg_catalog.lpad(pg_catalog.right(r.id::pg_catalog.text, 8), 16, '0'))::bit(64)::bigint::pg_catalog.oid))";

/// Runs that are looked at for those that were killed: the last thousand of a week, along an index.
/// One that is older has been seen by the runs after it.
const LOOKED_AT: i64 = 1_000;

/// Of these, how many are closed at a time.
const CLOSED_AT_A_TIME: i64 = 20;

/// The id of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId(pub Uuid);

impl RunId {
    /// A fresh `UUIDv7`, like every id here.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// What stands for it in the lock that says that it is alive: its last 32 bits, which are
    /// random.
    #[must_use]
    pub fn lock_key(self) -> i32 {
        let [.., a, b, c, d] = *self.0.as_bytes();
        i32::from_be_bytes([a, b, c, d])
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
    pub const ALL: [Self; 6] = [
        Self::Success,
        Self::Partial,
        Self::SkippedLock,
        Self::Paused,
        Self::Failed,
        Self::Interrupted,
    ];

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
    pub async fn insert(&self, client: &Client, own: &OwnTables) -> Result<(), Error> {
        let runs = own.runs();
        client
            .execute(
                &format!("INSERT INTO {runs} (id, instance, version, started_at, trigger) VALUES ($1, $2, $3, $4, $5)"),
                &[&self.id.0, &self.instance, &self.version, &self.started_at, &self.trigger.as_str()],
            )
            .await
            .map(drop)
    }
}

/// Takes the lock that says that a run is alive; `false` when somebody has it, which takes two runs
/// with one key.
///
/// Its host may die without a word: the server is asked to notice that within a minute, where it
/// can.
pub async fn hold(client: &Client, id: RunId) -> Result<bool, Error> {
    const NOTICE: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
    client.batch_execute(NOTICE).await?;
    let row = client
        .query_one("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", &[&ALIVE, &id.lock_key()])
        .await?;
    row.try_get(0)
}

/// Whether this connection has it.
pub async fn is_held(client: &Client, id: RunId) -> Result<bool, Error> {
    const SQL: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
        WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 2
        AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
        AND l.classid OPERATOR(pg_catalog.=) $1::int::pg_catalog.oid AND l.objid OPERATOR(pg_catalog.=) $2::int::pg_catalog.oid)";
    client.query_one(SQL, &[&ALIVE, &id.lock_key()]).await?.try_get(0)
}

/// Gives it back, with the settings that were made for it.
pub async fn let_go(client: &Client, id: RunId) -> Result<(), Error> {
    let (class, key) = (ALIVE, id.lock_key());
    let together = format!(
        "SELECT pg_catalog.pg_advisory_unlock({class}, {key});
         RESET tcp_keepalives_idle; RESET tcp_keepalives_interval; RESET tcp_keepalives_count"
    );
    client.batch_execute(&together).await
}

/// Notes that a run is still at work, and what it has done so far.
pub async fn touch(
    client: &Client,
    own: &OwnTables,
    id: RunId,
    report: &Value,
) -> Result<(), Error> {
    let sql = format!(
        "UPDATE {} SET heartbeat_at = pg_catalog.now(), report = $2
         WHERE id OPERATOR(pg_catalog.=) $1 AND finished_at IS NULL",
        own.runs()
    );
    client.execute(&sql, &[&id.0, report]).await.map(drop)
}

/// Notes how a run ended, and what it did; also where its row was lost, with a server that failed
/// over.
pub async fn finish(
    client: &Client,
    own: &OwnTables,
    run: &NewRun,
    outcome: Outcome,
    report: &Value,
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO {} (id, instance, version, started_at, trigger, heartbeat_at, finished_at, outcome, report)
         VALUES ($1, $2, $3, $4, $5, pg_catalog.now(), pg_catalog.now(), $6, $7)
         ON CONFLICT (id) DO UPDATE SET heartbeat_at = pg_catalog.now(), finished_at = pg_catalog.now(),
             outcome = excluded.outcome, report = excluded.report",
        own.runs()
    );
    let (trigger, outcome) = (run.trigger.as_str(), outcome.as_str());
    client
        .execute(
            &sql,
            &[&run.id.0, &run.instance, &run.version, &run.started_at, &trigger, &outcome, report],
        )
        .await
        .map(drop)
}

/// A run as it stands in the history.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Which process on which host.
    pub instance: String,
    /// Of the program.
    pub version: String,
    /// By the database's clock, as all times here.
    pub started_at: DateTime<Utc>,
    /// The last sign of life.
    pub heartbeat_at: DateTime<Utc>,
    /// `None`: it is under way, or was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// What set it off.
    pub trigger: String,
    /// As it stands in the table.
    pub outcome: Option<String>,
    /// What it did, or has done so far.
    pub report: Option<Value>,
    /// Its lock is held.
    pub alive: bool,
}

impl Run {
    fn of(row: &Row) -> Self {
        Self {
            id: RunId(row.get(0)),
            instance: row.get(1),
            version: row.get(2),
            started_at: row.get(3),
            heartbeat_at: row.get(4),
            finished_at: row.get(5),
            trigger: row.get(6),
            outcome: row.get(7),
            report: row.get(8),
            alive: row.get(9),
        }
    }
}

const COLUMNS: &str = "r.id, r.instance, r.version, r.started_at, r.heartbeat_at, r.finished_at, r.trigger, r.outcome, r.report";

/// The last runs, newest first.
pub async fn last(client: &Client, own: &OwnTables, count: i64) -> Result<Vec<Run>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, r.finished_at IS NULL AND {IS_ALIVE}
         FROM {} AS r ORDER BY r.started_at DESC, r.id DESC LIMIT $2",
        own.runs()
    );
    let rows = client.query(&sql, &[&i64::from(ALIVE), &count]).await?;
    Ok(rows.iter().map(Run::of).collect())
}

/// Runs that were killed: without an end, without their lock, and without a sign of life for a
/// minute. One that has lost its connection is without its lock until it has another.
pub async fn killed(client: &Client, own: &OwnTables) -> Result<Vec<Run>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, false
         FROM (SELECT * FROM {}
               WHERE started_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '7 days')
               ORDER BY started_at DESC, id DESC LIMIT {LOOKED_AT}) AS r
         WHERE r.finished_at IS NULL
             AND r.heartbeat_at OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) interval '1 minute')
             AND NOT {IS_ALIVE}
         LIMIT {CLOSED_AT_A_TIME}",
        own.runs()
    );
    let rows = client.query(&sql, &[&i64::from(ALIVE)]).await?;
    Ok(rows.iter().map(Run::of).collect())
}

/// What a run of the last day did, for a plot.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// By the database's clock.
    pub started_at: DateTime<Utc>,
    /// As it stands in the table; `None` while it works.
    pub outcome: Option<String>,
    /// Rows deleted, of all targets.
    pub deleted: i64,
    /// How long its chunks took on average, in milliseconds.
    pub chunk_ms_mean: Option<f64>,
    /// The longest of them.
    pub chunk_ms_max: Option<f64>,
}

/// What the runs of the last 24 hours did, `count` of them at the most, newest first. Read from
/// their reports by the server, so that the reports stay there.
pub async fn recent(
    client: &Client,
    own: &OwnTables,
    count: i64,
) -> Result<Vec<RunSummary>, Error> {
    let sql = include_str!("sql/recent_runs.sql").replace("{runs}", own.runs());
    let rows = client.query(&sql, &[&count]).await?;
    let deed = |row: &Row| RunSummary {
        started_at: row.get(0),
        outcome: row.get(1),
        deleted: row.get(2),
        chunk_ms_mean: row.get(3),
        chunk_ms_max: row.get(4),
    };
    Ok(rows.iter().map(deed).collect())
}

/// Closes the row of a run that was killed at its last sign of life; `false` when there was another
/// one since.
pub async fn close_killed(
    client: &Client,
    own: &OwnTables,
    run: &Run,
    report: &Value,
) -> Result<bool, Error> {
    let sql = format!(
        "UPDATE {} SET finished_at = heartbeat_at, outcome = 'interrupted', report = $3
         WHERE id OPERATOR(pg_catalog.=) $1 AND finished_at IS NULL AND heartbeat_at OPERATOR(pg_catalog.=) $2",
        own.runs()
    );
    Ok(client.execute(&sql, &[&run.id.0, &run.heartbeat_at, report]).await? > 0)
}

/// The reports of the last runs that ended, newest first.
pub async fn last_reports(client: &Client, own: &OwnTables) -> Result<Vec<Value>, Error> {
    let sql = format!(
        "SELECT report FROM {} WHERE finished_at IS NOT NULL AND report IS NOT NULL
         ORDER BY started_at DESC, id DESC LIMIT 50",
        own.runs()
    );
    Ok(client.query(&sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// When a run last succeeded, and when one last ended, whoever's it was. Both are among the last
/// ones, unless nothing has succeeded for weeks: so far back the index is read and no further.
pub async fn last_ended(
    client: &Client,
    own: &OwnTables,
) -> Result<(Option<DateTime<Utc>>, Option<DateTime<Utc>>), Error> {
    let sql = format!(
        "SELECT pg_catalog.max(finished_at) FILTER (WHERE outcome OPERATOR(pg_catalog.=) 'success'), pg_catalog.max(finished_at)
         FROM (SELECT finished_at, outcome FROM {} ORDER BY started_at DESC, id DESC LIMIT 5000) AS last",
        own.runs()
    );
    client.query_one(&sql, &[]).await.map(|row| (row.get(0), row.get(1)))
}

/// Whether `error` says that the table is not there: the reaper's migrations were not applied, and
/// may stay so.
#[must_use]
pub fn is_absent(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}
