//! Logs, on standard error; and spans, sent to an OpenTelemetry collector.
//!
//! A span is only for the collector: where none is named its callsite is off for good, and costs
//! one relaxed load.

#[cfg(feature = "otlp")]
mod otlp;

use std::io::{self, IsTerminal as _, Write};

use indicatif::ProgressBar;
use reqwest::Url;
use tracing::Metadata;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, filter, fmt};

use crate::sweep::SPANS;

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What and how to log.
#[derive(Debug)]
pub struct LogConfig {
    /// How.
    pub format: LogFormat,
    /// What.
    pub filter: EnvFilter,
    /// Whether colours are welcome (<https://no-color.org>).
    pub colour: bool,
}

/// Where spans are sent.
#[derive(Clone, Debug)]
pub struct SpanReceiver {
    /// Without the signal's path.
    pub endpoint: Url,
}

/// Starts logging. Lines are written around `bar`, so that neither garbles the other.
pub fn init(log: LogConfig, bar: ProgressBar) {
    tracing_subscriber::registry().with(logs(log, bar)).init();
}

/// The same, and sends spans where somebody wants them. What is returned has to be asked to finish.
#[must_use]
pub fn init_with_spans(log: LogConfig, bar: ProgressBar, receiver: Option<&SpanReceiver>) -> Spans {
    let Some(receiver) = receiver else {
        init(log, bar);
        return Spans::default();
    };
    send(log, bar, receiver)
}

/// Spans that are on their way.
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
    /// Sends what is left, within a few seconds.
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
    let layer = fmt::layer().with_writer(AroundBar(bar));
    let layer = match log.format {
        LogFormat::Text => layer.with_ansi(log.colour && io::stderr().is_terminal()).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    // With a hint, lest the other's is lost: what is below the level is to cost nothing.
    let no_span =
        filter::filter_fn(|metadata| !is_span(metadata)).with_max_level_hint(LevelFilter::TRACE);
    layer.with_filter(without_values(log.filter).and(no_span))
}

/// The driver logs parameters, which are keys of rows, and what triggers raise as notices: never
/// below a warning.
fn without_values(filter: EnvFilter) -> EnvFilter {
    match "tokio_postgres=warn".parse() {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// Standard error, with the progress bar out of the way while a line is written.
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
    fn what_is_below_the_level_of_the_log_is_off_as_a_whole() {
        assert_eq!(logging("warn").max_level_hint(), Some(LevelFilter::WARN));
    }

    #[test]
    fn a_span_is_off_where_nobody_collects_it() {
        let subscriber = logging("trace");
        tracing::subscriber::with_default(subscriber, || {
            assert!(!tracing::info_span!("any other").is_disabled());
            assert!(tracing::info_span!(target: SPANS, "chunk", rows = 1).is_disabled());
        });
    }
}
