//! Reports to a service manager that supports `sd_notify(3)`: when the daemon is ready, when it is
//! stopping, what it is doing, and that its loop is alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::ops::Live;
use crate::output::table::grouped;
use crate::watchdog;
use reaper::Stop;
use reaper::{Progress, StatementBounds};

/// Minimum interval between status messages. Without it, a run could send a hundred messages per
/// second, one for each chunk.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// The number of times that the loop is checked during one watchdog timeout. With several checks, a
/// single late check does not cause a timeout.
const LOOKS: u32 = 4;

/// The service manager that started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// The watchdog timeout. The service manager ends a process that has sent no watchdog
    /// notification for this long.
    pub watchdog: Option<Duration>,
}

impl Supervisor {
    /// Returns how often an idle loop must wake up.
    #[must_use]
    pub fn wake_every(self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / LOOKS)
    }

    /// Logs a warning if the watchdog timeout is shorter than the longest time in which a healthy
    /// run may report no progress.
    pub fn warn_if_too_short(self, bounds: StatementBounds) {
        let least = watchdog::longest_silence(bounds);
        if let Some(watchdog) = self.watchdog.filter(|watchdog| *watchdog < least) {
            let (watchdog_s, least_s) = (watchdog.as_secs_f64(), least.as_secs_f64());
            tracing::warn!(
                event = "watchdog_too_short",
                watchdog_s,
                least_s,
                "WatchdogSec is too short; systemd may kill the process during a slow statement"
            );
        }
    }
}

/// Notifies the service manager that the daemon is ready, then reports the daemon's status until a
/// signal stops the daemon, and finally notifies the service manager that the daemon is stopping.
pub async fn report(mut live: Live, stop: Stop) {
    let mut sent = status(&live.progress.borrow_and_update(), *live.next.borrow_and_update());
    send(vec![NotifyState::Ready, NotifyState::Status(&sent)]).await;
    loop {
        let over = async {
            tokio::select! {
                changed = live.progress.changed() => changed.is_err(),
                changed = live.next.changed() => changed.is_err(),
            }
        };
        let over = tokio::select! {
            over = over => over,
            _ = stop.wait() => true,
        };
        if over {
            break;
        }
        let now = status(&live.progress.borrow_and_update(), *live.next.borrow_and_update());
        if now != sent {
            send(vec![NotifyState::Status(&now)]).await;
            sent = now;
        }
        tokio::select! {
            () = tokio::time::sleep(AT_MOST_EVERY) => {}
            _ = stop.wait() => {}
        }
    }
    send(vec![NotifyState::Stopping, NotifyState::Status("stopping after the current chunk")])
        .await;
}

/// Sends watchdog notifications as long as the loop makes progress.
pub async fn feed(watchdog: Duration, mut progress: watch::Receiver<Progress>) {
    let mut seen = watchdog::signs();
    loop {
        tokio::time::sleep(watchdog / LOOKS).await;
        let signs = watchdog::signs();
        if signs != seen || progress.has_changed().unwrap_or(false) {
            seen = signs;
            progress.mark_unchanged();
            send(vec![NotifyState::Watchdog]).await;
        }
    }
}

/// Sends a message on a blocking thread, because the service manager may be slow to read it.
async fn send(states: Vec<NotifyState<'_>>) {
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    let sent = tokio::task::spawn_blocking(move || {
        let states: Vec<NotifyState> = lines.iter().map(|line| NotifyState::Custom(line)).collect();
        sd_notify::notify(&states)
    });
    if let Ok(Err(error)) = sent.await
        && !LOGGED.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(event = "notify_failed", %error, "service manager not notified");
    }
}

/// Whether a failed notification has been logged.
static LOGGED: AtomicBool = AtomicBool::new(false);

/// Returns the status message: one line without control characters.
fn status(progress: &Progress, next: Option<DateTime<Utc>>) -> String {
    let text = match (&progress.run, &progress.waiting, next) {
        (Some(_), Some(waiting), _) => {
            format!("waiting: {} ({})", waiting.cause.as_str(), waiting.why)
        }
        (Some(_), None, _) if progress.target.is_empty() => {
            "starting a run: counting due rows".to_owned()
        }
        (Some(_), None, _) => {
            let target = progress.targets.iter().find(|target| target.target == progress.target);
            let rows = target.map_or(0, |target| target.deleted.iter().map(|(_, rows)| rows).sum());
            format!("deleting from {}: {} rows", progress.target, grouped(rows))
        }
        (None, _, Some(next)) => {
            format!("waiting for the next run at {}", reaper::time::text(next))
        }
        (None, _, None) => "starting".to_owned(),
    };
    text.replace(char::is_control, " ")
}
