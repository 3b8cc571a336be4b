//! The time that determines which credentials have expired. It is the last time that the database
//! returned, plus the time that has passed since then on this machine's monotonic clock.
//!
//! A host whose wall clock is an hour off must not accept expired credentials or reject valid ones.
//! The wall clock is therefore not used, and the time is unknown until the database has returned it
//! once.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use chrono::{DateTime, Utc};

/// The time that the database last returned, advanced by the time that has passed since then.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    /// The database's time at `started`, in microseconds since 1970; [`UNKNOWN`] until the database
    /// has returned its time.
    origin: AtomicI64,
}

const UNKNOWN: i64 = i64::MIN;

/// The database has not returned its time yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("database time not yet synchronized")]
pub struct NotSynchronized;

impl Clock {
    /// Creates a clock whose time is unknown until the first [`sync`](Self::sync).
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now(), origin: AtomicI64::new(UNKNOWN) }
    }

    /// Returns the current time, or `None` before the first [`sync`](Self::sync).
    #[must_use]
    pub fn now(&self) -> Option<DateTime<Utc>> {
        let origin = self.origin.load(Ordering::Relaxed);
        if origin == UNKNOWN {
            return None;
        }
        DateTime::from_timestamp_micros(origin.saturating_add(self.elapsed()))
    }

    /// Sets the clock to the time that the database has just returned.
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

/// Returns this host's wall clock time. It is used only where its accuracy does not matter, such
/// as in file names and metrics.
#[must_use]
pub fn host_now() -> DateTime<Utc> {
    Utc::now()
}
