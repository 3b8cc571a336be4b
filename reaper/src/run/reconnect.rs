//! How a run continues after it lost its lock connection.

use crate::connection::Connections;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::pass::backoff;
use crate::run::lock;
use crate::run::run_record::History;
use crate::run::target_run::TargetRun;
use crate::run::worker::Worker;
use crate::run::{Sweep, take_locks};
use crate::stop_reason::StopReason;
use crate::target::catalog::NAMED;

/// The maximum number of consecutive connections that may be lost without a deleted row in between.
/// Without this limit, a run would retry forever if the deletion of a certain row always terminates
/// the server process.
const MAX_LOSSES: u32 = 2;

impl Sweep {
    /// Reconnects, and reacquires the locks of all targets that are not completed. If another
    /// reaper took the lock of a target in the meantime, this run no longer processes the target.
    pub(crate) async fn reconnect(
        &self,
        worker: &mut Worker<'_>,
        auxiliary: &mut AuxiliaryConnection,
        target_runs: &mut [TargetRun<'_>],
        why: String,
    ) -> Result<(), StopReason> {
        target_runs.iter_mut().for_each(TargetRun::lost_its_lock);
        if !target_runs.iter().any(TargetRun::is_to_be_worked_on) {
            return Ok(());
        }
        let mut last = why;
        for (tries, retry) in (1_u32..).zip(backoff::of_a_connection()) {
            tracing::warn!(
                event = "lock_connection_lost",
                why = last,
                tries,
                "lock connection lost; reconnecting"
            );
            worker.sleep(retry).await;
            worker.is_over()?;
            // Reports progress to the watchdog.
            worker.progress.send_modify(|_| {});
            let opened = tokio::select! {
                opened = self.open(worker.interrupt) => opened,
                interrupted = worker.interrupt.wait() => return Err(interrupted.into()),
            };
            match opened {
                Ok(Connections { pooled: true, .. }) => return Err(StopReason::Pooler),
                Ok(Connections { lock_connection, auxiliary: another, .. }) => {
                    worker.gone.push(worker.connection.pid());
                    worker.connection = lock_connection;
                    worker.alone = false;
                    worker.watermarks.forget_all();
                    *auxiliary = another;
                    worker.throttle.moved_to(auxiliary);
                    if let Some(history) = worker.history {
                        auxiliary
                            .deadline
                            .with(History::STATEMENTS, history.moved_to(&auxiliary.client))
                            .await;
                    }
                    match relock(worker, target_runs).await {
                        Err(StopReason::ConnectionLost(why)) => last = why,
                        Ok(()) => {
                            tracing::warn!(event = "lock_reacquired", "lock reacquired; resuming");
                            return Ok(());
                        }
                        Err(reason) => return Err(reason),
                    }
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(StopReason::ConnectionLost(format!(
            "{last} (after {} attempts to reconnect)",
            backoff::CONNECTION_TRIES
        )))
    }
}

impl Worker<'_> {
    /// Records that the connection was lost. If more than [`MAX_LOSSES`] consecutive connections
    /// were lost without a deleted row in between, returns the reason to abandon the target.
    pub(crate) fn is_to_blame(&mut self, why: &str) -> Option<String> {
        self.consecutive_losses += 1;
        if self.consecutive_losses <= MAX_LOSSES {
            return None;
        }
        let times = std::mem::take(&mut self.consecutive_losses);
        let why = format!(
            "the connection that held the lock was lost {times} times in a row before a row went: {why}"
        );
        tracing::error!(event = "target_failed", why, "target failed");
        Some(why)
    }
}

async fn relock(
    worker: &mut Worker<'_>,
    target_runs: &mut [TargetRun<'_>],
) -> Result<(), StopReason> {
    let (client, deadline) = (&worker.connection.client, &worker.connection.deadline);
    deadline.with(3, lock::wait_for_release(client, &worker.gone)).await?;
    worker.gone.clear();
    // Statements identify tables by name, and locks identify them by oid. After a failover, or if a
    // table was replaced, the name and the oid may refer to different tables, and another reaper
    // may be processing the named table.
    for target_run in target_runs.iter_mut().filter(|target_run| target_run.is_to_be_worked_on()) {
        let Some(name) = target_run.table.as_ref().map(|table| table.name.to_string()) else {
            continue;
        };
        let asked = deadline.with(1, client.query_one(NAMED, &[&name])).await;
        let found: Option<u32> = asked.and_then(|row| row.try_get(0))?;
        if found != target_run.oid() {
            let why = format!(
                "{} is no longer the same table as at the start of this run",
                target_run.target.table.quoted()
            );
            tracing::error!(
                event = "target_failed",
                target_table = target_run.target.name,
                why,
                "target failed"
            );
            target_run.ended = Some(Err(StopReason::Failed(why)));
        }
    }
    match take_locks(worker, target_runs).await {
        Ok(()) => Ok(()),
        Err(StopReason::Pooler) => Err(StopReason::Pooler),
        Err(reason) => Err(StopReason::ConnectionLost(reason.to_string())),
    }
}
