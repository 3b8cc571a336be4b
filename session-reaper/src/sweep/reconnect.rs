//! A run that lost the connection that held its lock, and goes on with another.

use super::auxiliary::AuxiliaryConnection;
use super::backoff;
use super::catalog::NAMED;
use super::connection::Connections;
use super::history::History;
use super::lock;
use super::run::{Sweep, take_locks};
use super::stop_reason::StopReason;
use super::target_run::TargetRun;
use super::worker::Worker;

/// How many connections in a row may be lost before a row goes: a row that ends its server process
/// each time is not to do so again and again.
const BARREN: u32 = 2;

impl Sweep {
    /// Makes the connections again, takes the locks again of what is not done yet. A target whose
    /// lock another reaper took meanwhile is that one's.
    pub(super) async fn reconnect(
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
            // A sign of life, for whoever watches over this run.
            worker.progress.send_modify(|_| {});
            match Connections::open(&self.connect, self.bounds, &self.names()).await {
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
            "{last} (after {} tries to make it again)",
            backoff::CONNECTION_TRIES
        )))
    }
}

impl Worker<'_> {
    /// The connection was lost. Why the target is given up, if it was not the first time, nor the
    /// second, since a row went.
    pub(super) fn is_to_blame(&mut self, why: &str) -> Option<String> {
        self.consecutive_losses += 1;
        if self.consecutive_losses <= BARREN {
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
    deadline.with(3, lock::let_go(client, &worker.gone)).await?;
    worker.gone.clear();
    // The statements go by names, the locks by oids: after a failover to another server, or a swap
    // of tables, they may be two tables, and another reaper at work on the one.
    for target_run in target_runs.iter_mut().filter(|target_run| target_run.is_to_be_worked_on()) {
        let Some(name) = target_run.table.as_ref().map(|table| table.name.to_string()) else {
            continue;
        };
        let asked = deadline.with(1, client.query_one(NAMED, &[&name])).await;
        let found: Option<u32> = asked.and_then(|row| row.try_get(0))?;
        if found != target_run.oid() {
            let why = format!(
                "{} is another table now than when this run began",
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
