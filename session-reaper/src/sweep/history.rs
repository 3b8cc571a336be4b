//! The run's row in `reaper_runs`. History is a convenience: when it cannot be kept, that is said once and the run goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use schema::connect::chain;
use schema::runs::{self, NewRun, Outcome, RunId};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::progress::Progress;

/// How often a run that makes progress says so: one small update in some seconds, beside the loop.
const HEARTBEAT: Duration = Duration::from_secs(3);

/// How often the end of a run is tried to be written, and how long to stand back in between.
pub(super) const END_TRIES: usize = 5;
const STAND_BACK: Duration = Duration::from_millis(200);

/// A run that has its row, with the task that keeps it fresh.
pub(super) struct History {
    id: RunId,
    heartbeat: JoinHandle<()>,
}

impl History {
    /// Writes the row, if there is a table for it.
    pub(super) async fn begin(client: &Arc<Client>, run: &NewRun, progress: watch::Receiver<Progress>) -> Option<Self> {
        if let Err(error) = run.insert(client).await {
            not_kept(&error);
            return None;
        }
        let heartbeat = tokio::spawn(beat(Arc::clone(client), run.id, progress));
        Some(Self { id: run.id, heartbeat })
    }

    /// Writes how it ended. A row without an end says that the run was killed, so a short lock on it is waited out.
    pub(super) async fn end(self, client: &Client, outcome: Outcome, report: &Value) {
        self.heartbeat.abort();
        for try_left in (0..END_TRIES).rev() {
            match runs::finish(client, self.id, outcome, report).await {
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && try_left > 0 => {
                    tokio::time::sleep(STAND_BACK).await;
                }
                Err(error) => return not_kept(&error),
                Ok(()) => return,
            }
        }
    }
}

/// Touches the row as long as chunks come to their end: a loop that hangs is not to look alive.
async fn beat(client: Arc<Client>, id: RunId, mut progress: watch::Receiver<Progress>) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        if progress.changed().await.is_err() {
            return;
        }
        if let Err(error) = runs::touch(&client, id).await {
            tracing::debug!(error = chain(&error), "the heartbeat was not written");
        }
    }
}

/// Whether it has been said that there is no table: a daemon need not say so at each tick.
static SAID: AtomicBool = AtomicBool::new(false);

fn not_kept(error: &Error) {
    if runs::is_absent(error) {
        if SAID.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!("there is no table reaper_runs: no history is kept; `session-reaper migrate` makes it");
    } else {
        tracing::warn!(error = chain(error), "this run is not in the history");
    }
}
