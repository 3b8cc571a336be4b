//! The progress bar of `run`, drawn on standard error if that is a terminal.

use std::fmt::Write;
use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tokio::sync::watch;

use reaper::Progress;

/// How often the bar moves by itself, so that the program does not appear to hang during a long
/// transaction.
const TICK: Duration = Duration::from_millis(100);

const KNOWN: &str =
    "{spinner} {msg} [{bar:30}] {human_pos} of {human_len} rows, {rate}, {eta} left";
const UNKNOWN: &str = "{spinner} {msg} {human_pos} rows, {rate}, {elapsed}";

/// Creates a progress bar. It is hidden unless standard error is a terminal.
#[must_use]
pub fn new() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

/// Shows the progress of a run until the sender is dropped.
pub async fn follow(bar: ProgressBar, mut progress: watch::Receiver<Progress>) {
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        if now.waiting.is_none() && (now.target.is_empty() || (now.due == 0 && now.deleted == 0)) {
            // Either nothing has been counted yet, or there is nothing to show.
            continue;
        }
        // The count is too low if it stopped at its cap or if rows have become due since.
        let counted = now.due > 0 && !now.due_capped && now.due >= now.deleted;
        let length = counted.then_some(now.due);
        if bar.message().is_empty() || bar.length() != length {
            set_style(&bar, if length.is_some() { KNOWN } else { UNKNOWN });
            match length {
                Some(rows) => bar.set_length(rows),
                None => bar.unset_length(),
            }
            bar.enable_steady_tick(TICK);
        }
        bar.set_message(match now.waiting {
            Some(waiting) => format!("waiting for {}: {};", waiting.cause.as_str(), waiting.why),
            None => now.target,
        });
        bar.set_position(now.deleted);
    }
    bar.finish_and_clear();
}

fn set_style(bar: &ProgressBar, template: &str) {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.set_style(style.with_key("rate", rate)),
        Err(error) => {
            tracing::debug!(event = "progress_bar_style", %error, "progress bar style not applied");
        }
    }
}

fn rate(state: &ProgressState, out: &mut dyn Write) {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates; a rate is not negative"
    )]
    let rows = state.per_sec() as u64;
    let _ = write!(out, "{}/s", HumanCount(rows));
}
