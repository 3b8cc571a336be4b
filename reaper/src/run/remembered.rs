//! The state that a process keeps between its runs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pass::paces::Paces;
use crate::pass::watermarks::Watermarks;

/// The state that is kept between the runs of a process. All clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    pub(crate) watermarks: Watermarks,
    pub(crate) paces: Paces,
    missing_history_logged: Arc<AtomicBool>,
    keyless_logged: Arc<Mutex<HashSet<String>>>,
}

impl Remembered {
    /// Returns whether to log that the table of `target` has no key: `true` at the first call for a
    /// target, and `false` at all later calls.
    pub(crate) fn logs_keyless(&self, target: &str) -> bool {
        let mut logged = self.keyless_logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.insert(target.to_owned())
    }

    /// Returns whether to log that the history table is missing: `true` at the first call, and
    /// `false` at all later calls.
    pub(crate) fn logs_missing_history(&self) -> bool {
        !self.missing_history_logged.swap(true, Ordering::Relaxed)
    }
}
