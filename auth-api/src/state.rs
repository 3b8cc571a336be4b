//! What every request shares.

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

/// Made once, shared by all workers.
pub struct State {
    /// Whose wallets log in.
    pub network: Network,
    /// The URL that clients use.
    pub public_url: PublicUrl,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// So many generations in a row with a retry from another network are reuse; 0: none are.
    pub foreign_generations: u16,
    /// Live sessions of an account at the most.
    pub session_limit: u32,
    /// The database's time; see [`State::now`].
    pub clock: Clock,
    /// What tokens are made genuine with.
    pub secrets: Secrets,
    /// Keys of token families in use.
    pub family_keys: FamilyKeys,
    /// Challenges.
    pub challenges: ChallengeIssuer,
    /// Access tokens and their keys.
    pub access_tokens: AccessTokens,
    /// Other services that may ask about tokens.
    pub clients: Arc<ClientCheck>,
    /// PostgreSQL.
    pub database: Database,
    /// Which sessions are revoked, as Redis has it.
    pub denylist: Denylist,
    /// Cookie sessions that were used.
    pub last_seen: LastSeenUpdates,
    /// The cookie that carries a session.
    pub cookie: SessionCookie,
    /// Pages that may change something with a cookie.
    pub origins: Vec<String>,
    /// Who may act as an operator.
    pub admin: Admin,
    /// How often one may ask.
    pub limits: Limits,
    /// Refusals that are summed up.
    pub repeats: Repeats,
    /// The connections of the API port.
    pub connections: Arc<Connections>,
    /// Whose word on whom they speak for is taken.
    pub trusted_proxies: TrustedProxies,
    /// The hosts that the operations port answers to.
    pub ops_hosts: OpsHosts,
    /// What a connection and a request may take.
    pub bounds: Bounds,
    /// Work that outlives the request that began it.
    pub tasks: Tasks,
}

impl State {
    /// Makes it. Must be called on the runtime that is to do the database's work.
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
    /// The database's time, carried forward. Until the database has been heard once nobody knows
    /// what has expired.
    pub fn now(&self) -> Result<DateTime<Utc>, Problem> {
        self.clock.now().ok_or_else(|| {
            tracing::warn!(event = "clock_not_synchronised", "database time not yet synchronised");
            Problem::Unavailable
        })
    }
}

/// The pool, with its waiting measured.
pub struct Database {
    pool: Pool,
    size: u32,
    query_bound: Duration,
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
    /// Whether trying again later may help: the database is away, too busy, or took too long.
    /// Otherwise it is our mistake.
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

/// A connection on loan. One on which a query was given up goes back broken, so that the pool
/// throws it away: the answer may still come, and nobody else must wait behind it.
pub struct Lease<'p> {
    connection: PooledConnection<'p>,
    watch: Watch,
}

/// Bounds the queries on a connection.
#[derive(Clone)]
pub struct Watch {
    bound: Duration,
    /// When all queries on the connection must have ended; `None`: each has the whole bound.
    deadline: Option<Instant>,
    overdue: Arc<AtomicBool>,
}

impl Lease<'_> {
    /// Gives all queries from now on together the time that one may take.
    pub fn bound_in_total(&mut self) {
        self.watch.deadline = Some(Instant::now() + self.watch.bound);
    }

    /// What [`timed`] needs of it, while the query has the connection.
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

/// Runs a query, measures it under its name, and gives it up when its time is over. The server has
/// a bound of its own (`statement_timeout`); this one is for a server, or a network, that does not
/// answer at all.
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
        let why = format!("no answer within {} s", watch.bound.as_secs());
        Err(DieselError::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(why))
            .into())
    })
}

/// Work that must be finished once begun: a client that hangs up drops its request's future, and a
/// revocation that was committed but never denied would be half done. It runs on the main runtime,
/// where the database's connections live, and is waited for at shutdown.
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
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, CutOff> {
        let work = tracing::Instrument::instrument(work, tracing::Span::current());
        self.tracker.spawn_on(work, &self.runtime).await.map_err(|_| CutOff)
    }

    /// Waits until all work has ended.
    pub async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
