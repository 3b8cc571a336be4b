//! Exports the metrics of a single run to a file for `node_exporter` ([`textfile`]) and to a
//! Pushgateway ([`pushgateway`]), because Prometheus cannot scrape a process that has ended. An
//! export that fails does not affect the result of the run.

mod exposition;
mod pushgateway;
mod textfile;

use std::path::PathBuf;

use metrics_exporter_prometheus::PrometheusHandle;
pub use pushgateway::Pushgateway;

use crate::metrics::{self, Exporter};
use reaper::Sweep;

/// The destinations of the metrics.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    /// A file for `node_exporter`'s textfile collector.
    pub textfile: Option<PathBuf>,
    /// A Pushgateway.
    pub pushgateway: Option<Pushgateway>,
}

impl Exports {
    /// Starts to record the metrics if there is a destination. Must be called before the run
    /// starts.
    #[must_use]
    pub fn measure(&self, sweep: &Sweep) -> Option<PrometheusHandle> {
        if self.textfile.is_none() && self.pushgateway.is_none() {
            return None;
        }
        if let Some(path) =
            self.textfile.as_ref().filter(|path| path.extension().is_none_or(|end| end != "prom"))
        {
            tracing::warn!(event = "textfile_name", textfile = %path.display(), "node_exporter reads only files whose names end with .prom");
        }
        metrics::install_for_one_run(&sweep.targets, sweep.connect.database_name())
            .inspect_err(|error| tracing::error!(event = "metrics_setup_failed", %error, "metrics not set up; none will be exported"))
            .ok()
    }

    /// Exports the metrics. Failures are only logged and counted, because the run is over.
    pub async fn send(&self, measured: &PrometheusHandle, sweep: &Sweep) {
        if let Some(pushgateway) = &self.pushgateway {
            match pushgateway.push(&measured.render()).await {
                Ok(()) => tracing::info!(
                    event = "metrics_pushed",
                    pushgateway = pushgateway.shown(),
                    "metrics pushed"
                ),
                Err(error) => {
                    metrics::export_failed(Exporter::Pushgateway);
                    let pushgateway = pushgateway.shown();
                    tracing::error!(
                        event = "metrics_push_failed",
                        error,
                        pushgateway,
                        "metrics not pushed; the run is not affected"
                    );
                }
            }
        }
        // The file is written last, so that its metrics also count a failed push.
        if let Some(path) = &self.textfile {
            let targets: Vec<&str> =
                sweep.targets.iter().map(|target| target.name.as_str()).collect();
            match textfile::write(path, &measured.render(), &targets) {
                Ok(()) => {
                    tracing::info!(event = "metrics_written", textfile = %path.display(), "metrics written");
                }
                Err(error) => {
                    metrics::export_failed(Exporter::Textfile);
                    let textfile = path.display();
                    tracing::error!(event = "metrics_write_failed", %error, %textfile, "metrics not written; the run is not affected");
                }
            }
        }
    }
}
