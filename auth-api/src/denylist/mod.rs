//! Which sessions are revoked, in Redis, so that a bearer check costs one look-up of well under a millisecond.
//!
//! PostgreSQL is the truth; Redis is a cache that may be lost, emptied, restored from an old dump or failed over at any
//! moment. So "not denied" is believed only with proof that the list is complete:
//!
//! - a look-up reads `deny:{sid}` *and* the marker `deny:complete` in one command;
//! - the marker is set by a [`rebuild`] from PostgreSQL, only if the random epoch that it began with still stands
//!   (a flush in between takes the epoch away), and lives for three sync intervals;
//! - after each (re)connection this process believes nothing until a rebuild of its own has ended over that connection.
//!
//! Otherwise the check is a primary-key read in PostgreSQL. That is also what happens while Redis is away or hangs: the
//! first command that fails ends the trust, so the next requests do not pay for it again. With neither: 503.

mod link;
mod rebuild;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{counter, histogram};
use bb8_redis::bb8;
use redis::{FromRedisValue, Pipeline, RedisError};
use schema::ids::SessionId;
use schema::sessions::Session;
use serde::Serialize;
use tokio::sync::Notify;

use crate::config::RedisConfig;
use crate::metrics;
use crate::state::{Database, DatabaseError, timed};
use link::{Link, LinkManager};

pub use rebuild::keep_in_sync;

/// Added to the lifetime of an access token: a sibling token may have been issued a moment before the revocation
/// committed, and clocks of resource servers differ.
const LEEWAY: Duration = Duration::from_mins(1);

/// No access token lives for longer, however the API is configured.
pub const LONGEST_WINDOW: Duration = Duration::from_mins(31);

/// Writing may take longer than reading: it is rare, and a failed write costs all readers their trust.
const WRITE_PATIENCE: u32 = 5;

/// The denylist in Redis.
pub struct Denylist {
    pool: bb8::Pool<LinkManager>,
    prefix: String,
    timeout: Duration,
    /// How long a revoked session has to be denied: until its last access token has expired.
    window: Duration,
    sync_interval: Duration,
    /// The number of the connection over which this process has rebuilt the list; 0 = it believes nothing.
    trusted: AtomicU64,
    /// Denials that were not written since the last rebuild: while there are any, the marker claims too much.
    missed: AtomicU64,
    wake: Notify,
}

/// A session's entry and the marker, each if it is there.
type Entry = (Option<String>, Option<String>);

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum RedisFailure {
    /// None came in time.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// It could not be reached, or refused.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl RedisFailure {
    fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Redis(error) if error.is_timeout() => "timeout",
            Self::Redis(error) if error.is_io_error() || error.is_unrecoverable_error() => "connection",
            Self::Redis(_) => "other",
        }
    }
}

impl Denylist {
    /// Connects when it is first used.
    #[must_use]
    pub fn new(config: &RedisConfig, access_token_ttl: Duration, sync_interval: Duration) -> Self {
        let pool = bb8::Pool::builder()
            // One connection, multiplexed: it is cloned out and given back at once. A second one might end at another
            // server after a failover, and what is known of the one would be believed of the other.
            .max_size(1)
            .connection_timeout(config.timeout)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_on_check_out(true)
            .build_unchecked(LinkManager::new(config.client.clone()));
        Self {
            pool,
            prefix: format!("{{{}}}", config.prefix),
            timeout: config.timeout,
            window: access_token_ttl + LEEWAY,
            sync_interval,
            trusted: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            wake: Notify::new(),
        }
    }

    /// One that only denies, for a command: it knows nothing of lifetimes.
    #[must_use]
    pub fn for_commands(config: &RedisConfig) -> Self {
        Self::new(config, LONGEST_WINDOW - LEEWAY, Duration::ZERO)
    }

    /// Whether a session is denied, as Redis has it. `None`: Redis is not to be believed now.
    pub async fn ask_redis(&self, id: SessionId) -> Option<bool> {
        let started = Instant::now();
        let denied = self.look_up(id).await?;
        histogram!(metrics::DENYLIST_LOOKUP, "source" => "redis").record(started.elapsed());
        Some(denied)
    }

    /// Whether a session is denied, as PostgreSQL has it: revoked, expired, or not there at all.
    pub async fn ask_postgres(&self, database: &Database, id: SessionId) -> Result<bool, DatabaseError> {
        let started = Instant::now();
        let mut connection = database.acquire().await?;
        let live = timed(connection.watch(), "session_is_live", Session::is_live(&mut connection, id)).await?;
        histogram!(metrics::DENYLIST_LOOKUP, "source" => "postgres").record(started.elapsed());
        Ok(!live)
    }

    async fn look_up(&self, id: SessionId) -> Option<bool> {
        let trusted = self.trusted.load(Ordering::SeqCst);
        if trusted == 0 {
            return None;
        }
        let mut lookup = redis::pipe();
        lookup.cmd("MGET").arg(self.key(id)).arg(self.marker());
        let answer: Result<(u64, (Entry,)), _> = self.command("lookup", self.timeout, &lookup).await;
        match answer {
            Ok((_, ((Some(_), _),))) => Some(true),
            Ok((number, ((None, Some(_)),))) if number == trusted => Some(false),
            Ok(_) => {
                self.distrust();
                None
            }
            Err(failure) => {
                if self.distrust() {
                    tracing::warn!(error = %failure, "Redis failed; the denylist is read from PostgreSQL");
                }
                None
            }
        }
    }

    /// Denies sessions that have been revoked, and committed so. When Redis does not take it, every process goes back to
    /// PostgreSQL as soon as Redis answers again, until the list is complete.
    pub async fn deny(&self, ids: &[SessionId]) {
        if let Err(failure) = self.try_deny(ids).await {
            tracing::warn!(sessions = ids.len(), error = %failure, "revoked sessions could not be denied in Redis yet");
            self.doubt();
        }
    }

    /// The same, once.
    pub async fn try_deny(&self, ids: &[SessionId]) -> Result<(), RedisFailure> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            self.push_denial(&mut pipeline, *id);
        }
        let (_, ()) = self.command("deny", self.timeout * WRITE_PATIENCE, &pipeline).await?;
        Ok(())
    }

    /// A session may have been revoked without being denied. The marker is taken away as soon as Redis answers, and every
    /// process asks PostgreSQL until the list is complete.
    pub fn doubt(&self) {
        self.missed.fetch_add(1, Ordering::SeqCst);
        self.distrust();
    }

    fn push_denial(&self, pipeline: &mut Pipeline, id: SessionId) {
        pipeline.cmd("SET").arg(self.key(id)).arg(1).arg("EX").arg(self.window.as_secs()).ignore();
    }

    /// Sends a pipeline within `patience` and returns the number of the connection it went over. A connection that did not
    /// answer is not used again; one that answered with an error (no right, out of memory) is.
    async fn command<T: FromRedisValue>(
        &self,
        name: &'static str,
        patience: Duration,
        pipeline: &Pipeline,
    ) -> Result<(u64, T), RedisFailure> {
        let started = Instant::now();
        let mut used = None;
        let sent = tokio::time::timeout(patience, async {
            let link = self.link().await?;
            let mut connection = used.insert(link).connection.clone();
            Ok(pipeline.query_async(&mut connection).await?)
        })
        .await;
        histogram!(metrics::REDIS_COMMAND, "command" => name).record(started.elapsed());
        let failure = match sent {
            Ok(Ok(value)) => return Ok((used.map_or(0, |link| link.number), value)),
            Ok(Err(failure)) => failure,
            Err(_) => RedisFailure::Timeout(patience),
        };
        counter!(metrics::DENYLIST_ERRORS, "kind" => failure.kind()).increment(1);
        if let (Some(link), "timeout" | "connection") = (used, failure.kind()) {
            link.give_up();
        }
        Err(failure)
    }

    async fn link(&self) -> Result<Link, RedisFailure> {
        self.pool.get().await.map(|link| link.clone()).map_err(|error| match error {
            bb8::RunError::User(error) => RedisFailure::Redis(error),
            bb8::RunError::TimedOut => RedisFailure::Timeout(self.timeout),
        })
    }

    /// Believes nothing until the next rebuild, and asks for it. Whether that is news.
    fn distrust(&self) -> bool {
        let news = self.trusted.swap(0, Ordering::SeqCst) != 0;
        self.wake.notify_one();
        news
    }

    fn key(&self, id: SessionId) -> String {
        format!("{}:deny:{id}", self.prefix)
    }

    fn marker(&self) -> String {
        format!("{}:deny:complete", self.prefix)
    }

    fn epoch(&self) -> String {
        format!("{}:deny:epoch", self.prefix)
    }
}

/// What `/readyz` says of Redis.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether look-ups go to Redis now: `complete`, or `rebuilding` while they go to PostgreSQL.
    denylist: &'static str,
    /// Its `maxmemory-policy`, or why it did not say.
    maxmemory_policy: String,
    /// What an operator should change.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

impl Denylist {
    /// The state of the list, and whether Redis may throw its entries away.
    pub async fn report(&self) -> Report {
        let denylist = if self.trusted.load(Ordering::SeqCst) == 0 { "rebuilding" } else { "complete" };
        let mut info = redis::pipe();
        info.cmd("INFO").arg("memory");
        let answer: Result<(u64, (String,)), _> = self.command("info", self.timeout * WRITE_PATIENCE, &info).await;
        let maxmemory_policy = match answer {
            Ok((_, (info,))) => info
                .lines()
                .find_map(|line| line.strip_prefix("maxmemory_policy:"))
                .unwrap_or("unknown")
                .trim()
                .to_owned(),
            Err(failure) => return Report { denylist, maxmemory_policy: failure.to_string(), warning: None },
        };
        let warning = (maxmemory_policy != "noeviction")
            .then_some("Redis may evict denied sessions while it is full: set maxmemory-policy noeviction");
        Report { denylist, maxmemory_policy, warning }
    }
}
