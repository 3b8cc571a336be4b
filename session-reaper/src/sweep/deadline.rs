//! What bounds a wait for a server that does not answer at all. The server's own bounds
//! (`statement_timeout`, `lock_timeout`) end what it is at work on; they are no help when it, or
//! the network, has fallen silent.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::task::AbortHandle;

use super::statement_bounds::StatementBounds;
use crate::watchdog;

/// For the way there and back, and for a server that is slow to strike.
const SLACK: Duration = Duration::from_secs(5);

/// The patience with one connection.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    driver: AbortHandle,
    limit: Duration,
}

impl Deadline {
    pub(super) fn new(driver: AbortHandle, bounds: StatementBounds) -> Self {
        Self { driver, limit: bounds.statement + bounds.lock + SLACK }
    }

    /// Does `work`, which is so many statements at the most. When its time is over the connection
    /// is ended, and with it the work, by an error that says so.
    pub(super) async fn with<T>(&self, statements: usize, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let limit = self.limit * u32::try_from(statements).unwrap_or(u32::MAX).max(1);
        if let Ok(done) = tokio::time::timeout(limit, &mut work).await {
            watchdog::sign();
            return done;
        }
        tracing::error!(
            event = "server_timeout",
            waited_s = limit.as_secs(),
            "no response from the server; abandoning the connection"
        );
        self.driver.abort();
        work.await
    }
}
