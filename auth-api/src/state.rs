//! State that all requests share.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{counter, gauge, histogram};
use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, TransactionManager as _};
use hardening::ops_hosts::OpsHosts;
use schema::pool::{CheckoutError, Pool, PooledConnection};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::admin::Admin;
use crate::clients::ClientCheck;
use crate::clock::Clock;
use crate::config::{Bounds, Config, Lifetimes, Network, PublicUrl, TrustedProxies};
use crate::credentials::access_token::AccessTokens;
use crate::credentials::signing_keys::SigningKeys;
use crate::credentials::{ChallengeIssuer, Secrets};
use crate::denylist::Denylist;
use crate::family_keys::FamilyKeys;
use crate::http::cookie::SessionCookie;
use crate::http::{Connections, Problem};
use crate::last_seen::LastSeenUpdates;
use crate::limits::Limits;
use crate::metrics;
use crate::redis::Redis;
use crate::repeats::Repeats;

/// The shared state, created once for all workers.
pub struct State {
    /// Stellar network of the wallets.
    pub network: Network,
    /// The URL that clients use.
    pub public_url: PublicUrl,
    /// Lifetimes of credentials and sessions.
    pub lifetimes: Lifetimes,
    /// Number of consecutive generations with a retry from another network that counts as reuse; 0
    /// for none.
    pub foreign_generations: u16,
    /// Maximum number of live sessions per account.
    pub session_limit: u32,
    /// The database's time; see [`State::now`].
    pub clock: Clock,
    /// Secrets that authenticate challenges and tokens.
    pub secrets: Secrets,
    /// Cached keys of token families.
    pub family_keys: FamilyKeys,
    /// Issues and verifies challenges.
    pub challenges: ChallengeIssuer,
    /// Issues and verifies access tokens; contains the signing keys.
    pub access_tokens: AccessTokens,
    /// Services that may introspect and revoke tokens.
    pub clients: Arc<ClientCheck>,
    /// Connections to PostgreSQL.
    pub database: Database,
    /// Revoked sessions in Redis.
    pub denylist: Denylist,
    /// Queued last-seen updates of cookie sessions.
    pub last_seen: LastSeenUpdates,
    /// The session cookie.
    pub cookie: SessionCookie,
    /// Origins whose pages may send state-changing requests with a cookie.
    pub origins: Vec<String>,
    /// Authentication of operators.
    pub admin: Admin,
    /// Rate limits.
    pub limits: Limits,
    /// Sums of repeated rejections.
    pub repeats: Repeats,
    /// Connections of the API port.
    pub connections: Arc<Connections>,
    /// Proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// Hosts that the operations port and the operators' endpoints accept in `Host`.
    pub ops_hosts: OpsHosts,
    /// Limits on connections and requests.
    pub bounds: Bounds,
    /// Work that outlives the request that started it.
    pub tasks: Tasks,
}

impl State {
    /// Creates the state. Must be called on the runtime that is to drive the database connections.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let keys = SigningKeys::read(&config.signing_keys_dir, config.signing_key_delay)?;
        metrics::show_signing_keys(&keys);
        let lifetimes = config.lifetimes;
        let redis = Arc::new(Redis::new(&config.redis));
        Ok(Self {
            network: config.network,
            public_url: config.public_url.clone(),
            lifetimes,
            foreign_generations: config.foreign_generations,
            session_limit: config.session_limit,
            clock: Clock::new(),
            secrets: config.secrets.clone(),
            family_keys: FamilyKeys::default(),
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
            clients: Arc::new(ClientCheck::new(config.clients.clone())?),
            database: Database {
                pool: schema::pool::build(config.database.connect.clone(), config.database.pool),
                size: config.database.pool.size,
                query_bound: config.database.query_bound(),
            },
            admin: Admin::new(config.admin_token.clone()),
            limits: Limits::new(Arc::clone(&redis), config.rate_limit),
            repeats: Repeats::default(),
            connections: Arc::new(Connections::new(&config.bounds, config.trusted_proxies.clone())),
            trusted_proxies: config.trusted_proxies.clone(),
            ops_hosts: config.ops_hosts.clone(),
            bounds: config.bounds,
            denylist: Denylist::new(redis, lifetimes.access_token, config.denylist_sync_interval),
            last_seen: LastSeenUpdates::new(),
            cookie: SessionCookie { insecure: config.cookie_insecure },
            origins: [&config.public_url.origin]
                .into_iter()
                .chain(&config.allowed_origins)
                .cloned()
                .collect(),
            tasks: Tasks { tracker: TaskTracker::new(), runtime: Handle::current() },
        })
    }
}

impl State {
    /// Returns the database's time, advanced by this machine's monotonic clock. Fails until the
    /// database has returned its time once, because until then nobody can say what has expired.
    pub fn now(&self) -> Result<DateTime<Utc>, Problem> {
        self.clock.now().ok_or_else(|| {
            tracing::warn!(event = "clock_not_synchronised", "database time not yet synchronized");
            Problem::Unavailable
        })
    }
}

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
    /// Returns whether a retry may succeed: the database is unavailable or overloaded, or the
    /// operation took too long. Otherwise the error is a bug in auth-api.
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
                    // Timeouts, deadlocks and a server that shuts down, for which Diesel has no
                    // kinds.
                    | DatabaseErrorKind::Unknown
            ),
            Self::Query(_) => false,
        }
    }
}

impl Database {
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

/// A connection that is checked out. If a query on it was abandoned, the connection is returned as
/// broken and the pool discards it: the result may still arrive, and no other request must wait for
/// it.
pub struct Lease<'p> {
    connection: PooledConnection<'p>,
    watch: Watch,
}

/// The time limit of queries on a connection.
#[derive(Clone)]
pub struct Watch {
    bound: Duration,
    /// When all queries on the connection must have finished; `None` if each query has the full
    /// time.
    deadline: Option<Instant>,
    overdue: Arc<AtomicBool>,
}

impl Lease<'_> {
    /// Limits all following queries together to the time of a single query.
    pub fn bound_in_total(&mut self) {
        self.watch.deadline = Some(Instant::now() + self.watch.bound);
    }

    /// Returns what [`timed`] needs while the query borrows the connection.
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
/// reached. The server has its own limit (`statement_timeout`). This limit is for a server or a
/// network that does not respond at all.
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
        let reason = format!("no answer within {} s", watch.bound.as_secs());
        Err(DieselError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(reason))
            .into())
    })
}

/// Work that must be finished once it has started. If a client disconnects, the future of its
/// request is dropped, and a revocation that was committed but not added to the denylist would be
/// incomplete. The work runs on the main runtime, which drives the database connections, and
/// shutdown waits for it.
pub struct Tasks {
    tracker: TaskTracker,
    runtime: Handle,
}

/// A task panicked or was aborted.
#[derive(Debug, thiserror::Error)]
#[error("the task of this request panicked or was aborted")]
pub struct CutOff;

impl Tasks {
    /// Runs `work` to completion, even if the caller is dropped.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, CutOff> {
        let work = tracing::Instrument::instrument(work, tracing::Span::current());
        self.tracker.spawn_on(work, &self.runtime).await.map_err(|_| CutOff)
    }

    /// Waits until all work has finished.
    pub async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
