//! Counts the due rows (the backlog) when a daemon starts, so that the metrics and the status page
//! show their number before the first run.

use std::time::Duration;

use tokio::task::JoinHandle;

use reaper::{Signal, Stop, Stopper, Sweep};

/// The interval between two attempts to count while the database is unreachable.
const RETRY_EVERY: Duration = Duration::from_secs(30);

/// A count of the due rows that runs in the background. The first run cancels it, because a run
/// makes its own count.
pub(super) struct FirstCount {
    stopper: Stopper,
    task: JoinHandle<()>,
}

impl FirstCount {
    pub(super) fn start(sweep: &Sweep) -> Self {
        let (stopper, stop) = Stop::new();
        Self { stopper, task: tokio::spawn(count(sweep.clone(), stop)) }
    }

    /// Cancels the statement of the count. Does nothing if the count has ended.
    pub(super) fn abandon(&self) {
        let _ = self.stopper.stop(Signal::Terminate);
    }

    /// Cancels the count and waits for its end.
    pub(super) async fn end(self) {
        self.abandon();
        let _ = self.task.await;
    }
}

async fn count(sweep: Sweep, stop: Stop) {
    // Boxed because the statements of a count make this future large.
    while let Err(error) = Box::pin(sweep.count_backlog(&stop)).await {
        if stop.requested().is_some() {
            return;
        }
        tracing::debug!(event = "backlog_not_counted", %error, "backlog not counted");
        tokio::select! {
            () = tokio::time::sleep(RETRY_EVERY) => {}
            _ = stop.wait() => return,
        }
    }
}
