//! The progress bar of `run`: on standard error, and only where that is a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;

use crate::sweep::Progress;

/// How often it moves by itself, so that a long chunk does not look like a hang.
const TICK: Duration = Duration::from_millis(100);

const KNOWN: &str = "{spinner} {msg:20} [{bar:30}] {human_pos} of {human_len} rows, {per_sec}, {eta} left";
const UNKNOWN: &str = "{spinner} {msg:20} {human_pos} rows, {per_sec}, {elapsed}";

/// A bar; hidden where nobody would see it.
#[must_use]
pub fn new() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
}

/// Shows a run until its sender is gone.
pub async fn follow(bar: ProgressBar, mut progress: watch::Receiver<Progress>) {
    bar.enable_steady_tick(TICK);
    while progress.changed().await.is_ok() {
        let now = progress.borrow_and_update().clone();
        // More than was counted: the count stopped at its cap, or rows fell due meanwhile.
        let known = !now.due_capped && now.due >= now.deleted;
        if known && bar.length() != Some(now.due) {
            bar.set_length(now.due);
            set_style(&bar, KNOWN);
        } else if !known && bar.length().is_some() {
            bar.unset_length();
            set_style(&bar, UNKNOWN);
        }
        bar.set_message(now.target);
        bar.set_position(now.deleted);
    }
    bar.finish_and_clear();
}

fn set_style(bar: &ProgressBar, template: &str) {
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.set_style(style),
        Err(error) => tracing::debug!(%error, "the progress bar keeps its style"),
    }
}
