use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use crate::{Asking, Error, SessionSource, SessionState};

/// Far above what a look-up takes (a tenth of a millisecond), far below what a user notices. As for
/// auth-api.
const TIMEOUT: Duration = Duration::from_millis(50);
/// A Redis that hangs costs one request the time-out, and the others of this time nothing.
const REST: Duration = Duration::from_secs(1);
/// A connection that is not there in this time will not be.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Which sessions were revoked, by the list that auth-api keeps in Redis: a look-up of a tenth of a
/// millisecond, where introspection is a request.
///
/// "Not revoked" is believed only when the marker by which auth-api says that its list is complete
/// was read in the same command. Otherwise auth-api is asked; where it cannot be, nobody is let in.
///
/// # What it does not cover
///
/// auth-api believes a connection to Redis only once it has written the list over that very
/// connection. Nobody can do so from outside, so this is for how long a revoked session may go on
/// here, and nowhere else:
///
/// - **Redis is restored from an older dump, or failed over to a replica that lags**, and the
///   marker came along: until auth-api has written the list again, which it does as soon as it
///   notices, a moment later; where no auth-api runs, until the marker expires, after three times
///   `DENYLIST_SYNC_INTERVAL` (90 seconds).
/// - **auth-api is cut off from Redis** and this service is not: until the marker expires.
/// - **`ACCESS_TOKEN_TTL` was lowered**: tokens of before live for longer than their sessions are
///   denied.
///
/// Introspection has none of these. So it is the default, and this is for where its cost is too
/// much. (What auth-api itself misses, this does, too: when one dies between committing a
/// revocation and writing it, others learn of it at the next rebuild, within
/// `DENYLIST_SYNC_INTERVAL`.)
pub struct Denylist {
    client: Client,
    prefix: String,
    connection: AsyncMutex<Option<MultiplexedConnection>>,
    rests_until: Mutex<Option<Instant>>,
}

impl Denylist {
    /// The Redis of auth-api (`REDIS_URL`; a user that may `MGET` these keys is enough) and the
    /// `REDIS_PREFIX` that `auth-api config` prints, with or without its braces. Connects when
    /// it is first asked.
    pub fn new(url: &str, prefix: &str) -> Result<Self, Error> {
        let bare =
            prefix.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(prefix);
        if bare.is_empty() || bare.contains(['{', '}']) {
            return Err(Error::setting(
                "REDIS_PREFIX",
                "must be the word that auth-api has, which `auth-api config` prints",
            ));
        }
        let client =
            Client::open(url).map_err(|error| Error::setting("REDIS_URL", error.to_string()))?;
        Ok(Self {
            client,
            prefix: format!("{{{bare}}}:deny"),
            connection: AsyncMutex::default(),
            rests_until: Mutex::default(),
        })
    }

    async fn look_up(&self, session_id: Uuid) -> Result<SessionState, RedisError> {
        let mut connection = self.connection().await?;
        let mut lookup = redis::cmd("MGET");
        lookup
            .arg(format!("{}:{session_id}", self.prefix))
            .arg(format!("{}:complete", self.prefix));
        let found: (Option<String>, Option<String>) = lookup.query_async(&mut connection).await?;
        Ok(match found {
            (Some(_), _) => SessionState::Revoked,
            (None, Some(_)) => SessionState::Active,
            (None, None) => SessionState::Unknown,
        })
    }

    /// The one connection, which all share.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        // Each look-up has a bound of its own.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(slot.insert(connection).clone())
    }

    async fn give_up(&self, reason: &str) {
        tracing::warn!(
            event = "denylist_unavailable",
            reason,
            "denylist in Redis unavailable; using introspection instead"
        );
        *self.connection.lock().await = None;
        *self.rest() = Some(Instant::now() + REST);
    }

    fn rest(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.rests_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl SessionSource for Denylist {
    fn ask(&self, session_id: Uuid) -> Asking<'_> {
        Box::pin(async move {
            if self.rest().is_some_and(|until| Instant::now() < until) {
                return SessionState::Unknown;
            }
            match tokio::time::timeout(TIMEOUT, self.look_up(session_id)).await {
                Ok(Ok(standing)) => return standing,
                Ok(Err(error)) => self.give_up(&error.to_string()).await,
                Err(_) => self.give_up("no answer in time").await,
            }
            SessionState::Unknown
        })
    }
}
