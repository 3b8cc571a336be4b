//! Signs of life of the loop, for a watchdog: one wherever it has come a step further. What is not
//! at work gives none, be it that it hangs in a statement, or that nobody wakes it up any more.

use std::sync::atomic::{AtomicU64, Ordering};

static SIGNS: AtomicU64 = AtomicU64::new(0);

/// The loop goes on.
pub(crate) fn sign() {
    SIGNS.fetch_add(1, Ordering::Relaxed);
}

/// How many there were.
pub(crate) fn signs() -> u64 {
    SIGNS.load(Ordering::Relaxed)
}
