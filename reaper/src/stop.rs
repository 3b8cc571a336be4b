//! A shutdown request is a value that is passed as a parameter, and not global state. When a
//! shutdown is requested, a run ends after its current chunk (the transaction that deletes rows).

use std::time::Instant;

use tokio::sync::watch;

/// A signal that requests a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, for example from Ctrl-C.
    Interrupt,
    /// SIGTERM, for example from a service manager.
    Terminate,
}

impl Signal {
    /// Returns 128 plus the signal number, as shells do.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        })
    }
}

/// Receives a shutdown request. All clones receive the same request.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<(Signal, Instant)>>);

/// Requests a shutdown through all clones of a [`Stop`].
#[derive(Debug)]
pub struct Stopper(watch::Sender<Option<(Signal, Instant)>>);

impl Stopper {
    /// Requests the shutdown. Returns `false` if it was requested before.
    #[must_use]
    pub fn stop(&self, signal: Signal) -> bool {
        let mut first = false;
        self.0.send_modify(|requested| {
            first = requested.is_none();
            requested.get_or_insert((signal, Instant::now()));
        });
        first
    }
}

impl Stop {
    /// Creates a pair: the sender and the receiver of a shutdown request.
    #[must_use]
    pub fn new() -> (Stopper, Self) {
        let (requested, stop) = watch::channel(None);
        (Stopper(requested), Self(stop))
    }

    /// Returns a value that never requests a shutdown.
    #[must_use]
    pub fn never() -> Self {
        Self::new().1
    }

    /// Returns the signal, if a shutdown was requested.
    #[must_use]
    pub fn requested(&self) -> Option<Signal> {
        self.0.borrow().map(|(signal, _)| signal)
    }

    /// Returns when the shutdown was requested.
    pub(crate) fn requested_at(&self) -> Option<Instant> {
        self.0.borrow().map(|(_, time)| time)
    }

    /// Waits for a request.
    pub async fn wait(&self) -> Signal {
        let mut requested = self.0.clone();
        match requested.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some((signal, _))) => signal,
            // The sender was dropped, so nothing can request a shutdown.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
