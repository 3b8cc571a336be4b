//! The time by which things expire: the database's, carried forward by this machine's monotonic
//! clock.
//!
//! A host whose wall clock is an hour wrong must not accept what has expired or refuse what has
//! not. So the wall clock is not asked; until the database has been heard once, there is no time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, Utc};

/// The database's time, as last heard, moved on by the time since.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The database's time when `started` was, in microseconds since 1970; [`UNKNOWN`] until it
    /// has been heard.
    origin: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

impl Clock {
    /// Does not know the time until the first [`sync`](Self::sync).
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), origin: AtomicI64::new(UNKNOWN) }
    }

    /// Now, if the database has been heard.
    #[must_use]
    pub fn now(&self) -> Option<DateTime<Utc>> {
        let origin = self.origin.load(Ordering::Relaxed);
        if origin == UNKNOWN {
            return None;
        }
        DateTime::from_timestamp_micros(origin.saturating_add(self.elapsed()))
    }

    /// Takes over what the database has just said.
    pub fn sync(&self, database_now: DateTime<Utc>) {
        self.origin.store(
            database_now.timestamp_micros().saturating_sub(self.elapsed()),
            Ordering::Relaxed,
        );
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

/// This host's wall clock: for the names of files, which people read.
#[must_use]
pub fn host_now() -> DateTime<Utc> {
    Utc::now()
}
