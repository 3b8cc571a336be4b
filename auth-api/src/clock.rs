//! The time by which things expire: the database's, carried forward by this machine's monotonic clock.
//!
//! A host whose wall clock is an hour wrong must not accept what has expired or refuse what has not. So the wall clock is
//! read once, for the time before the database first answers, and never again.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, Utc};

/// The database's time, as last heard, moved on by the time since.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The database's time when `started` was, in microseconds since 1970.
    origin: AtomicI64,
}

impl Clock {
    /// Starts from this host's wall clock until the first [`sync`](Self::sync).
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), origin: AtomicI64::new(host_now().timestamp_micros()) }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let micros = self.origin.load(Ordering::Relaxed).saturating_add(self.elapsed());
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Takes over what the database has just said.
    pub fn sync(&self, database_now: DateTime<Utc>) {
        self.origin.store(database_now.timestamp_micros().saturating_sub(self.elapsed()), Ordering::Relaxed);
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// This host's wall clock: for names of files, and until the database has been heard.
#[must_use]
pub fn host_now() -> DateTime<Utc> {
    Utc::now()
}
