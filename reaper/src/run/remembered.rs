//! The state that a process keeps between its runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pass::paces::Paces;
use crate::pass::watermarks::Watermarks;

/// The state that is kept between the runs of a process. All clones share the same state.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    pub(crate) watermarks: Watermarks,
    pub(crate) paces: Paces,
    missing_history_logged: Arc<AtomicBool>,
}

impl Remembered {
    /// Returns whether to log that the history table is missing. Returns `true` only once.
    pub(crate) fn logs_missing_history(&self) -> bool {
        !self.missing_history_logged.swap(true, Ordering::Relaxed)
    }
}
