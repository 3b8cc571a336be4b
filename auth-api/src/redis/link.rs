use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bb8_redis::bb8;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};

/// A multiplexed connection and its number. Connections are numbered from 1 in the order in which
/// they are made.
///
/// Whether the denylist (the list of revoked sessions in Redis) is trusted depends on this number.
/// The Redis server behind a new connection may not be the same as before (it may have been
/// restarted from an old dump or failed over), so trust does not carry over to a new connection.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) number: u64,
    broken: Arc<AtomicBool>,
}

impl Link {
    /// Marks the connection as broken, so that it is not used again.
    pub(super) fn mark_broken(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

/// Creates [`Link`]s for bb8. `bb8_redis::RedisConnectionManager` never detects that a connection
/// has ended (its `has_broken` always returns false), and its check at checkout costs a PING each
/// time. Here, the code that sees a command fail marks the link as broken.
pub(super) struct LinkManager {
    client: Client,
    made: AtomicU64,
}

impl LinkManager {
    pub(super) fn new(client: Client) -> Self {
        Self { client, made: AtomicU64::new(0) }
    }
}

/// The time limit for establishing a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl bb8::ManageConnection for LinkManager {
    type Connection = Link;
    type Error = RedisError;

    async fn connect(&self) -> Result<Link, RedisError> {
        // The caller sets a timeout for each command.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(None);
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(Link { connection, number, broken: Arc::default() })
    }

    async fn is_valid(&self, link: &mut Link) -> Result<(), RedisError> {
        if self.has_broken(link) {
            return Err((redis::ErrorKind::Io, "a command failed on this connection").into());
        }
        Ok(())
    }

    fn has_broken(&self, link: &mut Link) -> bool {
        link.broken.load(Ordering::SeqCst)
    }
}
