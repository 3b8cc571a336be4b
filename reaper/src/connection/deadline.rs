//! Deadlines for a server that does not respond at all. The timeouts of the server
//! (`statement_timeout`, `lock_timeout`) end a statement that the server is executing, but have no
//! effect if the server or the network does not respond.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::connection::statement_bounds::StatementBounds;
use crate::observe::Observer;

/// A margin for the round trip, and for a server that enforces its timeouts late.
const SLACK: Duration = Duration::from_secs(5);

/// The deadline for responses on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    driver: AbortHandle,
    limit: Duration,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Deadline {
    pub(crate) fn new(
        driver: AbortHandle,
        bounds: StatementBounds,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { driver, limit: bounds.statement + bounds.lock + SLACK, observer }
    }

    /// Runs `work`, which executes at most `statements` statements. At the deadline, the connection
    /// is closed, and `work` ends with the resulting error.
    pub(crate) async fn with<T>(&self, statements: usize, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let limit = self.limit * u32::try_from(statements).unwrap_or(u32::MAX).max(1);
        if let Ok(done) = tokio::time::timeout(limit, &mut work).await {
            self.observer.progressed();
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
