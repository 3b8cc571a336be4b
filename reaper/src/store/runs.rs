//! The reaper's run history: one row per run, inserted at its start, updated while it works, and
//! completed at its end.
//!
//! The connection that writes the row of a run also holds a session advisory lock with the keys
//! [`ALIVE`] and [`RunId::lock_key`]. Any role can therefore see in `pg_locks` whether an
//! unfinished run is alive or was killed.
//!
//! These queries use a plain [`Client`] instead of Diesel, which the reaper does not need for a few
//! statements.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Json;
use tokio_postgres::{Client, Error, Row};
use uuid::Uuid;

use crate::store::own_tables::OwnTables;
use crate::store::readable;

/// The first key of the locks that show which runs are alive: the letters `SRru`.
pub const ALIVE: i32 = 0x5352_7275;

/// Whether the lock of the run `r` is held. The second key of the lock is the end of the run's id,
/// converted to an oid.
const IS_ALIVE: &str =
    "EXISTS (SELECT FROM pg_catalog.pg_locks AS l WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted
        AND l.objsubid OPERATOR(pg_catalog.=) 2
        AND l.database OPERATOR(pg_catalog.=) (
            SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
        AND l.classid OPERATOR(pg_catalog.=) $1::bigint::pg_catalog.oid
        AND l.objid OPERATOR(pg_catalog.=) (('x' OPERATOR(pg_catalog.||)
            pg_catalog.lpad(pg_catalog.right(r.id::pg_catalog.text, 8), 16, '0'))::bit(64)::bigint::pg_catalog.oid))";

/// The number of recent runs among which killed runs are searched: the last thousand within a week,
/// read through an index. Earlier killed runs were already closed by later runs.
const LOOKED_AT: i64 = 1_000;

/// The maximum number of killed runs that are closed at a time.
const CLOSED_AT_A_TIME: i64 = 20;

/// The ID of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId(pub Uuid);

impl RunId {
    /// Generates a version 7 UUID, like all other IDs in this project.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the second key of the run's advisory lock: the last 32 bits of its id, which are
    /// random.
    #[must_use]
    pub fn lock_key(self) -> i32 {
        let [.., a, b, c, d] = *self.0.as_bytes();
        i32::from_be_bytes([a, b, c, d])
    }
}

impl std::fmt::Display for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// What started a run: the possible values of `reaper_runs.trigger`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Trigger {
    /// A user, or another scheduler, ran `run`.
    Manual,
    /// The schedule of a daemon.
    Schedule,
}

impl Trigger {
    /// Returns the value in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// How a run ended: the possible values of `reaper_runs.outcome`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::EnumString,
)]
#[strum(serialize_all = "snake_case")]
pub enum Outcome {
    /// All rows that were due and not locked have been deleted.
    Success,
    /// Some of the due rows have been deleted: a target failed, or a limit of the run was reached
    /// before all rows were deleted.
    Partial,
    /// Another reaper held the lock.
    SkippedLock,
    /// A pause was set.
    Paused,
    /// No target was completed.
    Failed,
    /// A signal stopped the run.
    Interrupted,
}

impl Outcome {
    /// All outcomes, for metrics that are created at startup.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    /// Returns the value in the table, in reports and in labels.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A run that starts.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The ID of the run.
    pub id: RunId,
    /// The host and process of the run.
    pub instance: String,
    /// The version of the program.
    pub version: String,
    /// When the run started, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// What started the run.
    pub trigger: Trigger,
}

impl NewRun {
    /// Inserts the row of the run.
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

/// Acquires the lock that shows that the run is alive. Returns `false` if the lock is already
/// held, which happens only if two runs have the same key.
///
/// The host of the run may disappear without closing the connection. On platforms that support TCP
/// keepalives, the server detects the loss within a minute.
pub async fn hold(client: &Client, id: RunId) -> Result<bool, Error> {
    const NOTICE: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
    client.batch_execute(NOTICE).await?;
    let row = client
        .query_one("SELECT pg_catalog.pg_try_advisory_lock($1, $2)", &[&ALIVE, &id.lock_key()])
        .await?;
    row.try_get(0)
}

/// Returns whether this connection holds the lock.
pub async fn is_held(client: &Client, id: RunId) -> Result<bool, Error> {
    const SQL: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l
        WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 2
        AND l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
        AND l.classid OPERATOR(pg_catalog.=) $1::int::pg_catalog.oid AND l.objid OPERATOR(pg_catalog.=) $2::int::pg_catalog.oid)";
    client.query_one(SQL, &[&ALIVE, &id.lock_key()]).await?.try_get(0)
}

/// Releases the lock and reverts the settings that [`hold`] changed.
pub async fn release(client: &Client, id: RunId) -> Result<(), Error> {
    let (class, key) = (ALIVE, id.lock_key());
    let together = format!(
        "SELECT pg_catalog.pg_advisory_unlock({class}, {key});
         RESET tcp_keepalives_idle; RESET tcp_keepalives_interval; RESET tcp_keepalives_count"
    );
    client.batch_execute(&together).await
}

/// Updates the heartbeat (the time of the last update) and the report of a run in progress.
pub async fn touch(
    client: &Client,
    own: &OwnTables,
    id: RunId,
    report: &(impl Serialize + Debug + Sync),
) -> Result<(), Error> {
    let sql = format!(
        "UPDATE {} SET heartbeat_at = pg_catalog.now(), report = $2
         WHERE id OPERATOR(pg_catalog.=) $1 AND finished_at IS NULL",
        own.runs()
    );
    client.execute(&sql, &[&id.0, &Json(report)]).await.map(drop)
}

/// Completes the row of a run with its outcome and report. Inserts the row if it was lost in a
/// failover.
pub async fn finish(
    client: &Client,
    own: &OwnTables,
    run: &NewRun,
    outcome: &str,
    report: &(impl Serialize + Debug + Sync),
) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO {} (id, instance, version, started_at, trigger, heartbeat_at, finished_at, outcome, report)
         VALUES ($1, $2, $3, $4, $5, pg_catalog.now(), pg_catalog.now(), $6, $7)
         ON CONFLICT (id) DO UPDATE SET heartbeat_at = pg_catalog.now(), finished_at = pg_catalog.now(),
             outcome = excluded.outcome, report = excluded.report",
        own.runs()
    );
    let trigger = run.trigger.as_str();
    client
        .execute(
            &sql,
            &[
                &run.id.0,
                &run.instance,
                &run.version,
                &run.started_at,
                &trigger,
                &outcome,
                &Json(report),
            ],
        )
        .await
        .map(drop)
}

/// A row of the run history.
#[derive(Clone, Debug)]
pub struct Run {
    /// The ID of the run.
    pub id: RunId,
    /// The host and process of the run.
    pub instance: String,
    /// The version of the program.
    pub version: String,
    /// When the run started, by the database's clock, like all times in this struct.
    pub started_at: DateTime<Utc>,
    /// When the run last updated its row.
    pub heartbeat_at: DateTime<Utc>,
    /// When the run ended; `None` if it is in progress or was killed.
    pub finished_at: Option<DateTime<Utc>>,
    /// What started the run.
    pub trigger: String,
    /// The value of `reaper_runs.outcome`; `None` if the run is in progress or was killed.
    pub outcome: Option<String>,
    /// The report of the run; while the run is active, a partial report.
    pub report: Option<Value>,
    /// Whether the lock of the run is held. `None` for an unfinished run on a replica, which does
    /// not contain the locks of its primary.
    pub alive: Option<bool>,
}

impl Run {
    fn read(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: RunId(row.try_get(0)?),
            instance: row.try_get(1)?,
            version: row.try_get(2)?,
            started_at: row.try_get(3)?,
            heartbeat_at: row.try_get(4)?,
            finished_at: row.try_get(5)?,
            trigger: row.try_get(6)?,
            outcome: row.try_get(7)?,
            report: row.try_get(8)?,
            alive: row.try_get(9)?,
        })
    }
}

const COLUMNS: &str = "r.id, r.instance, r.version, r.started_at, r.heartbeat_at, r.finished_at, r.trigger, r.outcome, r.report";

/// Returns the last `count` runs, newest first.
pub async fn last(client: &Client, own: &OwnTables, count: i64) -> Result<Vec<Run>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, CASE WHEN r.finished_at IS NOT NULL THEN false
             WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE {IS_ALIVE} END
         FROM {} AS r ORDER BY r.started_at DESC, r.id DESC LIMIT $2",
        own.runs()
    );
    let rows = client.query(&sql, &[&i64::from(ALIVE), &count]).await?;
    Ok(readable(&rows, Run::read))
}

/// Returns runs that were killed: they are unfinished, their lock is not held, and they have not
/// updated their row for a minute. A run that has lost its connection has no lock until it
/// reconnects.
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
    Ok(readable(&rows, Run::read))
}

/// The summary of a run of the last day, for a chart.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// When the run started, by the database's clock.
    pub started_at: DateTime<Utc>,
    /// The value of `reaper_runs.outcome`; `None` while the run is in progress.
    pub outcome: Option<String>,
    /// The number of rows deleted from all targets.
    pub deleted: i64,
    /// The mean duration of the run's chunks (transactions that delete rows), in milliseconds.
    pub chunk_ms_mean: Option<f64>,
    /// The duration of the run's longest chunk, in milliseconds.
    pub chunk_ms_max: Option<f64>,
}

/// Returns summaries of at most `count` runs of the last 24 hours, newest first. The server
/// extracts the summaries from the reports, so the reports themselves are not transferred.
pub async fn recent(
    client: &Client,
    own: &OwnTables,
    count: i64,
) -> Result<Vec<RunSummary>, Error> {
    let sql = include_str!("recent_runs.sql").replace("{runs}", own.runs());
    let rows = client.query(&sql, &[&count]).await?;
    let summary = |row: &Row| {
        Ok(RunSummary {
            started_at: row.try_get(0)?,
            outcome: row.try_get(1)?,
            deleted: row.try_get(2)?,
            chunk_ms_mean: row.try_get(3)?,
            chunk_ms_max: row.try_get(4)?,
        })
    };
    Ok(readable(&rows, summary))
}

/// Completes the row of a killed run. The end of the run is its last heartbeat. Returns `false` if
/// the run has updated its row in the meantime.
pub async fn close_killed(
    client: &Client,
    own: &OwnTables,
    run: &Run,
    report: &(impl Serialize + Debug + Sync),
) -> Result<bool, Error> {
    let sql = format!(
        "UPDATE {} SET finished_at = heartbeat_at, outcome = 'interrupted', report = $3
         WHERE id OPERATOR(pg_catalog.=) $1 AND finished_at IS NULL AND heartbeat_at OPERATOR(pg_catalog.=) $2",
        own.runs()
    );
    Ok(client.execute(&sql, &[&run.id.0, &run.heartbeat_at, &Json(report)]).await? > 0)
}

/// Returns the reports of the last 50 finished runs, newest first.
pub async fn last_reports(client: &Client, own: &OwnTables) -> Result<Vec<Value>, Error> {
    let sql = format!(
        "SELECT report FROM {} WHERE finished_at IS NOT NULL AND report IS NOT NULL
         ORDER BY started_at DESC, id DESC LIMIT 50",
        own.runs()
    );
    let rows = client.query(&sql, &[]).await?;
    Ok(readable(&rows, |row| row.try_get(0)))
}

/// Returns when a run of any reaper last succeeded, and when a run of any reaper last finished.
/// Reads only the last 5000 runs, which cover 52 days at one run every 15 minutes.
pub async fn last_ended(
    client: &Client,
    own: &OwnTables,
) -> Result<(Option<DateTime<Utc>>, Option<DateTime<Utc>>), Error> {
    let sql = format!(
        "SELECT pg_catalog.max(finished_at) FILTER (WHERE outcome OPERATOR(pg_catalog.=) 'success'), pg_catalog.max(finished_at)
         FROM (SELECT finished_at, outcome FROM {} ORDER BY started_at DESC, id DESC LIMIT 5000) AS last
         WHERE pg_catalog.isfinite(finished_at)",
        own.runs()
    );
    let row = client.query_one(&sql, &[]).await?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Returns when recent successful runs of any reaper started and finished: at most ten of the last
/// 5000 runs.
pub async fn successes(
    client: &Client,
    own: &OwnTables,
) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>, Error> {
    let sql = format!(
        "SELECT started_at, finished_at
         FROM (SELECT started_at, finished_at, outcome FROM {} ORDER BY started_at DESC, id DESC LIMIT 5000) AS last
         WHERE outcome OPERATOR(pg_catalog.=) 'success' LIMIT 10",
        own.runs()
    );
    let rows = client.query(&sql, &[]).await?;
    Ok(readable(&rows, |row| Ok((row.try_get(0)?, row.try_get(1)?))))
}

/// Returns whether the error means that the table does not exist. The reaper's migrations are
/// optional.
#[must_use]
pub fn is_absent(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_TABLE)
}
