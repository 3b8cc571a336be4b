//! Shutdown signals, as a value that is passed down. The first signal stops the work after the
//! current chunk, the second one immediately.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A signal that requests a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: from a service manager.
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

/// Whether a shutdown has been requested.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Signal>>);

impl Stop {
    /// Listens for SIGINT and SIGTERM. The second signal ends the process immediately, and the
    /// server rolls back the open transaction.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (requested, stop) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if requested.borrow().is_some() {
                    tracing::warn!(event = "shutdown_forced", %signal, "second signal received; stopping immediately");
                    std::process::exit(signal.exit_code().into());
                }
                tracing::info!(event = "shutdown_started", %signal, "shutting down: finishing the current chunk");
                requested.send_replace(Some(signal));
            }
        });
        Ok(Self(stop))
    }

    /// Returns the first signal, if one was received.
    #[must_use]
    pub fn requested(&self) -> Option<Signal> {
        *self.0.borrow()
    }

    /// Waits for the first signal.
    pub async fn wait(&self) -> Signal {
        let mut requested = self.0.clone();
        match requested.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            // The sender is gone, so no signal can arrive.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
