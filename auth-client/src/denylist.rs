use std::sync::Mutex;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::sync::Mutex as AsyncMutex;
use uuid::Uuid;

use crate::{Asking, Error, SessionSource, SessionState};

/// Time limit of a lookup. It is far longer than a lookup takes (0.1 ms) and far shorter than a
/// delay that a user notices. The value is the same as in auth-api.
const TIMEOUT: Duration = Duration::from_millis(50);
/// After a lookup has failed or timed out, the next requests skip Redis for this long. If Redis
/// hangs, only a few requests therefore wait for the timeout.
const REST: Duration = Duration::from_secs(1);
/// The time limit for establishing a connection. A connection that takes longer will probably not
/// be established at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A reader for the denylist of revoked sessions that auth-api keeps in Redis. A lookup takes about
/// 0.1 ms. Introspection requires a request to auth-api instead.
///
/// auth-api writes a marker to Redis while its denylist is complete. A session counts as not
/// revoked only if the session is not in the denylist and the same Redis command also found the
/// marker. If neither the session nor the marker is found, auth-api is queried. If auth-api is
/// unavailable, the token is not accepted.
///
/// # Limitations
///
/// auth-api trusts the denylist only on a connection to Redis over which it has written the whole
/// list itself. Other services cannot do this. In the following cases, a service that uses this
/// denylist may therefore accept a revoked session for some time, although auth-api itself rejects
/// it:
///
/// - **Redis is restored from an older dump, or fails over to a lagging replica**, and the older
///   data contains the marker. The gap lasts until auth-api has rewritten the list, which it does
///   as soon as it detects the change. If no auth-api is running, the gap lasts until the marker
///   expires, after three times `DENYLIST_SYNC_INTERVAL` (90 seconds by default).
/// - **auth-api cannot reach Redis**, but this service can. The gap lasts until the marker expires.
/// - **`ACCESS_TOKEN_TTL` was decreased**: a token that was issued before the change may be valid
///   for longer than its session is in the denylist.
///
/// Introspection has none of these gaps and is therefore the default. Use this denylist where
/// introspection is too expensive.
///
/// One more gap exists in auth-api itself, too. If a process of auth-api ends after it has
/// committed a revocation but before it has written the revocation to Redis, other processes detect
/// the revocation only at the next rebuild of the denylist, within `DENYLIST_SYNC_INTERVAL`.
pub struct Denylist {
    client: Client,
    prefix: String,
    connection: AsyncMutex<Option<MultiplexedConnection>>,
    rests_until: Mutex<Option<Instant>>,
}

impl Denylist {
    /// Creates a denylist. `url` is the URL of auth-api's Redis, `REDIS_URL`. The user in the URL
    /// only needs permission to run `MGET` on keys that begin with the prefix. `prefix` is the
    /// `REDIS_PREFIX` that `auth-api config` prints, with or without the braces of its Redis hash
    /// tag (`{…}`). The denylist connects to Redis on the first lookup.
    pub fn new(url: &str, prefix: &str) -> Result<Self, Error> {
        let bare =
            prefix.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(prefix);
        if bare.is_empty() || bare.contains(['{', '}']) {
            return Err(Error::setting(
                "REDIS_PREFIX",
                "must be the REDIS_PREFIX of auth-api, which `auth-api config` prints",
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

    /// Returns the connection, which all lookups share.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok(connection.clone());
        }
        // Each lookup has its own time limit, so the connection does not need one.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(slot.insert(connection).clone())
    }

    async fn disconnect(&self, reason: &str) {
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
                Ok(Ok(state)) => return state,
                Ok(Err(error)) => self.disconnect(&error.to_string()).await,
                Err(_) => self.disconnect("timed out").await,
            }
            SessionState::Unknown
        })
    }
}
