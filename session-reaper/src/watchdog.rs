//! Counts the progress of the loop, for a watchdog. The count does not change while the loop hangs,
//! for example in a statement or because the task of the loop is never woken.

use std::sync::atomic::{AtomicU64, Ordering};

static SIGNS: AtomicU64 = AtomicU64::new(0);

/// Records that the loop has made progress.
pub(crate) fn sign() {
    SIGNS.fetch_add(1, Ordering::Relaxed);
}

/// Returns how often the loop has made progress.
pub(crate) fn signs() -> u64 {
    SIGNS.load(Ordering::Relaxed)
}
