//! The conditions under which a run must end: a shutdown was requested, or the maximum runtime is
//! over.
//!
//! A run checks this between two statements. A statement may take longer than the time that a
//! service manager allows for a shutdown, so [`Deadline`](crate::connection::deadline::Deadline)
//! also cancels statements.

use std::time::{Duration, Instant};

use crate::stop::{Signal, Stop};

/// How long a chunk (the transaction that deletes rows) may continue after a shutdown request or
/// the end of the maximum runtime. After this time, the server is requested to cancel the
/// statement, which rolls the chunk back.
const CHUNK: Duration = Duration::from_secs(7);

/// How long a run may take, after its maximum runtime is over, to connect and to count the
/// remaining rows. The report of the run justifies this delay. After a shutdown request, the run
/// neither connects nor counts.
const REPORT: Duration = Duration::from_secs(5);

/// How long a statement may continue after a shutdown request or the end of the maximum runtime if
/// it does not respond to the cancellation. After this time, the connection is closed.
const CLOSE: Duration = Duration::from_secs(9);

/// How long the end of the run may be recorded after a shutdown request or the end of the maximum
/// runtime. After `RECORD`, the statement is canceled; after `RECORD_CLOSE`, the connection is
/// closed.
const RECORD: Duration = Duration::from_millis(9_300);
const RECORD_CLOSE: Duration = Duration::from_millis(9_600);

/// The minimum time for recording the end of the run. It applies even if the times above have
/// already passed.
const RECORD_LEAST: Duration = Duration::from_millis(200);

/// The sources of the request to end a run.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    stop: Stop,
    /// The maximum runtime, and when it is over.
    runtime: Option<(Duration, Instant)>,
}

/// Why a run must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The process received a signal.
    Signal(Signal),
    /// The maximum runtime is over.
    Runtime(Duration),
}

/// The purpose of the statements on a connection. It determines how long they may continue after
/// the run must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They delete rows, or find the rows to delete.
    Delete,
    /// They prepare the work: they read the catalog, count rows or check throttles.
    Prepare,
    /// They open the connections of the run, or count the rows that the run has left.
    Report,
    /// They record the end of the run and release its locks.
    Record,
}

impl Interrupt {
    pub(crate) fn new(stop: Stop, runtime: Option<Duration>, began: Instant) -> Self {
        let runtime = runtime.and_then(|runtime| Some((runtime, began.checked_add(runtime)?)));
        Self { stop, runtime }
    }

    /// Returns a value that never requests the end of a run.
    pub(crate) fn never() -> Self {
        Self { stop: Stop::never(), runtime: None }
    }

    /// Returns why the run must end now, if it must.
    pub(crate) fn reason(&self) -> Option<Interrupted> {
        if let Some(signal) = self.stop.requested() {
            return Some(Interrupted::Signal(signal));
        }
        let (runtime, end) = self.runtime?;
        (Instant::now() >= end).then_some(Interrupted::Runtime(runtime))
    }

    /// Returns `true` if statements for `purpose` should no longer be sent.
    pub(crate) fn is_over(&self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Delete | Purpose::Prepare => self.reason().is_some(),
            Purpose::Report => {
                let now = Instant::now();
                self.stop.requested().is_some()
                    || self.runtime.is_some_and(|(_, end)| now >= end + REPORT)
            }
            Purpose::Record => false,
        }
    }

    /// Waits until the run must end, and returns the reason.
    pub(crate) async fn wait(&self) -> Interrupted {
        loop {
            if let Some(reason) = self.reason() {
                return reason;
            }
            self.after(Duration::ZERO, Duration::ZERO).await;
        }
    }

    /// Waits until a statement for `purpose` must be canceled.
    pub(crate) async fn cancel(&self, purpose: Purpose) {
        match purpose {
            Purpose::Delete => self.after(CHUNK, CHUNK).await,
            Purpose::Prepare => self.after(Duration::ZERO, Duration::ZERO).await,
            Purpose::Report => self.after(Duration::ZERO, REPORT).await,
            Purpose::Record => {
                tokio::join!(self.after(RECORD, RECORD), tokio::time::sleep(RECORD_LEAST));
            }
        }
    }

    /// Waits until a connection that executes a statement for `purpose` must be closed.
    pub(crate) async fn close(&self, purpose: Purpose) {
        if purpose == Purpose::Record {
            let least = tokio::time::sleep(RECORD_LEAST * 2);
            tokio::join!(self.after(RECORD_CLOSE, RECORD_CLOSE), least);
        } else {
            self.after(CLOSE, CLOSE).await;
        }
    }

    /// Waits until `signal` has passed since a shutdown request, or until `runtime` has passed
    /// since the end of the maximum runtime.
    async fn after(&self, signal: Duration, runtime: Duration) {
        let stopped = async {
            self.stop.wait().await;
            let passed = self.stop.requested_at().map_or(Duration::ZERO, |at| at.elapsed());
            tokio::time::sleep(signal.saturating_sub(passed)).await;
        };
        let over = async {
            match self.runtime {
                Some((_, end)) => tokio::time::sleep_until((end + runtime).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped => {}
            () = over => {}
        }
    }
}
