//! The one connection that holds the lock and deletes: losing one loses the other.

use std::collections::HashMap;
use std::time::Duration;

use schema::connect::{ConnectError, ConnectOptions, chain};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row, Statement};

use super::sql::Query;

/// How long any statement of a run may take, and wait for a lock.
#[derive(Clone, Copy, Debug)]
pub struct StatementBounds {
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

/// How long the connection may lie idle before the server ends it and frees its locks: what remains of a host that died
/// without a word. The longest rest between two chunks is a minute ([`super::pace::LONGEST_REST`]).
const IDLE: &str = "5min";

/// The only transaction of several statements is the one that takes the locks, which takes milliseconds.
const IDLE_IN_TRANSACTION: &str = "10s";

/// How soon a server at work notices that its client has died. Without it a statement of a killed reaper runs to its
/// end and commits (2.8 s of a 3 s statement); with it, it was rolled back after 0.2 s.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '200ms'";

/// The connection, its server process, and the statements that were prepared on it.
pub(super) struct Dedicated {
    pub(super) client: Client,
    pub(super) pid: i32,
    prepared: HashMap<String, Statement>,
}

/// Settings that both connections of a run need.
pub(super) fn common_settings(connect: ConnectOptions, bounds: StatementBounds) -> ConnectOptions {
    connect
        .set("statement_timeout", &milliseconds(bounds.statement))
        .set("lock_timeout", &milliseconds(bounds.lock))
        .set("TimeZone", "UTC")
        .set("DateStyle", "ISO")
        // A stretch has to be walked along its index, whatever the statistics say of a table that was emptied or filled
        // a moment ago: an index scan stops where the stretch ends, the others may read the table.
        .set("enable_seqscan", "off")
        .set("enable_bitmapscan", "off")
        .set("max_parallel_workers_per_gather", "0")
        .set("jit", "off")
}

impl Dedicated {
    pub(super) async fn open(connect: ConnectOptions, bounds: StatementBounds) -> Result<Self, ConnectError> {
        let client = common_settings(connect, bounds)
            // A delete that a crash undoes is simply due again.
            .set("synchronous_commit", "off")
            // The bounds of a stretch decide the plan; a generic one does not know them.
            .set("plan_cache_mode", "force_custom_plan")
            .set("idle_session_timeout", IDLE)
            .set("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION)
            .connect()
            .await?;
        if let Err(error) = client.batch_execute(CHECK_CLIENT).await {
            // Not every platform can tell; statement_timeout bounds it there.
            tracing::debug!(error = chain(&error), "the server cannot watch for a client that dies");
        }
        let pid = backend_pid(&client).await.map_err(|error| ConnectError::Connect(chain(&error)))?;
        Ok(Self { client, pid, prepared: HashMap::new() })
    }

    /// The one row of a statement that always has one.
    pub(super) async fn one(&mut self, query: &Query<'_>) -> Result<Row, Error> {
        let statement = self.prepare(&query.text).await?;
        self.client.query_one(&statement, &query.params).await
    }

    /// The row of a statement that has one or none.
    pub(super) async fn at_most_one(&mut self, query: &Query<'_>) -> Result<Option<Row>, Error> {
        let statement = self.prepare(&query.text).await?;
        self.client.query_opt(&statement, &query.params).await
    }

    async fn prepare(&mut self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        self.prepared.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

pub(super) async fn backend_pid(client: &Client) -> Result<i32, Error> {
    client.query_one("SELECT pg_backend_pid()", &[]).await.map(|row| row.get(0))
}

/// What an error means for the loop.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// `lock_timeout` or `statement_timeout` struck: smaller, and again.
    Timeout(Bound),
    /// The connection, and with it the lock, is gone.
    Lost(String),
    /// Another server process answered than the one that holds the lock.
    Pooler,
    /// Anything else: this target is not to be worked on.
    Other(String),
}

/// Which bound struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Lock,
    Statement,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lock => "LOCK_TIMEOUT",
            Self::Statement => "STATEMENT_TIMEOUT",
        })
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl Trouble {
    pub(super) fn of(error: &Error) -> Self {
        let text = chain(error);
        let Some(code) = error.code() else {
            // What is no answer of the server's is an end of the connection, or a breach of its protocol.
            return Self::Lost(text);
        };
        match *code {
            SqlState::LOCK_NOT_AVAILABLE => Self::Timeout(Bound::Lock),
            SqlState::QUERY_CANCELED => Self::Timeout(Bound::Statement),
            // A statement that we prepared is unknown, or one that we have yet to prepare is known.
            SqlState::UNDEFINED_PSTATEMENT | SqlState::DUPLICATE_PSTATEMENT => Self::Pooler,
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::DATABASE_DROPPED
            | SqlState::IDLE_SESSION_TIMEOUT
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Lost(text),
            _ => Self::Other(text),
        }
    }
}

fn milliseconds(bound: Duration) -> String {
    format!("{}ms", bound.as_millis())
}
