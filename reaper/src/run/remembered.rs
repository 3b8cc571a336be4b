//! What a process remembers from its earlier runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pass::watermarks::Watermarks;

/// The state that is kept between the runs of a process. All clones share it.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    pub(crate) watermarks: Watermarks,
    missing_history_logged: Arc<AtomicBool>,
}

impl Remembered {
    /// Returns whether the missing table of the history is to be logged: once, not in each run.
    pub(crate) fn logs_missing_history(&self) -> bool {
        !self.missing_history_logged.swap(true, Ordering::Relaxed)
    }
}
