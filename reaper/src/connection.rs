//! The two connections of a run. The lock connection holds the locks and deletes rows: if this
//! connection is lost, the locks are released and no more rows are deleted. The auxiliary
//! connection reads the catalog, counts rows and writes the history.

pub(crate) mod auxiliary;
pub(crate) mod chunk_transaction;
pub(crate) mod db_error;
pub(crate) mod deadline;
pub(crate) mod prepared;
pub(crate) mod statement_bounds;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use pg::connect::{ConnectError, ConnectOptions, Driver};
use pg::error_text::chain;
use pg::owners::Named;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};

use crate::connection::auxiliary::AuxiliaryConnection;
use crate::connection::deadline::Deadline;
use crate::connection::statement_bounds::{StatementBounds, check_client, common};
use crate::interrupt::{Interrupt, Purpose};
use crate::observe::Observer;
use crate::pass::writers::Writers;
use crate::sql::query::Query;
use crate::time::MICROSECONDS;

/// The settings of the lock connection.
///
/// - The isolation level is read committed: if a row is updated after a statement has taken its
///   snapshot but before the statement locks the row, the statement examines the new version of the
///   row. At a stricter level, which may be the default of a role or a database, the statement
///   would fail.
/// - A commit does not wait for the disk. If a crash undoes a deletion, the row is still due, and a
///   later run deletes it.
/// - A statement is planned anew for each execution, because the best plan depends on the first and
///   last keys of the chunk (the rows that one transaction deletes). A generic plan ignores these
///   values.
/// - The server ends a transaction that is idle for 10 s. The reaper's transactions are idle for
///   milliseconds at most, so such a transaction belongs to a reaper that has stopped responding.
const LOCK_CONNECTION_SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = off; \
     SET plan_cache_mode = force_custom_plan; SET idle_in_transaction_session_timeout = '10s'";

/// If the host of the reaper fails without closing its connections, the locks are held until the
/// server ends the idle connection. The timeout is longer than the longest idle time between two
/// chunks ([`crate::pass::pace::LONGEST_REST`]).
const END_IDLE: &str = "SET idle_session_timeout = '5min'";

/// The connections of a run.
pub(crate) struct Connections {
    pub(crate) lock_connection: LockConnection,
    pub(crate) auxiliary: AuxiliaryConnection,
    /// The start of the run by the clock of the database.
    pub(crate) started_at: DateTime<Utc>,
    /// The time when the server was started, as text. If the time is different after a reconnect,
    /// the server was restarted or replaced by a failover, and deleted rows may exist again.
    pub(crate) server: String,
    /// Whether a pooler (a proxy that shares server connections) is between session-reaper and the
    /// server. There is a pooler if both connections use the same server process, or if a
    /// connection switches to another server process. If there is a pooler, no settings are
    /// changed, because they would remain in effect for other clients.
    pub(crate) pooled: bool,
}

/// The lock connection, its server process, and the statements that are prepared on the connection.
pub(crate) struct LockConnection {
    pub(crate) client: Client,
    pub(crate) deadline: Deadline,
    pid: i32,
    /// The duration of a round trip to the server.
    round_trip: Duration,
    lock_timeout: Duration,
    statement_timeout: Duration,
    /// The current value of `lock_timeout`.
    waits: Duration,
    prepared: HashMap<String, Statement>,
    /// The names of the statements that are executed with `EXECUTE`, by their text.
    named: HashMap<String, String>,
    /// The number of names that have been generated for prepared statements.
    names: u64,
}

/// If at least this many statements are prepared, all of them are discarded before the next table
/// is processed. Each statement uses about 50 kB of memory in the server process.
const PREPARED: usize = 100;

/// The number of times that the duration of a round trip is measured.
const ROUND_TRIPS: u32 = 5;

impl Connections {
    /// Opens both connections. `targets` are the configured tables.
    pub(crate) async fn open(
        connect: &ConnectOptions,
        bounds: StatementBounds,
        targets: &[Named],
        interrupt: &Interrupt,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, ConnectError> {
        let (client, driver) = connect.connect_with_driver().await?;
        let (auxiliary, auxiliary_driver) = connect.connect_with_driver().await?;
        let deadline = |driver: Driver, purpose: Purpose| {
            Deadline::new(driver, bounds, (interrupt, purpose), Arc::clone(observer))
        };
        let auxiliary_deadline = deadline(auxiliary_driver, Purpose::Prepare);
        let deadline = deadline(driver, Purpose::Delete);
        let (pid, _, _) = deadline.with(1, identify(&client)).await?;
        let (auxiliary_pid, started_at, server) =
            auxiliary_deadline.with(1, identify(&auxiliary)).await?;
        let (mut again, mut round_trip) = (pid, Duration::MAX);
        // The shortest duration of a round trip is used: it is subtracted from the duration of each
        // chunk, and a longer one would subtract too much.
        for _ in 0..ROUND_TRIPS {
            let sent_at = Instant::now();
            again = deadline.with(1, identify(&client)).await?.0;
            round_trip = round_trip.min(sent_at.elapsed());
        }
        let changed = pid != again
            || auxiliary_pid != auxiliary_deadline.with(1, identify(&auxiliary)).await?.0;
        let pooled = changed || pid == auxiliary_pid;
        let set = async {
            if !pooled {
                deadline.with(4, set(&client, bounds)).await?;
            }
            AuxiliaryConnection::new(auxiliary, auxiliary_deadline, bounds, targets, pooled).await
        };
        let auxiliary = set.await.map_err(|error| ConnectError::Connect(chain(&error)))?;
        let (lock_timeout, prepared) = (bounds.lock, HashMap::new());
        let lock_connection = LockConnection {
            client,
            deadline,
            pid,
            round_trip,
            lock_timeout,
            statement_timeout: bounds.statement,
            waits: lock_timeout,
            prepared,
            named: HashMap::new(),
            names: 0,
        };
        Ok(Self { lock_connection, auxiliary, started_at, server, pooled })
    }
}

async fn set(client: &Client, bounds: StatementBounds) -> Result<(), Error> {
    client.batch_execute(&common(bounds)).await?;
    client.batch_execute(LOCK_CONNECTION_SETTINGS).await?;
    if let Err(error) = client.batch_execute(END_IDLE).await {
        // The setting does not exist before PostgreSQL 14. The preflight checks report a server
        // with an earlier version.
        if error.code() != Some(&SqlState::UNDEFINED_OBJECT) {
            return Err(error);
        }
    }
    check_client(client).await;
    Ok(())
}

impl LockConnection {
    /// Returns the pid of the server process of this connection. This process holds the locks, so
    /// only this process may delete rows.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the configured `statement_timeout`.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// Returns the part of `elapsed` that the server spent on one statement.
    pub(crate) fn at_the_server(&self, elapsed: Duration) -> Duration {
        elapsed.saturating_sub(self.round_trip).max(elapsed / 20)
    }

    /// Sets how long statements wait for a lock: `wait` or the configured `lock_timeout`, whichever
    /// is shorter. If `wait` is `None`, statements wait for the configured `lock_timeout`.
    pub(crate) async fn wait_for_locks(&mut self, wait: Option<Duration>) -> Result<(), Error> {
        let wait = wait.map_or(self.lock_timeout, |wait| wait.min(self.lock_timeout));
        if wait != self.waits {
            let set = format!("SET lock_timeout = {}", wait.as_millis());
            self.deadline.with(1, self.client.batch_execute(&set)).await?;
            self.waits = wait;
        }
        Ok(())
    }

    /// Verifies that the connection works. The query also prevents the server from closing the
    /// connection because it is idle.
    pub(crate) async fn is_there(&self) -> Result<(), Error> {
        self.deadline.with(1, self.client.batch_execute("")).await
    }

    /// Reads whether other transactions are writing.
    pub(crate) async fn read_writers(&mut self) -> Result<Option<Writers>, Error> {
        let number = Writers::number();
        let both = async {
            tokio::join!(
                biased;
                self.client.simple_query(&number),
                self.client.simple_query(Writers::SNAPSHOT),
            )
        };
        let (number, snapshot) = self.deadline.with(2, both).await;
        Ok(Writers::of(&number?, &snapshot?))
    }

    /// Returns the row of a statement that always returns exactly one row.
    pub(crate) async fn one(&mut self, query: &Query<'_>) -> Result<Row, Error> {
        let statement = self.prepare(&query.text).await?;
        self.deadline.with(1, self.client.query_one(&statement, &query.params)).await
    }

    /// Returns the row of a statement that returns at most one row.
    pub(crate) async fn at_most_one(&mut self, query: &Query<'_>) -> Result<Option<Row>, Error> {
        let statement = self.prepare(&query.text).await?;
        self.deadline.with(1, self.client.query_opt(&statement, &query.params)).await
    }

    /// Returns all rows of a statement.
    pub(crate) async fn all(&mut self, query: &Query<'_>) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(&query.text).await?;
        self.deadline.with(1, self.client.query(&statement, &query.params)).await
    }

    /// Discards the prepared statements of finished tables if there are many. The server process
    /// keeps a prepared statement until the statement is discarded.
    pub(crate) async fn forget_statements(&mut self) -> Result<(), Error> {
        if self.prepared.len() + self.named.len() < PREPARED {
            return Ok(());
        }
        self.prepared.clear();
        let discard = std::mem::take(&mut self.named)
            .into_values()
            .map(|name| format!("DEALLOCATE {name}"))
            .collect::<Vec<_>>()
            .join("; ");
        self.deadline.with(1, self.client.batch_execute(&discard)).await
    }

    /// Prepares a statement without parameters. Returns its name, for `EXECUTE`.
    async fn prepare_named(&mut self, text: &str) -> Result<String, Error> {
        if let Some(name) = self.named.get(text) {
            return Ok(name.clone());
        }
        self.names += 1;
        let name = format!("session_reaper_{}", self.names);
        let prepare = format!("PREPARE {name} AS {text}");
        self.deadline.with(1, self.client.batch_execute(&prepare)).await?;
        self.named.insert(text.to_owned(), name.clone());
        Ok(name)
    }

    async fn prepare(&mut self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.prepared.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.deadline.with(1, self.client.prepare(text)).await?;
        self.prepared.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }
}

/// Returns the pid of the server process, the current time of the server, and the time when the
/// server was started. This query is the first statement on a connection, when any search path may
/// be in effect, so all names in the query are qualified. The query uses the simple protocol,
/// because a pooler may route a statement that was prepared in the extended protocol to another
/// server process.
async fn identify(client: &Client) -> Result<(i32, DateTime<Utc>, String), ConnectError> {
    let sql = format!(
        "SELECT pg_catalog.pg_backend_pid(), {MICROSECONDS}, \
         EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time())"
    );
    let answer =
        client.simple_query(&sql).await.map_err(|error| ConnectError::Connect(chain(&error)))?;
    let read = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let time = DateTime::from_timestamp_micros(row.get(1)?.parse().ok()?)?;
            Some((row.get(0)?.parse().ok()?, time, row.get(2)?.to_owned()))
        }
        _ => None,
    };
    answer
        .iter()
        .find_map(read)
        .ok_or_else(|| ConnectError::Connect("the server did not return its process id".to_owned()))
}
