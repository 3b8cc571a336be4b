//! The run's row in `reaper_runs`. The history is optional: if the history cannot be written, the
//! run logs the error and continues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::own_tables::OwnTables;
use crate::store::runs::{self, NewRun, RunId};
use pg::error_text::chain;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use crate::connection::auxiliary::AuxiliaryConnection;
use crate::report::partial_report::{of_killed, partial_report};
use crate::report::progress::Progress;
use crate::report::run_report::RunReport;
use crate::run::remembered::Remembered;

/// The shortest interval between two heartbeats of a run that makes progress. A heartbeat is a
/// small update of the run's row, which is made while rows are deleted.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// The number of attempts to write the end of a run. The next constant is the delay between them.
pub(crate) const END_TRIES: usize = 5;
const BACKOFF: Duration = Duration::from_millis(200);

/// The row of a run in the history, the task that updates the row, and the lock that shows that the
/// run is alive.
pub(crate) struct History {
    run: NewRun,
    own: Arc<OwnTables>,
    /// The connection that writes the row and holds the lock.
    client: watch::Sender<Arc<Client>>,
    /// Whether a pooler is between session-reaper and the server. If so, the lock is not taken,
    /// because it would remain in a server process that other clients use.
    pooled: bool,
    remembered: Remembered,
    heartbeat: JoinHandle<()>,
}

impl History {
    /// The highest number of statements that [`History::begin`] and [`History::moved_to`] execute.
    pub(crate) const STATEMENTS: usize = 6;

    /// Writes the row if the history table exists, and closes the rows of runs that were killed.
    pub(crate) async fn begin(
        auxiliary: &AuxiliaryConnection,
        run: &NewRun,
        pooled: bool,
        remembered: &Remembered,
        progress: watch::Receiver<Progress>,
    ) -> Option<Self> {
        let began = Instant::now();
        let AuxiliaryConnection { client, own, .. } = auxiliary;
        if let Err(error) = run.insert(client, own).await {
            not_kept(&error, remembered);
            return None;
        }
        let (sender, connection) = watch::channel(Arc::clone(client));
        let heartbeat =
            tokio::spawn(beat(connection, Arc::clone(own), run.id, pooled, began, progress));
        let history = Self {
            run: run.clone(),
            own: Arc::clone(own),
            client: sender,
            pooled,
            remembered: remembered.clone(),
            heartbeat,
        };
        history.hold(client).await;
        close_killed(client, own).await;
        Some(history)
    }

    /// Continues on another connection, which from now on writes the heartbeat and holds the lock.
    /// Until the server detects that the old connection is lost, the old connection still holds the
    /// lock, and only the heartbeat shows that the run is alive.
    pub(crate) async fn moved_to(&self, client: &Arc<Client>) {
        self.client.send_replace(Arc::clone(client));
        self.hold(client).await;
    }

    /// Writes the outcome of the run (how it ended). A row without an end would mean that the run
    /// was killed. Therefore, this method retries if another transaction locks the row for a short
    /// time.
    pub(crate) async fn end(self, client: &Client, report: &RunReport) {
        self.heartbeat.abort();
        for try_left in (0..END_TRIES).rev() {
            match runs::finish(client, &self.own, &self.run, report.outcome.as_str(), report).await
            {
                // The cancellation of an earlier statement may arrive late.
                Err(error) if try_left > 0 && is_temporary(&error) => {
                    tokio::time::sleep(BACKOFF).await;
                }
                Err(error) => {
                    not_kept(&error, &self.remembered);
                    break;
                }
                Ok(()) => break,
            }
        }
        if !self.pooled
            && let Err(error) = runs::release(client, self.run.id).await
        {
            tracing::debug!(
                event = "run_lock_not_released",
                error = chain(&error),
                "lock of this run not released; it ends with the connection"
            );
        }
    }

    async fn hold(&self, client: &Client) {
        if self.pooled {
            return;
        }
        match runs::hold(client, self.run.id).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!(
                event = "run_lock_held",
                "lock of this run held by a previous connection"
            ),
            Err(error) => {
                tracing::debug!(
                    event = "run_lock_failed",
                    error = chain(&error),
                    "lock of this run not acquired"
                );
            }
        }
    }
}

/// Closes the rows of runs that were killed. The end of such a run is the time of its last
/// heartbeat.
async fn close_killed(client: &Client, own: &OwnTables) {
    let killed = match runs::killed(client, own).await {
        Ok(killed) => killed,
        Err(error) => {
            return tracing::debug!(
                event = "interrupted_runs_unknown",
                error = chain(&error),
                "search for interrupted runs failed"
            );
        }
    };
    for run in killed {
        let report = of_killed(&run);
        match runs::close_killed(client, own, &run, &report).await {
            Ok(true) => tracing::warn!(
                event = "run_interrupted", killed_run_id = %run.id,
                instance = run.instance,
                last_seen = %run.heartbeat_at,
                "earlier run ended without a report; recorded as interrupted"),
            Ok(false) => {}
            Err(error) => tracing::debug!(
                event = "interrupted_run_not_closed",
                error = chain(&error),
                "interrupted run not recorded"
            ),
        }
    }
}

/// Updates the row regularly, but only as long as the run completes chunks (transactions that
/// delete rows) or checks its throttles. A run that hangs must not appear to be alive.
async fn beat(
    connection: watch::Receiver<Arc<Client>>,
    own: Arc<OwnTables>,
    id: RunId,
    pooled: bool,
    began: Instant,
    mut progress: watch::Receiver<Progress>,
) {
    loop {
        if progress.changed().await.is_err() {
            return;
        }
        let Some(report) = partial_report(&progress.borrow_and_update(), began.elapsed()) else {
            return;
        };
        let client = Arc::clone(&connection.borrow());
        // The lock may not have been available at once, because the server had not yet noticed that
        // an old connection was lost.
        if !pooled && !runs::is_held(&client, id).await.unwrap_or(true) {
            let _ = runs::hold(&client, id).await;
        }
        if let Err(error) = runs::touch(&client, &own, id, &report).await {
            tracing::debug!(
                event = "heartbeat_failed",
                error = chain(&error),
                "heartbeat not written"
            );
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

/// Returns `true` if the next attempt to write the row may succeed.
fn is_temporary(error: &Error) -> bool {
    error
        .code()
        .is_some_and(|code| [SqlState::LOCK_NOT_AVAILABLE, SqlState::QUERY_CANCELED].contains(code))
}

fn not_kept(error: &Error, remembered: &Remembered) {
    if runs::is_absent(error) {
        if !remembered.logs_missing_history() {
            return;
        }
        tracing::warn!(
            event = "history_table_missing",
            "no table reaper_runs; run history is not kept; create it with `session-reaper migrate`"
        );
    } else {
        tracing::warn!(
            event = "history_write_failed",
            error = chain(error),
            "run not recorded in the history"
        );
    }
}
