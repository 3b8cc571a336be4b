//! What a single run leaves behind for Prometheus, which cannot scrape what is over: a file for
//! `node_exporter` ([`textfile`]), a push to a Pushgateway ([`pushgateway`]). Neither changes what
//! the run ended with.

mod exposition;
mod pushgateway;
mod textfile;

use std::path::PathBuf;

use metrics_exporter_prometheus::PrometheusHandle;
pub use pushgateway::Pushgateway;

use crate::metrics::{self, Exporter};
use crate::sweep::Sweep;

/// Where the numbers go.
#[derive(Clone, Debug, Default)]
pub struct Exports {
    /// A file for `node_exporter`'s textfile collector.
    pub textfile: Option<PathBuf>,
    /// A Pushgateway.
    pub pushgateway: Option<Pushgateway>,
}

impl Exports {
    /// Starts measuring, if anybody is going to read it. To be asked before the run begins.
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
        metrics::install_for_one_run(&sweep.targets)
            .inspect_err(|error| tracing::error!(event = "metrics_setup_failed", %error, "metrics not set up; none will be exported"))
            .ok()
    }

    /// Hands the numbers on. What fails is told and counted, and that is all: the run is over.
    pub async fn hand_on(&self, measured: &PrometheusHandle, sweep: &Sweep) {
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
        // Last, so that it counts what failed before.
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
