//! The two connections of a run: the one that holds the lock and deletes (losing one loses the
//! other), and one beside it for counts and the history.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use schema::connect::{ConnectError, ConnectOptions, chain};
use schema::owners::Named;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row, SimpleQueryMessage, Statement};

use super::auxiliary::AuxiliaryConnection;
use super::deadline::Deadline;
use super::query::Query;
use super::sql::{Around, Locked};
use super::statement_bounds::{StatementBounds, common};
use super::writers::Writers;

/// On the connection that deletes.
///
/// - Read committed is what looks at a row again when it was updated between snapshot and lock;
///   stricter levels, which a role or a database may have as their default, fail there.
/// - A delete that a crash undoes is simply due again: its commit need not wait for the disk.
/// - The bounds of a stretch decide the plan; a generic plan does not know them.
/// - The only transaction of several statements is the one that takes the locks, in milliseconds.
const DEDICATED: &str = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = off; \
     SET plan_cache_mode = force_custom_plan; SET idle_in_transaction_session_timeout = '10s'";

/// A host that died without a word holds its locks until the server ends its idle connection: some
/// minutes, and more than the longest rest between two chunks ([`super::pace::LONGEST_REST`]).
const END_IDLE: &str = "SET idle_session_timeout = '5min'";

/// How soon a server at work notices that its client has died. Without it a statement of a killed
/// reaper runs to its end and commits (2.8 s of a 3 s statement); with it, it was rolled back after
/// 0.2 s.
const CHECK_CLIENT: &str = "SET client_connection_check_interval = '200ms'";

/// What a run works with.
pub(super) struct Connections {
    pub(super) lock_connection: LockConnection,
    pub(super) auxiliary: AuxiliaryConnection,
    /// By the database's clock.
    pub(super) started_at: DateTime<Utc>,
    /// When that server was started: after a crash or a failover it is another one, with rows that
    /// were deleted perhaps.
    pub(super) server: String,
    /// The two have been seen to share server processes, or to change them: a pooler stands in
    /// between. No setting was made then, for it would stay behind for other clients.
    pub(super) pooled: bool,
}

/// The connection, its server process, and the statements that were prepared on it.
pub(super) struct LockConnection {
    pub(super) client: Client,
    pub(super) deadline: Deadline,
    pid: i32,
    /// How long the way there and back takes.
    round_trip: Duration,
    lock_timeout: Duration,
    /// What `lock_timeout` is now.
    waits: Duration,
    prepared: HashMap<String, Statement>,
}

/// A chunk, as statements.
pub(super) struct Transaction<'q> {
    /// One of those in `around`.
    pub(super) begin: &'q str,
    pub(super) around: &'q Around,
    pub(super) lock: Option<Query<'q>>,
    pub(super) delete: Query<'q>,
    pub(super) returns: Returns,
}

/// What the statement that deletes returns.
#[derive(Clone, Copy)]
pub(super) enum Returns {
    /// The number of its rows.
    Rows,
    /// A row of counts.
    Row,
}

/// What the statement that deletes has done.
pub(super) enum Worked {
    Rows(u64),
    Row(Row),
}

/// A transaction that was committed.
pub(super) struct Done {
    pub(super) worked: Worked,
    pub(super) locked: Option<Locked>,
    /// `None` when that is not known: the rows went all the same.
    pub(super) writers: Option<Writers>,
}

/// Statements that are kept from one table to the next: the server process takes some 50 kB for
/// each.
const PREPARED: usize = 100;

/// How often the way there and back is measured.
const ROUND_TRIPS: u32 = 5;

impl Connections {
    /// `targets` are the tables that are reaped.
    pub(super) async fn open(
        connect: &ConnectOptions,
        bounds: StatementBounds,
        targets: &[Named],
    ) -> Result<Self, ConnectError> {
        let (client, driver) = connect.connect_with_driver().await?;
        let (auxiliary, driver_beside) = connect.connect_with_driver().await?;
        let (deadline, patience_beside) =
            (Deadline::new(driver, bounds), Deadline::new(driver_beside, bounds));
        let (pid, _, _) = deadline.with(1, identify(&client)).await?;
        let (pid_beside, started_at, server) =
            patience_beside.with(1, identify(&auxiliary)).await?;
        let (mut again, mut round_trip) = (pid, Duration::MAX);
        // The shortest of some: one that was held up would be taken off each chunk.
        for _ in 0..ROUND_TRIPS {
            let asked = Instant::now();
            again = deadline.with(1, identify(&client)).await?.0;
            round_trip = round_trip.min(asked.elapsed());
        }
        let changed =
            pid != again || pid_beside != patience_beside.with(1, identify(&auxiliary)).await?.0;
        let pooled = changed || pid == pid_beside;
        let set = async {
            if !pooled {
                deadline.with(4, set(&client, bounds)).await?;
            }
            AuxiliaryConnection::new(auxiliary, patience_beside, bounds, targets, pooled).await
        };
        let auxiliary = set.await.map_err(|error| ConnectError::Connect(chain(&error)))?;
        let (lock_timeout, prepared) = (bounds.lock, HashMap::new());
        let lock_connection = LockConnection {
            client,
            deadline,
            pid,
            round_trip,
            lock_timeout,
            waits: lock_timeout,
            prepared,
        };
        Ok(Self { lock_connection, auxiliary, started_at, server, pooled })
    }
}

async fn set(client: &Client, bounds: StatementBounds) -> Result<(), Error> {
    client.batch_execute(&common(bounds)).await?;
    client.batch_execute(DEDICATED).await?;
    if let Err(error) = client.batch_execute(END_IDLE).await {
        // Before PostgreSQL 14, which is told where the server is looked at.
        if error.code() != Some(&SqlState::UNDEFINED_OBJECT) {
            return Err(error);
        }
    }
    if let Err(error) = client.batch_execute(CHECK_CLIENT).await {
        // Not every platform can tell; statement_timeout bounds it there.
        tracing::debug!(
            event = "client_check_unavailable",
            error = chain(&error),
            "server does not support client_connection_check_interval"
        );
    }
    Ok(())
}

impl LockConnection {
    /// The server process that answered at the start; it takes the locks, and no other may delete.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Of `elapsed`, in which so many statements were sent one after the other, what the server had
    /// a hand in.
    pub(super) fn at_the_server(&self, elapsed: Duration, statements: u32) -> Duration {
        elapsed.saturating_sub(self.round_trip * statements).max(elapsed / 20)
    }

    /// How long statements wait for a lock from here on; at the most and by default as long as
    /// `lock_timeout` says.
    pub(super) async fn wait_for_locks(&mut self, wait: Option<Duration>) -> Result<(), Error> {
        let wait = wait.map_or(self.lock_timeout, |wait| wait.min(self.lock_timeout));
        if wait != self.waits {
            let set = format!("SET lock_timeout = {}", wait.as_millis());
            self.deadline.with(1, self.client.batch_execute(&set)).await?;
            self.waits = wait;
        }
        Ok(())
    }

    /// Asks for a sign of life, which is one for the server, too: it would end a connection that is
    /// idle for long.
    pub(super) async fn is_there(&self) -> Result<(), Error> {
        self.deadline.with(1, self.client.batch_execute("")).await
    }

    /// Who is writing.
    pub(super) async fn look(&mut self) -> Result<Writers, Error> {
        let (number, snapshot) =
            (self.prepare(Writers::NUMBER).await?, self.prepare(Writers::SNAPSHOT).await?);
        let both = async {
            tokio::join!(self.client.query_one(&number, &[]), self.client.query_one(&snapshot, &[]))
        };
        let (number, snapshot) = self.deadline.with(2, both).await;
        Ok(Writers::of(&number?, &snapshot?))
    }

    /// Carries out a chunk as one transaction, and looks who was writing right after it. All of it
    /// is sent at once: it takes one way to the server and back. Whatever fails, none of it
    /// stands.
    pub(super) async fn transact(&mut self, chunk: &Transaction<'_>) -> Result<Done, Error> {
        let Transaction { begin, around, lock, delete, returns } = chunk;
        let verify = self.prepare(&around.verify).await?;
        let lock = match lock {
            Some(lock) => Some((self.prepare(&lock.text).await?, &lock.params)),
            None => None,
        };
        let (work, params) = (self.prepare(&delete.text).await?, &delete.params);
        let after = match &around.verify_after {
            Some(after) => Some(self.prepare(after).await?),
            None => None,
        };
        let (number, snapshot) =
            (self.prepare(Writers::NUMBER).await?, self.prepare(Writers::SNAPSHOT).await?);
        let client = &self.client;
        // Each is sent when it is polled for the first time, in this order.
        let all = async {
            tokio::join!(
                biased;
                client.batch_execute(begin),
                client.query_one(&verify, &[]),
                async {
                    match &lock {
                        Some((lock, params)) => client.query_one(lock, params).await.map(Some),
                        None => Ok(None),
                    }
                },
                async {
                    match returns {
                        Returns::Rows => client.execute(&work, params).await.map(Worked::Rows),
                        Returns::Row => client.query_one(&work, params).await.map(Worked::Row),
                    }
                },
                async {
                    match &after {
                        Some(after) => client.query_one(after, &[]).await.map(Some),
                        None => Ok(None),
                    }
                },
                client.batch_execute("COMMIT"),
                client.query_one(&number, &[]),
                client.query_one(&snapshot, &[]),
            )
        };
        let (begun, verified, locked, worked, still, committed, number, snapshot) =
            self.deadline.with(8, all).await;
        // What failed first is why the rest did.
        begun?;
        verified?;
        let locked = locked?.as_ref().map(Locked::of).transpose();
        let worked = worked?;
        still?;
        committed?;
        let writers = number
            .ok()
            .zip(snapshot.ok())
            .map(|(number, snapshot)| Writers::of(&number, &snapshot));
        Ok(Done { worked, locked: locked?, writers })
    }

    /// The one row of a statement that always has one.
    pub(super) async fn one(&mut self, query: &Query<'_>) -> Result<Row, Error> {
        let statement = self.prepare(&query.text).await?;
        self.deadline.with(1, self.client.query_one(&statement, &query.params)).await
    }

    /// The row of a statement that has one or none.
    pub(super) async fn at_most_one(&mut self, query: &Query<'_>) -> Result<Option<Row>, Error> {
        let statement = self.prepare(&query.text).await?;
        self.deadline.with(1, self.client.query_opt(&statement, &query.params)).await
    }

    /// Forgets the statements of tables that have been worked on, when they are many: the server
    /// process keeps what was prepared on it until then.
    pub(super) fn forget_statements(&mut self) {
        if self.prepared.len() >= PREPARED {
            self.prepared.clear();
        }
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

/// Which server process answers, what time it is there, and when the server was started. It is the
/// first statement on a connection, on whatever search path: nothing in it is looked up there. In
/// the simple protocol: what the extended one prepares may be unknown, or somebody else's, behind a
/// pooler.
async fn identify(client: &Client) -> Result<(i32, DateTime<Utc>, String), ConnectError> {
    const SQL: &str = "SELECT pg_catalog.pg_backend_pid(),
        (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)::bigint,
        EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time())";
    let answer =
        client.simple_query(SQL).await.map_err(|error| ConnectError::Connect(chain(&error)))?;
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
        .ok_or_else(|| ConnectError::Connect("the server does not say who it is".to_owned()))
}
