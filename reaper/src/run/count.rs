//! Counts due rows without deleting any, as a run does before it begins to delete.

use std::time::Instant;

use crate::backlog::START_CAP;
use crate::connection::Connections;
use crate::error::SweepError;
use crate::interrupt::{Interrupt, Purpose};
use crate::preflight::Finding;
use crate::run::Sweep;
use crate::stop::Stop;

impl Sweep {
    /// Counts the due rows of every target that is safe, and reports the counts to the observer.
    /// Deletes nothing, and takes no locks of targets. `stop` cancels the current statement.
    ///
    /// # Errors
    ///
    /// Fails if the database is unreachable, if the targets do not apply to it, or if `stop` was
    /// requested.
    pub async fn count_backlog(&self, stop: &Stop) -> Result<(), SweepError> {
        let interrupt = Interrupt::new(stop.clone(), None, Instant::now());
        let (connections, proof) = self.start(&interrupt).await?;
        let Connections { mut lock_connection, auxiliary, started_at, pooled, .. } = connections;
        if pooled {
            return Ok(());
        }
        lock_connection.deadline.set_purpose(Purpose::Prepare);
        let examined =
            self.examined(&lock_connection, &auxiliary, started_at, proof.as_ref()).await;
        for target_run in examined.map_err(|error| SweepError::lost(&error))? {
            if let Some(reason) = interrupt.reason() {
                return Err(reason.into());
            }
            // Without an index, counting would read the whole table.
            if target_run.findings.iter().any(Finding::is_unsafe) {
                self.observer.backlog_unknown(target_run.target);
            } else {
                target_run.backlog(&auxiliary, START_CAP).await;
            }
        }
        Ok(())
    }
}
