//! `run`: one run, its summary, its exit code.

use indicatif::ProgressBar;
use schema::runs::Trigger;
use tokio::sync::watch;

use super::print;
use crate::bar;
use crate::config::Output;
use crate::exit::Exit;
use crate::stop::Stop;
use crate::summary;
use crate::sweep::{Progress, Sweep};

/// Runs once and tells on standard output what that came to.
pub async fn run(sweep: &Sweep, output: Output, bar: ProgressBar, stop: &Stop) -> Exit {
    let (sender, progress) = watch::channel(Progress::default());
    let shown = tokio::spawn(bar::follow(bar, progress));
    let finished = sweep.run(Trigger::Manual, stop, &sender).await;
    drop(sender);
    // The bar is gone before anything else is printed.
    let _ = shown.await;
    match finished {
        Ok(finished) => {
            match output {
                Output::Text => print(&summary::text(&finished.report)),
                // From the report itself: a `Value` in between would sort its members.
                Output::Json => print(&format!("{}\n", serde_json::to_string(&finished.report).unwrap_or_default())),
            }
            finished.exit
        }
        Err(error) => {
            tracing::error!(%error, "nothing was done");
            Exit::Unreachable
        }
    }
}
