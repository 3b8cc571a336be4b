//! The denylist contains the revoked sessions. It is kept in Redis, so that checking an access
//! token requires one lookup, which takes well under a millisecond.
//!
//! PostgreSQL is authoritative. Redis is a cache that may be lost, emptied, restored from an old
//! dump, or replaced by a failover at any time. So the result "not denied" is trusted only with
//! proof that the list is complete:
//!
//! - a lookup reads `deny:{sid}` *and* the marker `deny:complete` in one command;
//! - a [`rebuild`] from PostgreSQL sets the marker only if the epoch that the rebuild started with
//!   still exists. An epoch is a random value in Redis; if Redis is flushed in the meantime, the
//!   epoch is deleted. The marker expires after three times the interval between two rebuilds;
//! - after each connection or reconnection, this process does not trust the list until its own
//!   rebuild has completed over that connection.
//!
//! Without this proof, the session is looked up by its primary key in PostgreSQL. This is also the
//! case while Redis is unavailable or hangs: after the first command that fails, the list is no
//! longer trusted and the circuit breaker of [`Redis`] is open, so the next requests do not wait
//! for Redis again. If Redis and PostgreSQL are both unavailable, the response is 503.

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

use crate::database::{Database, DatabaseError, timed};
use crate::metrics;
use crate::redis::RedisConfig;
use crate::redis::{Answer, Redis, RedisFailure};

pub use rebuild::keep_in_sync;

/// Time that is added to the lifetime of an access token. It is needed because another token of the
/// session may have been issued just before the revocation was committed, and because the clocks of
/// resource servers differ.
const LEEWAY: Duration = Duration::from_mins(1);

/// The maximum lifetime of an access token in any configuration.
const LONGEST_TTL: Duration = Duration::from_mins(30);

/// The maximum time for which a revoked session must be denied.
pub const LONGEST_WINDOW: Duration = Duration::from_mins(31);

/// The denylist in Redis.
pub struct Denylist {
    redis: Arc<Redis>,
    /// How long a revoked session must be denied: until its last access token has expired.
    window: Duration,
    sync_interval: Duration,
    /// The number of the Redis connection over which this process has rebuilt the list, or 0 if the
    /// list is not trusted.
    trusted: AtomicU64,
    /// The number of sessions that could not be added to Redis since the last rebuild. If it is not
    /// 0, the list is incomplete even if the marker exists.
    missed: AtomicU64,
    wake: Notify,
}

/// The entry of a session and the marker (the key that states that the list is complete); each is
/// `None` if it does not exist.
type Entry = (Option<String>, Option<String>);

impl Denylist {
    /// Creates a denylist that is not trusted yet.
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

    /// Creates a denylist for a command of auth-api. A command only adds sessions to the denylist
    /// and never looks one up. The denylist assumes the maximum lifetime of access tokens, because
    /// a command does not read the configured lifetime.
    #[must_use]
    pub fn for_commands(config: &RedisConfig) -> Self {
        // No request waits for a command, so the timeout can be longer.
        let extended =
            RedisConfig { timeout: config.timeout.max(Duration::from_secs(2)), ..config.clone() };
        Self::new(Arc::new(Redis::new(&extended)), LONGEST_TTL, Duration::ZERO)
    }

    /// Returns whether Redis contains the session as revoked, or `None` if the list in Redis cannot
    /// be trusted now.
    pub async fn ask_redis(&self, id: SessionId) -> Option<bool> {
        let started = Instant::now();
        let denied = self.look_up(id).await?;
        histogram!(metrics::DENYLIST_LOOKUP, "source" => "redis").record(started.elapsed());
        Some(denied)
    }

    /// Returns whether the session is revoked, expired or nonexistent according to PostgreSQL.
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
                // An outage was already logged when the breaker opened.
                if self.distrust() && !failure.is_outage() {
                    tracing::warn!(event = "denylist_lookup_failed", error = %failure, "denylist lookup failed in Redis; reading PostgreSQL instead");
                }
                None
            }
        }
    }

    /// Adds sessions whose revocation has been committed to the list. If Redis does not accept the
    /// write, the list is incomplete. As soon as Redis responds again, every process reads
    /// PostgreSQL instead, until the list is complete again.
    pub async fn deny(&self, ids: &[SessionId]) {
        if let Err(failure) = self.try_deny(ids).await {
            tracing::warn!(event = "denylist_write_failed", sessions = ids.len(), error = %failure, "revoked sessions not yet written to the denylist in Redis");
            self.doubt();
        }
    }

    /// Adds sessions to the list like [`Self::deny`], but if Redis does not accept the write, only
    /// returns the error.
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

    /// Records that a revoked session may be missing from the list. The marker is deleted as soon
    /// as Redis responds. From then on, every process reads PostgreSQL until the list is complete.
    pub fn doubt(&self) {
        self.missed.fetch_add(1, Ordering::SeqCst);
        self.distrust();
    }

    fn push_denial(&self, pipeline: &mut Pipeline, id: SessionId) {
        pipeline.cmd("SET").arg(self.key(id)).arg(1).arg("EX").arg(self.window.as_secs()).ignore();
    }

    /// Stops trusting the list and requests a rebuild. Returns whether the list was trusted before.
    fn distrust(&self) -> bool {
        let was_trusted = self.trusted.swap(0, Ordering::SeqCst) != 0;
        self.wake.notify_one();
        was_trusted
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

/// The state of Redis in the `/readyz` response.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `complete` while lookups use Redis, or `rebuilding` while they use PostgreSQL.
    denylist: &'static str,
    /// The `maxmemory-policy` of Redis, or the reason why it could not be read.
    maxmemory_policy: String,
    /// What the operator should change.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

impl Denylist {
    /// Returns the state of the list, and whether Redis may evict its entries.
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
            "Redis may evict denied sessions when it is full; set maxmemory-policy to noeviction",
        );
        Report { denylist, maxmemory_policy, warning }
    }
}
