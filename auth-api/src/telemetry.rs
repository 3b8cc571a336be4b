//! Logs on standard error, and the metrics' recorder.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;
use crate::metrics;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends events to standard error, filtered by `RUST_LOG` (default `info`).
pub fn log_to_stderr(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives)
            .map_err(|error| ConfigError(vec![format!("RUST_LOG: {error} (it is {directives:?})")]))?,
        Err(_) => EnvFilter::new("info"),
    };
    // The driver logs parameters, which are hashes of tokens, and what triggers raise as notices: never below a warning.
    let filter = filter.add_directive("tokio_postgres=warn".parse()?);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let logging = match format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colours).try_init()
        }
    };
    logging.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
}

/// From 50 µs to 50 ms, with 1 ms among them: the budget of a look-up in the denylist.
const QUICK: &[f64] = &[0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];
/// From half a millisecond to ten seconds: requests and statements.
const SLOW: &[f64] = &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Installs the recorder that `metrics!` calls go to, with every series of [`metrics`] created.
pub fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(metrics::DENYLIST_LOOKUP.into()), QUICK)?
        .set_buckets_for_metric(Matcher::Full(metrics::REDIS_COMMAND.into()), QUICK)?
        .set_buckets_for_metric(Matcher::Full(metrics::DB_ACQUIRE.into()), SLOW)?
        .set_buckets_for_metric(Matcher::Full(metrics::DB_QUERY.into()), SLOW)?
        .set_buckets_for_metric(Matcher::Full(metrics::HTTP_REQUEST.into()), SLOW)?
        .install_recorder()?;
    metrics::create();
    Ok(handle)
}
