//! What the service manager is told, where one has asked for it (`sd_notify(3)`): that the daemon
//! is ready, what it does, that its loop is alive, and that it stops.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use sd_notify::NotifyState;
use tokio::sync::watch;

use crate::ops::Live;
use crate::stop::Stop;
use crate::summary::grouped;
use crate::sweep::{LONGEST_REST, Progress, StatementBounds};
use crate::watchdog;

/// People read the status; a run may go through a hundred chunks in a second.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

/// In a watchdog's time the loop is looked at so often: one look that comes late does no harm.
const LOOKS: u32 = 4;

/// Steps of a run that may be silent one after the other and still be well: a statement that takes
/// all of its time, the rest that it has earned, and a connection that is given up.
const SILENT_STEPS: u32 = 4;

/// For the way to the server and back, on top of what a statement may take.
const SLACK: Duration = Duration::from_secs(5);

/// The service manager that has started this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// It ends a process that gives no sign of life for so long.
    pub watchdog: Option<Duration>,
}

impl Supervisor {
    /// How often the loop has to wake up while it has nothing to do.
    #[must_use]
    pub fn wake_every(self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / LOOKS)
    }

    /// Says so when a slow statement would be taken for a hung process.
    pub fn warn_of_haste(self, bounds: StatementBounds) {
        let least = ((bounds.statement + bounds.lock + SLACK) * SILENT_STEPS).max(2 * LONGEST_REST);
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

/// Says that the daemon is ready, and what it does, until somebody asks it to stop; then that.
pub async fn tell(mut live: Live, stop: Stop) {
    let mut told = status(&live.progress.borrow_and_update(), *live.next.borrow_and_update());
    send(vec![NotifyState::Ready, NotifyState::Status(&told)]).await;
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
        if now != told {
            send(vec![NotifyState::Status(&now)]).await;
            told = now;
        }
        tokio::select! {
            () = tokio::time::sleep(AT_MOST_EVERY) => {}
            _ = stop.wait() => {}
        }
    }
    send(vec![
        NotifyState::Stopping,
        NotifyState::Status("stopping, after the chunk that is under way"),
    ])
    .await;
}

/// Feeds the watchdog for as long as the loop gives signs of life.
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

/// Beside the loop: the other end may be slow to read.
async fn send(states: Vec<NotifyState<'_>>) {
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    let sent = tokio::task::spawn_blocking(move || {
        let states: Vec<NotifyState> = lines.iter().map(|line| NotifyState::Custom(line)).collect();
        sd_notify::notify(&states)
    });
    if let Ok(Err(error)) = sent.await
        && !SAID.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(event = "notify_failed", %error, "service manager not notified");
    }
}

/// Whether it has been said that nobody listens.
static SAID: AtomicBool = AtomicBool::new(false);

/// One line. What others wrote into it cannot begin another.
fn status(progress: &Progress, next: Option<DateTime<Utc>>) -> String {
    let text = match (&progress.run, &progress.waiting, next) {
        (Some(_), Some(waiting), _) => {
            format!("waiting: {} ({})", waiting.cause.as_str(), waiting.why)
        }
        (Some(_), None, _) if progress.target.is_empty() => {
            "a run begins: looking at what is due".to_owned()
        }
        (Some(_), None, _) => {
            let target = progress.targets.iter().find(|target| target.target == progress.target);
            let rows = target.map_or(0, |target| target.deleted.iter().map(|(_, rows)| rows).sum());
            format!("deleting from {}: {} rows", progress.target, grouped(rows))
        }
        (None, _, Some(next)) => {
            format!(
                "waiting for the next run at {}",
                next.to_rfc3339_opts(SecondsFormat::Secs, true)
            )
        }
        (None, _, None) => "starting".to_owned(),
    };
    text.replace(char::is_control, " ")
}
