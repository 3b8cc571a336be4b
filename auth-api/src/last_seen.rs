//! The last-seen times of cookie sessions. They are not written during a request, but by a separate
//! task.
//!
//! A request only puts its session into a bounded queue, at most once a minute, and one task writes
//! the queued sessions. If an update is dropped because the queue is full or the database is
//! unavailable, no request fails, and the next request of the session queues the update again.
//! Token sessions need no such updates: their last-seen time is the time of the last rotation.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::metrics::counter;
use schema::ids::SessionId;
use schema::sessions::Session;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::database::{Database, DatabaseError, timed};
use crate::metrics;

/// The minimum time between two updates of a session.
const PAUSE: Duration = Duration::from_mins(1);
/// Maximum number of queued sessions. A busy server queues about this many sessions in a second.
const QUEUE: usize = 4096;
/// The maximum number of sessions per statement.
const BATCH: usize = 256;

/// The queue of sessions whose last-seen time must be written.
pub struct LastSeenUpdates {
    queue: mpsc::Sender<SessionId>,
    receiver: Mutex<Option<mpsc::Receiver<SessionId>>>,
    waiting: Mutex<HashSet<SessionId>>,
}

impl Default for LastSeenUpdates {
    fn default() -> Self {
        Self::new()
    }
}

impl LastSeenUpdates {
    /// Creates an empty queue.
    #[must_use]
    pub fn new() -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        Self { queue, receiver: Mutex::new(Some(receiver)), waiting: Mutex::default() }
    }

    /// Queues a session that was used, unless its last-seen time is less than a minute old or it is
    /// already queued.
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

/// Writes queued updates until `stop` is canceled and the queue is empty.
pub async fn keep_up(updates: &LastSeenUpdates, database: &Database, stop: CancellationToken) {
    let receiver = updates.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut queue) = receiver else { return };
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            taken = queue.recv_many(&mut batch, BATCH) => if taken == 0 { return },
            () = stop.cancelled(), if !queue.is_closed() => {
                queue.close();
                continue;
            }
        }
        if let Err(error) = write(database, &batch).await {
            counter!(metrics::TOUCHES_DROPPED).increment(batch.len() as u64);
            tracing::warn!(event = "last_seen_update_failed", sessions = batch.len(), %error, "last-seen times not updated");
        }
        updates.written(&batch);
        batch.clear();
    }
}

async fn write(database: &Database, batch: &[SessionId]) -> Result<(), DatabaseError> {
    let mut connection = database.acquire().await?;
    let watch = connection.watch();
    timed(watch, "touch_sessions", Session::touch(&mut connection, batch.to_vec(), PAUSE)).await?;
    Ok(())
}
