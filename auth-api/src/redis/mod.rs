//! Access to Redis, shared by everything that uses it: one connection, one key prefix, a timeout
//! for every command, and a circuit breaker.
//!
//! A Redis server that hangs must delay requests only once. The first command that times out opens
//! the breaker. While the breaker is open, requests do not contact Redis: the denylist is read from
//! PostgreSQL, and rate limits are counted in this process. Only the rebuild of the denylist, which
//! no request waits for, continues to contact Redis. The breaker closes when the rebuild receives a
//! response within `REDIS_TIMEOUT`.

mod link;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{counter, histogram};
use bb8_redis::bb8;
use redis::{Client, FromRedisValue, Pipeline, RedisError};
use tokio::sync::Notify;

use crate::metrics;
use link::{Link, LinkManager};

/// The factor by which `REDIS_TIMEOUT` is multiplied for commands that no request waits for, so
/// that a rebuild of the denylist does not fail when the machine is busy.
const BACKGROUND_FACTOR: u32 = 5;

/// The settings for Redis, including the timeout of every command.
#[derive(Clone)]
pub struct RedisConfig {
    /// The client, which contains the URL.
    pub client: Client,
    /// Prefix of all keys, without the braces of the hash tag.
    pub prefix: String,
    /// Timeout of a command.
    pub timeout: Duration,
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL may contain a password.
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Redis, which may be unavailable, hang, or be replaced by another server at any time.
pub struct Redis {
    pool: bb8::Pool<LinkManager>,
    prefix: String,
    timeout: Duration,
    /// `true` while the breaker is open. During this time, requests do not contact Redis.
    open: AtomicBool,
    /// Notified when the breaker opens.
    opened: Notify,
}

/// A response, with the number of the connection over which it arrived.
pub(crate) type Answer<T> = Result<(u64, T), RedisFailure>;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisFailure {
    #[error("no response within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("Redis not contacted, because it did not respond a moment ago")]
    BreakerOpen,
    #[error("unexpected response")]
    Nonsense,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl RedisFailure {
    /// Returns whether the failure concerns the connection or the server, and not just one command.
    pub(crate) fn is_outage(&self) -> bool {
        self.kind() != "other"
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Timeout(_) | Self::BreakerOpen => "timeout",
            Self::Redis(error) if error.is_timeout() => "timeout",
            Self::Redis(error) if error.is_io_error() || error.is_unrecoverable_error() => {
                "connection"
            }
            Self::Redis(_) | Self::Nonsense => "other",
        }
    }
}

impl Redis {
    /// Creates a client that connects when it is first used.
    #[must_use]
    pub fn new(config: &RedisConfig) -> Self {
        let pool = bb8::Pool::builder()
            // One connection, multiplexed: it is cloned and returned to the pool at once. After a
            // failover, a second connection might reach another server, and knowledge about one
            // server would be applied to the other.
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
            open: AtomicBool::new(false),
            opened: Notify::new(),
        }
    }

    /// Returns the key in Redis for this name. The prefix of the key is in braces, which makes it a
    /// hash tag: all keys are stored in the same slot of a Redis cluster.
    pub(crate) fn key(&self, name: impl fmt::Display) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Sends a command that a request waits for. The command times out after `REDIS_TIMEOUT`. While
    /// the breaker is open, the command is not sent and fails immediately.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        name: &'static str,
        pipeline: &Pipeline,
    ) -> Answer<T> {
        if self.is_breaker_open() {
            return Err(RedisFailure::BreakerOpen);
        }
        self.send(name, self.timeout, pipeline).await
    }

    /// Sends a command that no request waits for, even while the breaker is open. The timeout is
    /// longer than `REDIS_TIMEOUT`. A response within `REDIS_TIMEOUT`, or an error response, closes
    /// the breaker.
    pub(crate) async fn bypass_breaker<T: FromRedisValue>(
        &self,
        name: &'static str,
        pipeline: &Pipeline,
    ) -> Answer<T> {
        let started = Instant::now();
        let answer = self.send(name, self.timeout * BACKGROUND_FACTOR, pipeline).await;
        let recovered = answer
            .as_ref()
            .map_or_else(|failure| !failure.is_outage(), |_| started.elapsed() <= self.timeout);
        if recovered && self.open.swap(false, Ordering::SeqCst) {
            tracing::info!(event = "redis_recovered", "Redis is available again");
        }
        answer
    }

    /// Returns whether the breaker is open.
    pub(crate) fn is_breaker_open(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until the breaker opens. Returns at once if it has opened since the last call.
    pub(crate) async fn outage(&self) {
        self.opened.notified().await;
    }

    /// Sends a pipeline and waits up to `timeout` for the response. A connection that did not
    /// respond is not used again. A connection that returned an error (missing privilege, out of
    /// memory) is used again.
    async fn send<T: FromRedisValue>(
        &self,
        name: &'static str,
        timeout: Duration,
        pipeline: &Pipeline,
    ) -> Answer<T> {
        let started = Instant::now();
        let mut used = None;
        let sent = tokio::time::timeout(timeout, async {
            let link = self.link().await?;
            let mut connection = used.insert(link).connection.clone();
            Ok(pipeline.query_async(&mut connection).await?)
        })
        .await;
        histogram!(metrics::REDIS_COMMAND, "command" => name).record(started.elapsed());
        let failure = match sent {
            Ok(Ok(value)) => return Ok((used.map_or(0, |link| link.number), value)),
            Ok(Err(failure)) => failure,
            Err(_) => RedisFailure::Timeout(timeout),
        };
        counter!(metrics::DENYLIST_ERRORS, "kind" => failure.kind()).increment(1);
        if failure.is_outage() {
            if let Some(link) = used {
                link.mark_broken();
            }
            self.open_breaker(&failure);
        }
        Err(failure)
    }

    fn open_breaker(&self, failure: &RedisFailure) {
        if !self.open.swap(true, Ordering::SeqCst) {
            tracing::warn!(event = "redis_unavailable", error = %failure, "Redis unavailable; continuing without it");
            self.opened.notify_one();
        }
    }

    async fn link(&self) -> Result<Link, RedisFailure> {
        self.pool.get().await.map(|link| link.clone()).map_err(|error| match error {
            bb8::RunError::User(error) => RedisFailure::Redis(error),
            bb8::RunError::TimedOut => RedisFailure::Timeout(self.timeout),
        })
    }
}
