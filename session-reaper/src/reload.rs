//! Reloads the configuration on SIGHUP. The limits on the speed of a run (`[pace]` and
//! `[throttle]`) apply from the next chunk (transaction), and the targets from the next run. If the
//! configuration is invalid, nothing changes.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{ConfigErrors, Overridden};
use reaper::{Limits, Sweep};

/// The settings of the runs, which a reload replaces.
pub type Sweeps = watch::Receiver<Arc<Sweep>>;

/// Listens for SIGHUP. `read` reads the configuration again.
pub fn on_hangup(
    mut sweep: Sweep,
    read: impl Fn() -> Result<(Sweep, Vec<Overridden>), ConfigErrors> + Send + 'static,
) -> std::io::Result<Sweeps> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (limits, reloads) = watch::channel(limits_of(&sweep));
    sweep.reloads = Some(reloads.clone());
    let first = sweep.clone();
    let (sender, sweeps) = watch::channel(Arc::new(sweep));
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            let (mut sweep, overridden) = match read() {
                Ok(read) => read,
                Err(error) => {
                    tracing::error!(
                        event = "configuration_reload_failed",
                        %error,
                        "configuration not reloaded; the previous one stays in effect"
                    );
                    continue;
                }
            };
            // The process stays the same.
            sweep.remembered.clone_from(&first.remembered);
            sweep.instance.clone_from(&first.instance);
            sweep.reloads = Some(reloads.clone());
            log_overridden(&overridden);
            tracing::info!(
                event = "configuration_reloaded",
                targets = sweep.targets.len(),
                "configuration reloaded"
            );
            limits.send_replace(limits_of(&sweep));
            sender.send_replace(Arc::new(sweep));
        }
    });
    Ok(sweeps)
}

/// Logs the settings in the file that a flag or a variable overrides.
pub fn log_overridden(overridden: &[Overridden]) {
    for Overridden { name, location } in overridden {
        tracing::warn!(
            event = "setting_overridden",
            location,
            name,
            "setting in the file has no effect: an environment variable or a flag overrides it"
        );
    }
}

fn limits_of(sweep: &Sweep) -> Limits {
    Limits { pace: sweep.pace, throttle: sweep.throttle.clone() }
}
