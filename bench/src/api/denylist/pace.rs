//! Makes calls at a fixed rate that does not depend on response times. If a slow response delays
//! the next call, the delay counts as part of the time of the next call.

use std::ops::Range;
use std::time::{Duration, Instant};

/// The schedule of the calls that one caller makes; see [`Pace::share`].
pub(super) struct Pace {
    due: Instant,
    every: Duration,
    end: Instant,
}

/// The time that a call took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub(super) since: Instant,
    /// Infinite if there was no response.
    pub(super) milliseconds: f64,
}

impl Pace {
    /// Returns the schedule of one of `of` callers, which take turns and together make `rate` calls
    /// per second.
    pub(super) fn share(time: Range<Instant>, rate: u32, which: u32, of: u32) -> Self {
        let apart = Duration::from_secs(1) / rate;
        Self { due: time.start + apart * which, every: apart * of, end: time.end }
    }

    /// Waits until the next call is due and returns the current time. If the next call is already
    /// overdue, returns the time at which it was due. Returns `None` at the end of the schedule.
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
    /// Returns the time from `since` until now.
    pub(super) fn since(since: Instant) -> Self {
        Self { since, milliseconds: since.elapsed().as_secs_f64() * 1e3 }
    }

    /// Returns an infinite time.
    pub(super) fn never(since: Instant) -> Self {
        Self { since, milliseconds: f64::INFINITY }
    }
}
