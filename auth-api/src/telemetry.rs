//! Logs on standard error, and the metrics' recorder.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

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
        Ok(directives) => EnvFilter::try_new(&directives).map_err(|error| {
            ConfigError(vec![format!("RUST_LOG: {error} (it is {directives:?})")])
        })?,
        Err(_) => EnvFilter::new("info"),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let logging = match format {
        LogFormat::Json => builder.json().finish().with(filter_fn(is_no_statement)).try_init(),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colours).finish().with(filter_fn(is_no_statement)).try_init()
        }
    };
    logging.map_err(|error| anyhow::anyhow!("cannot log: {error}"))
}

/// Whether a line may be logged at all. The driver logs each statement with its parameters, which
/// are hashes of tokens and sealed tokens, and the notices of triggers. It gets no further than
/// warnings, and no directive of `RUST_LOG` changes that: a directive of the [`EnvFilter`] itself
/// would lose to a more specific one, such as `tokio_postgres::query=debug` or `[request]=trace`.
fn is_no_statement(line: &Metadata<'_>) -> bool {
    let driver = ["tokio_postgres", "postgres_protocol", "postgres_types"];
    let of_driver = driver.iter().any(|name| {
        let rest = line.target().strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    });
    !of_driver || *line.level() <= Level::WARN
}

/// From 50 µs to 50 ms, with 1 ms among them: the budget of a look-up in the denylist.
const QUICK: &[f64] = &[0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05];
/// From half a millisecond to ten seconds: requests and statements.
const SLOW: &[f64] =
    &[0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];

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
