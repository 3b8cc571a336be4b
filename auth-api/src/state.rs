//! What every request shares.

use std::future::Future;
use std::time::Instant;

use ::metrics::{counter, gauge, histogram};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use schema::pool::{CheckoutError, Pool, PooledConnection};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Lifetimes, Network};
use crate::credentials::access_token::AccessTokens;
use crate::credentials::signing_keys::{SigningKeys, SigningKeysError};
use crate::credentials::{ChallengeIssuer, Secrets};
use crate::denylist::Denylist;
use crate::metrics;

/// Made once, shared by all workers.
pub struct State {
    /// Whose wallets log in.
    pub network: Network,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// Live sessions of an account at the most.
    pub session_limit: u32,
    /// The database's time.
    pub clock: Clock,
    /// What tokens are made genuine with.
    pub secrets: Secrets,
    /// Challenges.
    pub challenges: ChallengeIssuer,
    /// Access tokens and their keys.
    pub access_tokens: AccessTokens,
    /// PostgreSQL.
    pub database: Database,
    /// Redis.
    pub denylist: Denylist,
    /// Work that outlives the request that began it.
    pub tasks: Tasks,
}

impl State {
    /// Makes it. Must be called on the runtime that is to do the database's work.
    pub fn new(config: &Config) -> Result<Self, SigningKeysError> {
        let keys = SigningKeys::read(&config.signing_keys_dir, config.signing_key_delay)?;
        for (kid, made_at) in keys.made() {
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
            gauge!(metrics::SIGNING_KEY_CREATED, "kid" => kid.to_owned()).set(made_at.timestamp() as f64);
        }
        let lifetimes = config.lifetimes;
        Ok(Self {
            network: config.network,
            lifetimes,
            session_limit: config.session_limit,
            clock: Clock::new(),
            secrets: config.secrets.clone(),
            challenges: ChallengeIssuer::new(
                config.secrets.clone(),
                config.public_url.clone(),
                config.network,
                lifetimes.challenge,
            ),
            access_tokens: AccessTokens::new(
                keys,
                config.issuer.clone(),
                config.audience.clone(),
                lifetimes.access_token,
            ),
            database: Database {
                pool: schema::pool::build(config.database.connect.clone(), config.database.pool),
                size: config.database.pool.size,
            },
            denylist: Denylist::new(&config.redis, lifetimes.access_token, config.denylist_sync_interval),
            tasks: Tasks { tracker: TaskTracker::new(), runtime: Handle::current() },
        })
    }
}

/// The pool, with its waiting measured.
pub struct Database {
    pool: Pool,
    size: u32,
}

/// The database could not do what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// No connection within the time that a checkout may take.
    #[error("no database connection: {0}")]
    Checkout(#[from] CheckoutError),
    /// A query failed.
    #[error("query failed: {0}")]
    Query(#[from] DieselError),
}

impl DatabaseError {
    /// Whether trying again later may help: the database is away, too busy, or took too long. Otherwise it is our mistake.
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
                    // Timeouts, deadlocks, a server that shuts down: Diesel has no kinds of their own for them.
                    | DatabaseErrorKind::Unknown
            ),
            Self::Query(_) => false,
        }
    }
}

impl Database {
    /// A connection, or an error once the checkout's time is over.
    pub async fn acquire(&self) -> Result<PooledConnection<'_>, DatabaseError> {
        let started = Instant::now();
        let connection = self.pool.get().await;
        histogram!(metrics::DB_ACQUIRE).record(started.elapsed());
        connection.map_err(|error| {
            counter!(metrics::DB_ACQUIRE_TIMEOUTS).increment(1);
            error.into()
        })
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

/// Runs a query and measures it under its name.
pub async fn timed<T, E>(name: &'static str, query: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let started = Instant::now();
    let result = query.await;
    histogram!(metrics::DB_QUERY, "query" => name).record(started.elapsed());
    result
}

/// Work that must be finished once begun: a client that hangs up drops its request's future, and a revocation that was
/// committed but never denied would be half done. It runs on the main runtime, where the database's connections live,
/// and is waited for at shutdown.
pub struct Tasks {
    tracker: TaskTracker,
    runtime: Handle,
}

/// A task of ours panicked or was cut off.
#[derive(Debug, thiserror::Error)]
#[error("the work on this request was cut off")]
pub struct CutOff;

impl Tasks {
    /// Runs `work` to its end, also when the caller goes away.
    pub async fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T, CutOff> {
        let work = tracing::Instrument::instrument(work, tracing::Span::current());
        self.tracker.spawn_on(work, &self.runtime).await.map_err(|_| CutOff)
    }

    /// Waits until all work has ended.
    pub async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
