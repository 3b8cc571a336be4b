//! Logs on standard error, and spans sent to an OpenTelemetry collector.
//!
//! Spans exist only for the collector. If no collector is configured, spans are disabled
//! permanently, and creating one costs only one atomic load.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::{self, IsTerminal as _, Write};

use hardening::journal::WithPriority;
use indicatif::ProgressBar;
use reqwest::Url;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, filter, fmt};

use reaper::SPANS;

/// Format of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging configuration.
#[derive(Debug)]
pub struct LogConfig {
    /// The format.
    pub format: LogFormat,
    /// The filter.
    pub filter: EnvFilter,
    /// Whether colors are allowed (<https://no-color.org>).
    pub colour: bool,
}

/// The OpenTelemetry collector that receives spans.
#[derive(Clone, Debug)]
pub struct SpanReceiver {
    /// The base URL, without the path for spans (`/v1/traces`).
    pub endpoint: Url,
}

/// Starts logging. `bar` is hidden while a line is written.
pub fn init(log: LogConfig, bar: ProgressBar) {
    tracing_subscriber::registry().with(logs(log, bar)).init();
}

/// Starts logging and, if `receiver` is set, sending spans. Call [`Spans::finish`] at the end.
#[must_use]
pub fn init_with_spans(log: LogConfig, bar: ProgressBar, receiver: Option<&SpanReceiver>) -> Spans {
    let Some(receiver) = receiver else {
        init(log, bar);
        return Spans::default();
    };
    send(log, bar, receiver)
}

/// The exporter of spans.
#[derive(Default)]
pub struct Spans {
    #[cfg(feature = "otlp")]
    sent: Option<otlp::Sent>,
}

#[cfg(feature = "otlp")]
fn send(log: LogConfig, bar: ProgressBar, receiver: &SpanReceiver) -> Spans {
    match otlp::Sent::to(receiver) {
        Ok(sent) => {
            let spans = sent
                .layer()
                .with_filter(filter::filter_fn(is_span).with_max_level_hint(LevelFilter::INFO));
            tracing_subscriber::registry().with(logs(log, bar)).with(spans).init();
            Spans { sent: Some(sent) }
        }
        Err(error) => {
            init(log, bar);
            tracing::warn!(event = "spans_not_sent", error, "spans are not sent");
            Spans::default()
        }
    }
}

#[cfg(not(feature = "otlp"))]
fn send(log: LogConfig, bar: ProgressBar, receiver: &SpanReceiver) -> Spans {
    init(log, bar);
    let host = receiver.endpoint.host_str();
    tracing::warn!(
        event = "spans_not_supported",
        host,
        "spans are not sent: this build lacks the feature otlp"
    );
    Spans::default()
}

impl Spans {
    /// Sends the remaining spans. Returns after a few seconds, even if some could not be sent.
    #[cfg_attr(
        not(feature = "otlp"),
        allow(clippy::unused_async, reason = "without the feature there is nothing to wait for")
    )]
    pub async fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(sent) = self.sent {
            sent.finish().await;
        }
    }
}

fn is_span(metadata: &Metadata<'_>) -> bool {
    metadata.target() == SPANS
}

fn logs<S: tracing::Subscriber + for<'a> LookupSpan<'a>>(
    log: LogConfig,
    bar: ProgressBar,
) -> impl Layer<S> {
    let layer = fmt::layer().with_writer(WithPriority::new(AroundBar(bar)));
    let layer = match log.format {
        LogFormat::Text => layer.with_ansi(log.colour && io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    // The combined filter knows its maximum level only if both filters have a level hint. Without
    // this hint, each disabled event would be evaluated.
    let no_span =
        filter::filter_fn(|metadata| !is_span(metadata)).with_max_level_hint(LevelFilter::TRACE);
    layer.with_filter(without_values(log.filter).and(no_span))
}

/// Limits the logs of the database driver to warnings. At lower levels, the driver would log
/// parameters (which contain keys of rows) and the notices that triggers raise.
fn without_values(filter: EnvFilter) -> EnvFilter {
    match "tokio_postgres=warn".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// A writer to standard error that hides the progress bar while it writes a line.
#[derive(Clone)]
struct AroundBar(ProgressBar);

impl Write for AroundBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(line))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AroundBar {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use tracing::Subscriber;
    use tracing_subscriber::EnvFilter;

    use super::*;

    fn logging(filter: &str) -> impl Subscriber + Send + Sync + use<> {
        let log =
            LogConfig { format: LogFormat::Text, filter: EnvFilter::new(filter), colour: false };
        tracing_subscriber::registry().with(logs(log, ProgressBar::hidden()))
    }

    #[test]
    fn events_below_the_log_level_are_disabled_globally() {
        assert_eq!(logging("warn").max_level_hint(), Some(LevelFilter::WARN));
    }

    #[test]
    fn spans_are_disabled_without_a_collector() {
        let subscriber = logging("trace");
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::info_span!("any other").is_disabled());
            assert!(tracing::info_span!(target: SPANS, "chunk", rows = 1).is_disabled());
        });
    }
}
