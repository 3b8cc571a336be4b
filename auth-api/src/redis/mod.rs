//! Redis, as all that use it share it: one connection, one prefix, a bound on every command, and a
//! breaker.
//!
//! A Redis that hangs must not cost more than it once did. The first command that waits in vain
//! opens the breaker, and from then on no request asks: the denylist is read from PostgreSQL,
//! limits are counted in process. What goes on asking is the denylist's rebuild, which nobody waits
//! for; the first answer that it gets closes the breaker.

mod link;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ::metrics::{counter, histogram};
use bb8_redis::bb8;
use redis::{FromRedisValue, Pipeline, RedisError};
use tokio::sync::Notify;

use crate::config::RedisConfig;
use crate::metrics;
use link::{Link, LinkManager};

/// What no request waits for may take longer: a busy machine is no reason to give a rebuild up.
const PATIENCE: u32 = 5;

/// Redis, which may be away, hang, or be another one than a moment ago.
pub struct Redis {
    pool: bb8::Pool<LinkManager>,
    prefix: String,
    timeout: Duration,
    /// Whether requests leave Redis alone.
    open: AtomicBool,
    opened: Notify,
}

/// An answer, with the number of the connection that it came over.
pub(crate) type Answer<T> = Result<(u64, T), RedisFailure>;

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RedisFailure {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("it was not asked, because it did not answer a moment ago")]
    BreakerOpen,
    #[error("an answer that makes no sense")]
    Nonsense,
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl RedisFailure {
    /// Whether it says something of the connection or of who is behind it, and not of one command.
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
    /// Connects when it is first used.
    #[must_use]
    pub fn new(config: &RedisConfig) -> Self {
        let pool = bb8::Pool::builder()
            // One connection, multiplexed: it is cloned out and given back at once. A second one
            // might end at another server after a failover, and what is known of the
            // one would be believed of the other.
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

    /// The key of this name. The prefix stands in the braces of a hash tag: all keys are in one
    /// slot of a cluster.
    pub(crate) fn key(&self, name: impl fmt::Display) -> String {
        format!("{}:{name}", self.prefix)
    }

    /// Asks on behalf of a request: within `REDIS_TIMEOUT`, and not at all while the breaker is
    /// open.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        name: &'static str,
        pipeline: &Pipeline,
    ) -> Answer<T> {
        if self.is_left_alone() {
            return Err(RedisFailure::BreakerOpen);
        }
        self.send(name, self.timeout, pipeline).await
    }

    /// Asks where no request waits: with more patience, and whether the breaker is open or not. An
    /// answer that a request would have waited for closes it, one that refuses, too.
    pub(crate) async fn bypass_breaker<T: FromRedisValue>(
        &self,
        name: &'static str,
        pipeline: &Pipeline,
    ) -> Answer<T> {
        let asked = Instant::now();
        let answer = self.send(name, self.timeout * PATIENCE, pipeline).await;
        let heard = answer
            .as_ref()
            .map_or_else(|failure| !failure.is_outage(), |_| asked.elapsed() <= self.timeout);
        if heard && self.open.swap(false, Ordering::SeqCst) {
            tracing::info!(event = "redis_recovered", "Redis is available again");
        }
        answer
    }

    /// Whether the breaker is open.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until the breaker has been opened since the last time.
    pub(crate) async fn outage(&self) {
        self.opened.notified().await;
    }

    /// Sends a pipeline within `patience`. A connection that did not answer is not used again; one
    /// that answered with an error (no right, out of memory) is.
    async fn send<T: FromRedisValue>(
        &self,
        name: &'static str,
        patience: Duration,
        pipeline: &Pipeline,
    ) -> Answer<T> {
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
        if failure.is_outage() {
            if let Some(link) = used {
                link.give_up();
            }
            self.break_off(&failure);
        }
        Err(failure)
    }

    fn break_off(&self, failure: &RedisFailure) {
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
