//! A fixed rate, whatever answers take: a slow one makes the next one late, and that counts.

use std::ops::Range;
use std::time::{Duration, Instant};

/// When one caller of several is to begin, for as long as they call.
pub(super) struct Pace {
    due: Instant,
    every: Duration,
    end: Instant,
}

/// What one call took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) since: Instant,
    /// Infinite where there was no answer.
    pub(super) milliseconds: f64,
}

impl Pace {
    /// For one of `of` callers who make `rate` calls a second together, one after the other.
    pub(super) fn share(time: Range<Instant>, rate: u32, which: u32, of: u32) -> Self {
        let apart = Duration::from_secs(1) / rate;
        Self { due: time.start + apart * which, every: apart * of, end: time.end }
    }

    /// Waits until the next call is due. Its time counts from now; where the call before took
    /// longer than that, from when it was due. `None`: it is over.
    pub(super) async fn next(&mut self) -> Option<Instant> {
        let due = self.due;
        self.due += self.every;
        if due >= self.end {
            return None;
        }
        if due <= Instant::now() {
            return Some(due);
        }
        tokio::time::sleep_until(due.into()).await;
        Some(Instant::now())
    }
}

impl Taken {
    /// Until now.
    pub(super) fn since(since: Instant) -> Self {
        Self { since, milliseconds: since.elapsed().as_secs_f64() * 1e3 }
    }

    /// For ever.
    pub(super) fn never(since: Instant) -> Self {
        Self { since, milliseconds: f64::INFINITY }
    }
}
