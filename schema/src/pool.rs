//! A bounded pool of Diesel connections.

use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::bb8;
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, RecyclingMethod,
};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;

use pg::connect::{CONNECT_TIMEOUT, ConnectOptions};

/// A pool of connections to PostgreSQL.
pub type Pool = bb8::Pool<AsyncPgConnection>;
/// A connection that returns to its pool when it is dropped.
pub type PooledConnection<'a> = bb8::PooledConnection<'a, AsyncPgConnection>;
/// No connection was available within the checkout timeout: the pool was full, or the database was
/// unavailable.
pub type CheckoutError = bb8::RunError;

/// Size and timeouts of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions {
    /// Maximum number of connections.
    pub size: u32,
    /// How long a checkout waits before it fails.
    pub checkout_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
}

/// Creates a pool. The pool opens connections on demand, so this function succeeds even while the
/// database is unavailable.
///
/// When a connection is checked out, the server is not pinged, because a ping would add a round
/// trip (175 to 209 µs instead of 88 to 110 µs). A connection whose socket has closed is discarded
/// when it is returned or checked out.
#[must_use]
pub fn build(connect: ConnectOptions, options: PoolOptions) -> Pool {
    let mut manager = ManagerConfig::default();
    manager.recycling_method =
        RecyclingMethod::CustomFunction(Box::new(|connection: &mut AsyncPgConnection| {
            use diesel_async::pooled_connection::PoolableConnection as _;
            let broken = connection.is_broken();
            async move {
                if broken { Err(diesel::result::Error::BrokenTransactionManager) } else { Ok(()) }
            }
            .boxed()
        }));
    manager.custom_setup = Box::new(move |_url| {
        let connect = connect.clone();
        async move { self::connect(&connect).await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new_with_config("", manager);
    bb8::Pool::builder()
        .max_size(options.size)
        .connection_timeout(options.checkout_timeout)
        .idle_timeout(options.idle_timeout)
        .test_on_check_out(true)
        .error_sink(Box::new(LogErrors))
        .build_unchecked(manager)
}

/// Opens a connection outside any pool.
pub async fn connect(connect: &ConnectOptions) -> Result<AsyncPgConnection, ConnectionError> {
    let bad = |e: String| ConnectionError::BadConnection(e);
    let (client, connection) = connect.open().await.map_err(|e| bad(e.to_string()))?;
    let set_up = async {
        let mut made =
            AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
        made.batch_execute(connect.settings()).await.map_err(|e| bad(e.to_string()))?;
        Ok(made)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, set_up)
        .await
        .unwrap_or_else(|_| Err(bad("timed out".into())))
}

/// Logs connection errors. If opening a connection fails, bb8 retries until the checkout times out.
/// bb8 reports the reason for each failure only to this error sink.
#[derive(Debug, Clone, Copy)]
struct LogErrors;

impl ::bb8::ErrorSink<PoolError> for LogErrors {
    fn sink(&self, error: PoolError) {
        tracing::warn!(event = "database_connection_failed", %error, "database connection failed");
    }

    fn boxed_clone(&self) -> Box<dyn ::bb8::ErrorSink<PoolError>> {
        Box::new(*self)
    }
}
