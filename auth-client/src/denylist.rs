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
/// If Redis hangs, one request waits for the timeout, and the others skip Redis for this long.
const REST: Duration = Duration::from_secs(1);
/// A connection that is not established in this time will probably not be established at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The revoked sessions in the denylist that auth-api keeps in Redis. A lookup takes about 0.1 ms,
/// while introspection requires a request.
///
/// A session counts as not revoked only if the same command also read the marker with which
/// auth-api declares its list complete. Otherwise, auth-api is queried, and if it is unavailable,
/// the token is not accepted.
///
/// # Limitations
///
/// auth-api trusts a connection to Redis only after it has written the list over that same
/// connection. Other services cannot do so. In the following cases, unlike auth-api itself, a
/// service that uses this denylist may accept a revoked session for some time:
///
/// - **Redis is restored from an older dump, or fails over to a lagging replica**, and the marker
///   is restored, too. The gap lasts until auth-api has rewritten the list. It does so a moment
///   after it has detected the change. If no auth-api is running, the gap lasts until the marker
///   expires, after three times `DENYLIST_SYNC_INTERVAL` (90 seconds by default).
/// - **auth-api cannot reach Redis**, but this service can. The gap lasts until the marker expires.
/// - **`ACCESS_TOKEN_TTL` was decreased**: tokens that were issued before the change outlive the
///   entries of their sessions in the denylist.
///
/// Introspection has none of these gaps and is therefore the default. Use this denylist where
/// introspection is too expensive. (One more gap also exists in auth-api itself: if one process
/// dies between committing a revocation and writing it to Redis, other processes notice the
/// revocation at the next rebuild, within `DENYLIST_SYNC_INTERVAL`.)
pub struct Denylist {
    client: Client,
    prefix: String,
    connection: AsyncMutex<Option<MultiplexedConnection>>,
    rests_until: Mutex<Option<Instant>>,
}

impl Denylist {
    /// Creates a denylist. `url` is the URL of auth-api's Redis, `REDIS_URL`. A Redis user that may
    /// run only `MGET`, and only on keys with this prefix, is sufficient. `prefix` is the
    /// `REDIS_PREFIX` that `auth-api config` prints, with or without the braces. The denylist
    /// connects to Redis on the first lookup.
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
        // Each lookup has its own time limit.
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
