use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bb8_redis::bb8;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};

/// A multiplexed connection that knows how many came before it.
///
/// The number is what the denylist's trust hangs on: a Redis behind a new connection may be another
/// one than before (restarted from an old dump, failed over), so nothing that was believed of it
/// carries over.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    pub(super) number: u64,
    broken: Arc<AtomicBool>,
}

impl Link {
    /// It is not used again.
    pub(super) fn give_up(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }
}

/// Makes [`Link`]s for bb8. `bb8_redis::RedisConnectionManager` never notices that a connection has
/// ended (its `has_broken` is always false), and its check on checkout costs a PING each time; here
/// whoever saw a command fail says so.
pub(super) struct LinkManager {
    client: Client,
    made: AtomicU64,
}

impl LinkManager {
    pub(super) fn new(client: Client) -> Self {
        Self { client, made: AtomicU64::new(0) }
    }
}

/// A connection that is not there in this time will not be.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

impl bb8::ManageConnection for LinkManager {
    type Connection = Link;
    type Error = RedisError;

    async fn connect(&self) -> Result<Link, RedisError> {
        // Each command has a bound of its own, at the call.
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
