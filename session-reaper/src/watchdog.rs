//! Counts the steps of the daemon's loop, such as completed statements, so that a watchdog can
//! detect a loop that hangs. The count does not change while the loop hangs, for example in a
//! statement, or because the task of the loop is never woken.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reaper::{LONGEST_REST, StatementBounds};

/// Number of consecutive steps of a healthy run that may report no progress. A step is, for
/// example, a statement that takes its full timeout, the idle time after a statement, or the
/// closing of a connection that does not respond.
const SILENT_STEPS: u32 = 4;

/// The time that is added to the timeout of a statement for the network round trip.
const SLACK: Duration = Duration::from_secs(5);

static SIGNS: AtomicU64 = AtomicU64::new(0);

/// Records that the loop has made progress.
pub(crate) fn sign() {
    SIGNS.fetch_add(1, Ordering::Relaxed);
}

/// Returns how many times the loop has recorded progress.
pub(crate) fn signs() -> u64 {
    SIGNS.load(Ordering::Relaxed)
}

/// Returns the longest time in which a healthy loop may report no progress.
pub(crate) fn longest_silence(bounds: StatementBounds) -> Duration {
    ((bounds.statement + bounds.lock + SLACK) * SILENT_STEPS).max(2 * LONGEST_REST)
}

/// Determines whether the loop is alive, from repeated observations of its progress.
#[derive(Debug)]
pub(crate) struct Liveness {
    signs: u64,
    since: Instant,
}

impl Liveness {
    pub(crate) fn new(signs: u64, now: Instant) -> Self {
        Self { signs, since: now }
    }

    /// Returns `false` if the loop has made no progress for longer than `limit`.
    pub(crate) fn check(&mut self, signs: u64, now: Instant, limit: Duration) -> bool {
        if signs != self.signs {
            *self = Self::new(signs, now);
        }
        now.saturating_duration_since(self.since) <= limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_without_progress_is_alive_until_the_limit() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut liveness = Liveness::new(7, start);
        assert!(liveness.check(7, start + 120 * second, 120 * second));
        assert!(!liveness.check(7, start + 121 * second, 120 * second));
        // A single sign of progress is sufficient, even after a long time without any probe.
        assert!(liveness.check(8, start + 500 * second, 120 * second));
        assert!(liveness.check(8, start + 620 * second, 120 * second));
        assert!(!liveness.check(8, start + 621 * second, 120 * second));
    }
}
