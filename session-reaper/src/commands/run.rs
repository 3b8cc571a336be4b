//! `run`: performs one run, prints the summary, exports the metrics and returns the exit code.

use std::time::Instant;

use indicatif::ProgressBar;
use reaper::runs::Trigger;
use tokio::sync::watch;

use super::print;
use crate::config::Output;
use crate::export::Exports;
use crate::metrics;
use crate::output::database::{WithDatabase, heading};
use crate::output::progress_bar;
use crate::output::summary;
use crate::telemetry::Spans;
use reaper::Exit;
use reaper::Stop;
use reaper::{Progress, Sweep};

/// Performs one run and prints the result.
pub async fn run(
    (sweep, trigger): (&Sweep, Trigger),
    output: Output,
    exports: &Exports,
    spans: Spans,
    bar: ProgressBar,
    stop: &Stop,
) -> Exit {
    let measured = exports.measure(sweep);
    let began = Instant::now();
    let (sender, progress) = watch::channel(Progress::default());
    let shown = tokio::spawn(progress_bar::follow(bar, progress));
    let finished = sweep.run(trigger, stop, &sender).await;
    drop(sender);
    // Clear the progress bar before printing anything else.
    let _ = shown.await;
    let exit = match finished {
        Ok(finished) => {
            match output {
                Output::Text => print(&format!(
                    "{}\n{}",
                    heading(&sweep.connect),
                    summary::text(&finished.report)
                )),
                // The report is serialized directly, because a `serde_json::Value` would sort the
                // members.
                Output::Json => print(&format!(
                    "{}\n",
                    serde_json::to_string(&WithDatabase::new(&finished.report, &sweep.connect))
                        .unwrap_or_default()
                )),
            }
            finished.exit
        }
        Err(error) => {
            tracing::error!(event = error.event(), %error, "run not started");
            let none = sweep.targets.iter().map(|target| (target.name.as_str(), 0));
            metrics::run_ended(error.outcome(), began.elapsed(), none);
            error.exit()
        }
    };
    // Send the remaining spans first, because the metrics include the number of failed span
    // exports.
    spans.finish().await;
    if let Some(measured) = measured {
        exports.send(&measured, sweep).await;
    }
    exit
}
