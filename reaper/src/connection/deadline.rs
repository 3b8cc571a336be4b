//! Deadlines for a server that does not respond at all. The timeouts of the server
//! (`statement_timeout`, `lock_timeout`) end a statement that the server is executing, but have no
//! effect if the server or the network does not respond.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use pg::connect::Driver;

use crate::connection::statement_bounds::StatementBounds;
use crate::interrupt::{Interrupt, Purpose};
use crate::observe::Observer;

/// A margin for the round trip, and for a server that enforces its timeouts late.
const SLACK: Duration = Duration::from_secs(5);

/// The deadline for responses on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    driver: Driver,
    limit: Duration,
    interrupt: Interrupt,
    purpose: Purpose,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Deadline {
    pub(crate) fn new(
        driver: Driver,
        bounds: StatementBounds,
        (interrupt, purpose): (&Interrupt, Purpose),
        observer: Arc<dyn Observer>,
    ) -> Self {
        let limit = bounds.statement + bounds.lock + SLACK;
        Self { driver, limit, interrupt: interrupt.clone(), purpose, observer }
    }

    /// Sets the purpose of the following statements on the connection.
    pub(crate) fn set_purpose(&mut self, purpose: Purpose) {
        self.purpose = purpose;
    }

    /// Returns a deadline with the same limits for the connection that replaces the current one.
    pub(crate) fn replaced(&self, driver: Driver) -> Self {
        Self { driver, ..self.clone() }
    }

    /// Returns `true` if the run must end, so that no further statement should be sent.
    pub(crate) fn is_over(&self) -> bool {
        self.interrupt.is_over(self.purpose)
    }

    /// Runs `work`, which executes at most `statements` statements. If the deadline passes, the
    /// connection is closed, and `work` ends with the resulting error. If the run must end, the
    /// current statement is canceled after the time that its purpose allows.
    pub(crate) async fn with<T>(&self, statements: usize, work: impl Future<Output = T>) -> T {
        let limit = self.limit * u32::try_from(statements).unwrap_or(u32::MAX).max(1);
        let (mut work, mut late) = (pin!(work), pin!(tokio::time::sleep(limit)));
        let (mut cancel, mut close) =
            (pin!(self.interrupt.cancel(self.purpose)), pin!(self.interrupt.close(self.purpose)));
        let mut canceled = false;
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    self.observer.progressed();
                    return done;
                }
                () = &mut late => {
                    tracing::error!(
                        event = "server_timeout",
                        waited_s = limit.as_secs(),
                        "no response from the server; abandoning the connection"
                    );
                    break;
                }
                () = &mut close => {
                    tracing::warn!(
                        event = "statement_abandoned",
                        "the run must end, but the statement did not; closing the connection"
                    );
                    break;
                }
                () = &mut cancel, if !canceled => {
                    canceled = true;
                    tracing::info!(
                        event = "statement_canceled",
                        "the run must end; canceling the statement"
                    );
                    // The statement ends, or the connection is closed, whatever the result.
                    let driver = self.driver.clone();
                    tokio::spawn(async move { driver.cancel().await });
                }
            }
        }
        self.driver.abort();
        work.await
    }
}
