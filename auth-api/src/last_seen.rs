//! When a cookie session was last seen: noted off the request's path.
//!
//! A request only puts the session into a bounded queue, at most once a minute; one task writes
//! what has gathered there. That a touch is given up, because the queue is full or the database is
//! away, fails no request: the next one makes up for it. A token session needs none of this: its
//! last rotation says when it was seen.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::metrics::counter;
use schema::ids::SessionId;
use schema::sessions::Session;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::metrics;
use crate::state::{DatabaseError, State, timed};

/// Between two touches of a session.
const PAUSE: Duration = Duration::from_mins(1);
/// Sessions that wait to be touched, at the most: a second's worth of a busy server.
const QUEUE: usize = 4096;
/// Sessions in one statement.
const BATCH: usize = 256;

/// The queue's front.
pub struct LastSeenUpdates {
    queue: mpsc::Sender<SessionId>,
    back: Mutex<Option<mpsc::Receiver<SessionId>>>,
    waiting: Mutex<HashSet<SessionId>>,
}

impl Default for LastSeenUpdates {
    fn default() -> Self {
        Self::new()
    }
}

impl LastSeenUpdates {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        let (queue, back) = mpsc::channel(QUEUE);
        Self { queue, back: Mutex::new(Some(back)), waiting: Mutex::default() }
    }

    /// Notes that a session was used, unless that was noted a moment ago.
    pub fn note(&self, session: &Session) {
        if (session.now - session.last_seen_at).to_std().unwrap_or_default() < PAUSE {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains(&session.id) {
            return;
        }
        if self.queue.try_send(session.id).is_err() {
            counter!(metrics::TOUCHES_DROPPED).increment(1);
            return;
        }
        waiting.insert(session.id);
    }

    fn written(&self, batch: &[SessionId]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for id in batch {
            waiting.remove(id);
        }
    }
}

/// Writes touches until it is told to stop and the queue is empty.
pub async fn keep_up(state: &State, stop: CancellationToken) {
    let back = state.last_seen.back.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut queue) = back else { return };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = stop.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        }
        if let Err(error) = write(state, &batch).await {
            counter!(metrics::TOUCHES_DROPPED).increment(batch.len() as u64);
            tracing::warn!(event = "last_seen_update_failed", sessions = batch.len(), %error, "last-seen times not updated");
        }
        state.last_seen.written(&batch);
        batch.clear();
    }
}

async fn write(state: &State, batch: &[SessionId]) -> Result<(), DatabaseError> {
    let mut connection = state.database.acquire().await?;
    let watch = connection.watch();
    timed(watch, "touch_sessions", Session::touch(&mut connection, batch.to_vec(), PAUSE)).await?;
    Ok(())
}
