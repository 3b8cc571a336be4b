//! Work that is finished even if the request that started it is dropped.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Work that must be finished once it has started. If a client disconnects, actix drops the future
/// of the request, and all work in the future stops. A revocation could then be committed in
/// PostgreSQL without being added to the denylist in Redis. The work in this set continues in that
/// case. It runs on the main runtime, which drives the database connections, and a shutdown waits
/// for it.
pub struct Tasks {
    tracker: TaskTracker,
    runtime: Handle,
}

/// A task panicked or was aborted.
#[derive(Debug, thiserror::Error)]
#[error("the task of this request panicked or was aborted")]
pub struct CutOff;

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    /// Creates an empty set of tasks, which run on the current runtime.
    #[must_use]
    pub fn new() -> Self {
        Self { tracker: TaskTracker::new(), runtime: Handle::current() }
    }

    /// Runs `work` to completion, even if the caller is dropped.
    pub async fn finish<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, CutOff> {
        let work = tracing::Instrument::instrument(work, tracing::Span::current());
        self.tracker.spawn_on(work, &self.runtime).await.map_err(|_| CutOff)
    }

    /// Waits until all work has finished.
    pub async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
