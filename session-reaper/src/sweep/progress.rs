//! How far a run has come, for whoever watches: the progress bar, and the heartbeat of its row in the history.

/// A run under way. It is sent after each chunk.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// The target that is being worked on.
    pub target: String,
    /// Rows deleted so far, of all targets.
    pub deleted: u64,
    /// Rows that were due when the run began, of all targets that it works on.
    pub due: u64,
    /// There were more, and counting them was given up at a cap.
    pub due_capped: bool,
}
