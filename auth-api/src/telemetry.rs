//! Logging to standard error, and the recorder of metrics.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use hardening::journal::WithPriority;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::ConfigError;
use crate::metrics;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Human-readable text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logs to standard error, filtered by `RUST_LOG` (default `info`).
pub fn log_to_stderr(format: LogFormat) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) => EnvFilter::try_new(&directives).map_err(|error| {
            ConfigError(vec![format!("RUST_LOG: {error} (got {directives:?})")])
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    let stderr = WithPriority::new(std::io::stderr);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let logging = match format {
        LogFormat::Json => builder.json().finish().with(filter_fn(may_be_logged)).try_init(),
        LogFormat::Text => {
            let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colors).finish().with(filter_fn(may_be_logged)).try_init()
        }
    };
    logging.map_err(|error| anyhow::anyhow!("cannot initialize logging: {error}"))
}

/// Returns whether an event may be logged, whatever `RUST_LOG` contains. Of the events of the
/// PostgreSQL driver, only warnings and errors are logged, because the driver also logs the notices
/// of triggers, and every statement with its parameters, which include token hashes and sealed
/// tokens. A directive in the [`EnvFilter`] would not be sufficient, because `RUST_LOG` could
/// override it with a more specific one, such as `tokio_postgres::query=debug` or
/// `[request]=trace`.
fn may_be_logged(event: &Metadata<'_>) -> bool {
    let driver = ["tokio_postgres", "postgres_protocol", "postgres_types"];
    let of_driver = driver.iter().any(|name| {
        let rest = event.target().strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    !of_driver || *event.level() <= Level::WARN
}

/// Histogram buckets from 50 µs to 50 ms, for operations such as lookups in Redis. They include 1
/// ms, the goal for the duration of such a lookup.
const QUICK: &[f64] = &[0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];
/// Histogram buckets from 0.5 ms to 10 s, for requests and statements.
const SLOW: &[f64] =
    &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

/// Installs the recorder that the `metrics` macros use, and creates every series of [`metrics`].
pub fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(metrics::DENYLIST_LOOKUP.into()), QUICK)?
        .set_buckets_for_metric(Matcher::Full(metrics::REDIS_COMMAND.into()), QUICK)?
        .set_buckets_for_metric(Matcher::Full(metrics::DB_ACQUIRE.into()), SLOW)?
        .set_buckets_for_metric(Matcher::Full(metrics::DB_QUERY.into()), SLOW)?
        .set_buckets_for_metric(Matcher::Full(metrics::HTTP_REQUEST.into()), SLOW)?
        .install_recorder()?;
    metrics::create();
    metrics_process::Collector::default().describe();
    Ok(handle)
}
