//! Being asked to stop, as a value that is passed down: the first signal ends the work after its
//! chunk, the second at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A signal that asks to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: a supervisor.
    Terminate,
}

impl Signal {
    /// 128 and the signal's number, as a shell would say it.
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

/// Whether somebody has asked to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<Option<Signal>>);

impl Stop {
    /// Listens for SIGINT and SIGTERM from now on. The second of them ends the process where it
    /// stands: what is under way on the server is rolled back.
    pub fn on_signals() -> std::io::Result<Self> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let (asked, stop) = watch::channel(None);
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    _ = interrupt.recv() => Signal::Interrupt,
                    _ = terminate.recv() => Signal::Terminate,
                };
                if asked.borrow().is_some() {
                    tracing::warn!(event = "shutdown_forced", %signal, "second signal received; stopping immediately");
                    std::process::exit(signal.exit_code().into());
                }
                tracing::info!(event = "shutdown_started", %signal, "shutting down: finishing the current chunk");
                asked.send_replace(Some(signal));
            }
        });
        Ok(Self(stop))
    }

    /// The signal that asked, if one has.
    #[must_use]
    pub fn requested(&self) -> Option<Signal> {
        *self.0.borrow()
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) -> Signal {
        let mut asked = self.0.clone();
        match asked.wait_for(Option::is_some).await.map(|signal| *signal) {
            Ok(Some(signal)) => signal,
            // Nobody is left who could ask.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
