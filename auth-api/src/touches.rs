//! When a cookie session was last seen, and that it lives on for that: noted off the request's path.
//!
//! A request only puts the session into a bounded queue, at most once a minute; one task writes what has gathered there. That
//! a touch is given up, because the queue is full or the database is away, fails no request: the next one makes up for it.
//! A token session needs none of this: its last rotation says when it was seen.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::metrics::counter;
use schema::ids::SessionId;
use schema::sessions::Session;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::Lifetimes;
use crate::metrics;
use crate::state::{DatabaseError, State, timed};

/// Between two touches of a session.
const PAUSE: Duration = Duration::from_mins(1);
/// Sessions that wait to be touched, at the most: a second's worth of a busy server.
const QUEUE: usize = 4096;
/// Sessions in one statement.
const BATCH: usize = 256;

/// The queue's front.
pub struct Touches {
    queue: mpsc::Sender<Touch>,
    back: Mutex<Option<mpsc::Receiver<Touch>>>,
    waiting: Mutex<HashSet<SessionId>>,
    lifetimes: Lifetimes,
}

struct Touch {
    id: SessionId,
    /// It is worth a write of an index, too.
    extend: bool,
}

impl Touches {
    /// An empty queue.
    #[must_use]
    pub fn new(lifetimes: Lifetimes) -> Self {
        let (queue, back) = mpsc::channel(QUEUE);
        Self { queue, back: Mutex::new(Some(back)), waiting: Mutex::default(), lifetimes }
    }

    /// Notes that a session was used. When that makes it live on, how long from now.
    pub fn note(&self, session: &Session) -> Option<Duration> {
        let extended = self.extended(session);
        let seen = (session.now - session.last_seen_at).to_std().unwrap_or_default();
        if seen < PAUSE && extended.is_none() {
            return None;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains(&session.id) {
            return None;
        }
        if self.queue.try_send(Touch { id: session.id, extend: extended.is_some() }).is_err() {
            counter!(metrics::TOUCHES_DROPPED).increment(1);
            return None;
        }
        waiting.insert(session.id);
        extended
    }

    /// How long from now a session would live, if sliding its expiry is worth a write.
    fn extended(&self, session: &Session) -> Option<Duration> {
        // The configuration bounds both to years.
        let ttl = chrono::Duration::from_std(self.lifetimes.session).ok()?;
        let until = (session.now + ttl).min(session.absolute_expires_at);
        let won = (until - session.expires_at).to_std().ok()?;
        (!won.is_zero() && won >= self.lifetimes.extend_threshold)
            .then(|| (until - session.now).to_std().ok())
            .flatten()
    }

    fn written(&self, batch: &[Touch]) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for touch in batch {
            waiting.remove(&touch.id);
        }
    }
}

/// Writes touches until it is told to stop and the queue is empty.
pub async fn keep_up(state: &State, stop: CancellationToken) {
    let back = state.touches.back.lock().unwrap_or_else(PoisonError::into_inner).take();
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
            tracing::warn!(sessions = batch.len(), %error, "when sessions were last seen was not noted");
        }
        state.touches.written(&batch);
        batch.clear();
    }
}

async fn write(state: &State, batch: &[Touch]) -> Result<(), DatabaseError> {
    let mut connection = state.database.acquire().await?;
    let ids = batch.iter().map(|touch| touch.id).collect();
    timed(connection.watch(), "touch_sessions", Session::touch(&mut connection, ids, PAUSE)).await?;
    let Lifetimes { session: ttl, extend_threshold, .. } = state.lifetimes;
    let lives_on: Vec<_> = batch.iter().filter(|touch| touch.extend).map(|touch| touch.id).collect();
    if !lives_on.is_empty() {
        let watch = connection.watch();
        let extend = Session::extend_all(&mut connection, lives_on, ttl, extend_threshold);
        timed(watch, "extend_sessions", extend).await?;
    }
    Ok(())
}
