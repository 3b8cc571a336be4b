//! The run's row in `reaper_runs`. History is a convenience: when it cannot be kept, that is said
//! once and the run goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use schema::connect::chain;
use schema::own::OwnTables;
use schema::runs::{self, NewRun, Outcome, RunId};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::auxiliary::AuxiliaryConnection;
use super::partial_report::{of_killed, partial_report};
use super::progress::Progress;

/// How often a run that makes progress says so: one small update in some seconds, beside the loop.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How often the end of a run is tried to be written, and how long to stand back in between.
pub(super) const END_TRIES: usize = 5;
const STAND_BACK: Duration = Duration::from_millis(200);

/// A run that has its row, with the task that keeps it fresh, and the lock that says that the run
/// is alive.
pub(super) struct History {
    run: NewRun,
    own: Arc<OwnTables>,
    /// The connection that writes the row and holds the lock.
    client: watch::Sender<Arc<Client>>,
    /// A pooler stands in between: a lock would stay behind with somebody else.
    pooled: bool,
    heartbeat: JoinHandle<()>,
}

impl History {
    /// Statements that [`History::begin`] and [`History::moved_to`] take at the most.
    pub(super) const STATEMENTS: usize = 6;

    /// Writes the row, if there is a table for it. First it closes those of runs that were killed.
    pub(super) async fn begin(
        auxiliary: &AuxiliaryConnection,
        run: &NewRun,
        pooled: bool,
        progress: watch::Receiver<Progress>,
    ) -> Option<Self> {
        let began = Instant::now();
        let AuxiliaryConnection { client, own, .. } = auxiliary;
        if let Err(error) = run.insert(client, own).await {
            not_kept(&error);
            return None;
        }
        let (sender, connection) = watch::channel(Arc::clone(client));
        let heartbeat =
            tokio::spawn(beat(connection, Arc::clone(own), run.id, pooled, began, progress));
        let history =
            Self { run: run.clone(), own: Arc::clone(own), client: sender, pooled, heartbeat };
        history.hold(client).await;
        close_killed(client, own).await;
        Some(history)
    }

    /// The run goes on with another connection: the heart beats there from now on, and the lock is
    /// taken there. The server may not have noticed yet that the old connection, which holds
    /// it, is gone; then the heartbeat alone says that the run is alive.
    pub(super) async fn moved_to(&self, client: &Arc<Client>) {
        self.client.send_replace(Arc::clone(client));
        self.hold(client).await;
    }

    /// Writes how it ended. A row without an end says that the run was killed, so a short lock on
    /// it is waited out.
    pub(super) async fn end(self, client: &Client, outcome: Outcome, report: &Value) {
        self.heartbeat.abort();
        for try_left in (0..END_TRIES).rev() {
            match runs::finish(client, &self.own, &self.run, outcome, report).await {
                Err(error)
                    if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && try_left > 0 =>
                {
                    tokio::time::sleep(STAND_BACK).await;
                }
                Err(error) => not_kept(&error),
                Ok(()) => break,
            }
        }
        if !self.pooled
            && let Err(error) = runs::let_go(client, self.run.id).await
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

/// Writes the end of runs that could not: it stands as the time of their last sign of life.
async fn close_killed(client: &Client, own: &OwnTables) {
    let killed = match runs::killed(client, own).await {
        Ok(killed) => killed,
        Err(error) => {
            return tracing::debug!(
                event = "interrupted_runs_unknown",
                error = chain(&error),
                "interrupted runs not searched for"
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

/// Keeps the row up to date as long as chunks come to their end, or the run looks whether it may go
/// on: a loop that hangs is not to look alive.
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
        // Where the lock could not be taken at once, because the server had not noticed yet that an
        // old connection is gone.
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

/// Whether it has been said that there is no table: a daemon need not say so at each tick.
static SAID: AtomicBool = AtomicBool::new(false);

fn not_kept(error: &Error) {
    if runs::is_absent(error) {
        if SAID.swap(true, Ordering::Relaxed) {
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
