//! SIGINT and SIGTERM. The first signal stops the program after the current chunk (the transaction
//! that deletes rows). The second signal stops the program immediately.

use reaper::{Signal, Stop};
use tokio::signal::unix::{SignalKind, signal};

/// Listens for SIGINT and SIGTERM. The second signal ends the process immediately, and the server
/// rolls back the open transaction.
pub fn stop_on_signals() -> std::io::Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stopper, stop) = Stop::new();
    tokio::spawn(async move {
        loop {
            let signal = tokio::select! {
                _ = interrupt.recv() => Signal::Interrupt,
                _ = terminate.recv() => Signal::Terminate,
            };
            if !stopper.stop(signal) {
                tracing::warn!(event = "shutdown_forced", %signal, "second signal received; stopping immediately");
                std::process::exit(signal.exit_code().into());
            }
            tracing::info!(event = "shutdown_started", %signal, "shutting down: finishing the current chunk");
        }
    });
    Ok(stop)
}
