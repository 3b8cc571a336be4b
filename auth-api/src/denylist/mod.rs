//! Which sessions are revoked, in Redis, so that a bearer check costs one look-up of well under a
//! millisecond.
//!
//! PostgreSQL is the truth; Redis is a cache that may be lost, emptied, restored from an old dump
//! or failed over at any moment. So "not denied" is believed only with proof that the list is
//! complete:
//!
//! - a look-up reads `deny:{sid}` *and* the marker `deny:complete` in one command;
//! - the marker is set by a [`rebuild`] from PostgreSQL, only if the random epoch that it began
//!   with still stands (a flush in between takes the epoch away), and lives for three sync
//!   intervals;
//! - after each (re)connection this process believes nothing until a rebuild of its own has ended
//!   over that connection.
//!
//! Otherwise the check is a primary-key read in PostgreSQL. That is also what happens while Redis
//! is away or hangs: the first command that fails ends the trust and opens the breaker of
//! [`Redis`], so the next requests do not pay for it again. With neither: 503.

mod rebuild;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ::metrics::histogram;
use redis::Pipeline;
use schema::ids::SessionId;
use schema::sessions::Session;
use serde::Serialize;
use tokio::sync::Notify;

use crate::config::RedisConfig;
use crate::metrics;
use crate::redis::{Answer, Redis, RedisFailure};
use crate::state::{Database, DatabaseError, timed};

pub use rebuild::keep_in_sync;

/// Added to the lifetime of an access token: a sibling token may have been issued a moment before
/// the revocation committed, and clocks of resource servers differ.
const LEEWAY: Duration = Duration::from_mins(1);

/// No access token lives for longer, however the API is configured.
const LONGEST_TTL: Duration = Duration::from_mins(30);

/// For how long a revoked session has to be denied at the most.
pub const LONGEST_WINDOW: Duration = Duration::from_mins(31);

/// The denylist in Redis.
pub struct Denylist {
    redis: Arc<Redis>,
    /// How long a revoked session has to be denied: until its last access token has expired.
    window: Duration,
    sync_interval: Duration,
    /// The number of the connection over which this process has rebuilt the list; 0 = it believes
    /// nothing.
    trusted: AtomicU64,
    /// Denials that were not written since the last rebuild: while there are any, the marker
    /// claims too much.
    missed: AtomicU64,
    wake: Notify,
}

/// A session's entry and the marker, each if it is there.
type Entry = (Option<String>, Option<String>);

impl Denylist {
    /// Believes nothing yet.
    #[must_use]
    pub fn new(redis: Arc<Redis>, access_token_ttl: Duration, sync_interval: Duration) -> Self {
        Self {
            redis,
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
        // A person waits for it, and not a request.
        let patient =
            RedisConfig { timeout: config.timeout.max(Duration::from_secs(2)), ..config.clone() };
        Self::new(Arc::new(Redis::new(&patient)), LONGEST_TTL, Duration::ZERO)
    }

    /// Whether a session is denied, as Redis has it. `None`: Redis is not to be believed now.
    pub async fn ask_redis(&self, id: SessionId) -> Option<bool> {
        let started = Instant::now();
        let denied = self.look_up(id).await?;
        histogram!(metrics::DENYLIST_LOOKUP, "source" => "redis").record(started.elapsed());
        Some(denied)
    }

    /// Whether a session is denied, as PostgreSQL has it: revoked, expired, or not there at all.
    pub async fn ask_postgres(
        &self,
        database: &Database,
        id: SessionId,
    ) -> Result<bool, DatabaseError> {
        let started = Instant::now();
        let mut connection = database.acquire().await?;
        let live =
            timed(connection.watch(), "session_is_live", Session::is_live(&mut connection, id))
                .await?;
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
        let answer: Answer<(Entry,)> = self.redis.command("lookup", &lookup).await;
        match answer {
            Ok((_, ((Some(_), _),))) => Some(true),
            Ok((number, ((None, Some(_)),))) if number == trusted => Some(false),
            Ok(_) => {
                self.distrust();
                None
            }
            Err(failure) => {
                // An outage has been told of where the breaker was opened.
                if self.distrust() && !failure.is_outage() {
                    tracing::warn!(event = "denylist_lookup_failed", error = %failure, "denylist lookup failed in Redis; reading PostgreSQL instead");
                }
                None
            }
        }
    }

    /// Denies sessions that have been revoked, and committed so. When Redis does not take it, every
    /// process goes back to PostgreSQL as soon as Redis answers again, until the list is
    /// complete.
    pub async fn deny(&self, ids: &[SessionId]) {
        if let Err(failure) = self.try_deny(ids).await {
            tracing::warn!(event = "denylist_write_failed", sessions = ids.len(), error = %failure, "revoked sessions not yet written to the denylist in Redis");
            self.doubt();
        }
    }

    /// The same, once.
    pub(crate) async fn try_deny(&self, ids: &[SessionId]) -> Result<(), RedisFailure> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            self.push_denial(&mut pipeline, *id);
        }
        let answer: Answer<()> = self.redis.command("deny", &pipeline).await;
        answer.map(drop)
    }

    /// A session may have been revoked without being denied. The marker is taken away as soon as
    /// Redis answers, and every process asks PostgreSQL until the list is complete.
    pub fn doubt(&self) {
        self.missed.fetch_add(1, Ordering::SeqCst);
        self.distrust();
    }

    fn push_denial(&self, pipeline: &mut Pipeline, id: SessionId) {
        pipeline.cmd("SET").arg(self.key(id)).arg(1).arg("EX").arg(self.window.as_secs()).ignore();
    }

    /// Believes nothing until the next rebuild, and asks for it. Whether that is news.
    fn distrust(&self) -> bool {
        let news = self.trusted.swap(0, Ordering::SeqCst) != 0;
        self.wake.notify_one();
        news
    }

    fn key(&self, id: SessionId) -> String {
        self.redis.key(format_args!("deny:{id}"))
    }

    fn marker(&self) -> String {
        self.redis.key("deny:complete")
    }

    fn epoch(&self) -> String {
        self.redis.key("deny:epoch")
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
        let denylist =
            if self.trusted.load(Ordering::SeqCst) == 0 { "rebuilding" } else { "complete" };
        let mut info = redis::pipe();
        info.cmd("INFO").arg("memory");
        let answer: Answer<(String,)> = self.redis.bypass_breaker("info", &info).await;
        let maxmemory_policy = match answer {
            Ok((_, (info,))) => info
                .lines()
                .find_map(|line| line.strip_prefix("maxmemory_policy:"))
                .unwrap_or("unknown")
                .trim()
                .to_owned(),
            Err(failure) => {
                return Report { denylist, maxmemory_policy: failure.to_string(), warning: None };
            }
        };
        let warning = (maxmemory_policy != "noeviction").then_some(
            "Redis may evict denied sessions while it is full: set maxmemory-policy noeviction",
        );
        Report { denylist, maxmemory_policy, warning }
    }
}
