//! Connections to PostgreSQL, and the time that queries may take.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{counter, gauge, histogram};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager as _};
use schema::pool::{CheckoutError, Pool, PooledConnection};

use crate::metrics;

/// The connection pool, with metrics of the time spent waiting.
pub struct Database {
    pool: Pool,
    size: u32,
    query_bound: Duration,
}

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection was available within the checkout timeout.
    #[error("no database connection: {0}")]
    Checkout(#[from] CheckoutError),
    /// A query failed.
    #[error("query failed: {0}")]
    Query(#[from] DieselError),
}

impl DatabaseError {
    /// Returns `true` if a retry may succeed. This is the case if the database is unavailable or
    /// overloaded, or if the operation took too long. Any other error indicates a bug in auth-api.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Checkout(_) | Self::Query(DieselError::BrokenTransactionManager) => true,
            Self::Query(DieselError::DatabaseError(kind, _)) => matches!(
                kind,
                DatabaseErrorKind::ClosedConnection
                    | DatabaseErrorKind::UnableToSendCommand
                    | DatabaseErrorKind::SerializationFailure
                    | DatabaseErrorKind::ReadOnlyTransaction
                    // Diesel has no error kinds for timeouts, deadlocks, and a server that is
                    // shutting down.
                    | DatabaseErrorKind::Unknown
            ),
            Self::Query(_) => false,
        }
    }
}

impl Database {
    /// Wraps a pool of at most `size` connections. Each query may take at most `query_bound`.
    #[must_use]
    pub fn new(pool: Pool, size: u32, query_bound: Duration) -> Self {
        Self { pool, size, query_bound }
    }

    /// Checks out a connection, or fails after the checkout timeout.
    pub async fn acquire(&self) -> Result<Lease<'_>, DatabaseError> {
        let started = Instant::now();
        let connection = self.pool.get().await;
        histogram!(metrics::DB_ACQUIRE).record(started.elapsed());
        match connection {
            Ok(connection) => {
                let watch =
                    Watch { bound: self.query_bound, deadline: None, overdue: Arc::default() };
                Ok(Lease { connection, watch })
            }
            Err(error) => {
                counter!(metrics::DB_ACQUIRE_TIMEOUTS).increment(1);
                Err(error.into())
            }
        }
    }

    /// Sets the gauges that describe the pool.
    pub fn report(&self) {
        let state = self.pool.state();
        gauge!(metrics::DB_CONNECTIONS, "state" => "idle").set(state.idle_connections);
        gauge!(metrics::DB_CONNECTIONS, "state" => "busy")
            .set(state.connections.saturating_sub(state.idle_connections));
        gauge!(metrics::DB_CONNECTIONS_MAX).set(self.size);
    }
}

/// A connection that is checked out of the pool. If a query on it was abandoned, the connection is
/// returned as broken and the pool discards it. If the pool kept the connection, another request
/// might have to wait for the result of the abandoned query.
pub struct Lease<'p> {
    connection: PooledConnection<'p>,
    watch: Watch,
}

/// The time limit of queries on a connection.
#[derive(Clone)]
pub struct Watch {
    bound: Duration,
    /// The time by which all queries on the connection must have finished. `None` if each query has
    /// the full time limit of its own.
    deadline: Option<Instant>,
    overdue: Arc<AtomicBool>,
}

impl Lease<'_> {
    /// Limits the total time of all following queries to the time limit of a single query.
    pub fn bound_in_total(&mut self) {
        self.watch.deadline = Some(Instant::now() + self.watch.bound);
    }

    /// Returns the time limit of the next query, to be passed to [`timed`]. While a query borrows
    /// the connection, the time limit cannot be read from the lease.
    #[must_use]
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

impl Deref for Lease<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.connection
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.watch.overdue.load(Ordering::Relaxed) {
            AnsiTransactionManager::transaction_manager_status_mut(&mut *self.connection)
                .set_in_error();
        }
    }
}

/// Runs a query, records its duration under `name`, and abandons the query when its time limit is
/// reached. The server has its own limit (`statement_timeout`). The limit of this function takes
/// effect if the server or the network does not respond at all.
pub async fn timed<T, E: From<DieselError>>(
    watch: Watch,
    name: &'static str,
    query: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let started = Instant::now();
    let bound =
        watch.deadline.map_or(watch.bound, |deadline| deadline.saturating_duration_since(started));
    let result = tokio::time::timeout(bound, query).await;
    histogram!(metrics::DB_QUERY, "query" => name).record(started.elapsed());
    result.unwrap_or_else(|_| {
        watch.overdue.store(true, Ordering::Relaxed);
        let reason = format!("no response within {} s", watch.bound.as_secs());
        Err(DieselError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(reason))
            .into())
    })
}
