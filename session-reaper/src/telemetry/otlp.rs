//! Sends spans over OTLP in batches on a separate thread. A run never waits for that thread. The
//! queue of spans is bounded, and spans are dropped if it is full. Requests and the shutdown have
//! timeouts.
//!
//! The SDK reads `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
//! `OTEL_BSP_*` and `OTEL_EXPORTER_OTLP_HEADERS`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{
    Protocol, SpanExporter as Otlp, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::SpanReceiver;
use crate::metrics::{self, Exporter};

/// The timeout of a request to the collector. It is so short that a second batch can be sent before
/// [`END_WITHIN`] has passed.
const REQUEST_WITHIN: Duration = Duration::from_secs(2);

/// The timeout of the shutdown. When it has passed, spans that are left in the queue are lost: the
/// run is over, and its caller waits for the exit code.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A connection to a collector.
pub(super) struct Sent {
    provider: SdkTracerProvider,
}

impl Sent {
    pub(super) fn to(receiver: &SpanReceiver) -> Result<Self, String> {
        // The batch thread has no async reactor and requires a blocking client, which must not be
        // created on a thread of the async runtime.
        let client = thread::spawn(|| {
            // Use no proxy and follow no redirects, as for the Pushgateway.
            Client::builder().no_proxy().redirect(Policy::none()).timeout(REQUEST_WITHIN).build()
        });
        let client = client.join().map_err(|_| "cannot create the HTTP client".to_owned())?;
        let client = client.map_err(|error| error.to_string())?;
        let base = receiver.endpoint.as_str().trim_end_matches('/').to_owned();
        let exporter = Otlp::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{base}/v1/traces"))
            .with_timeout(REQUEST_WITHIN)
            .build()
            .map_err(|error| error.to_string())?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(Logged {
                exporter,
                collector: base,
                failing: AtomicBool::new(false),
            })
            .with_resource(resource())
            .build();
        Ok(Self { provider })
    }

    pub(super) fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
    }

    pub(super) async fn finish(self) {
        let end =
            tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(END_WITHIN));
        if let Ok(Err(error)) = end.await {
            metrics::export_failed(Exporter::Otlp);
            tracing::warn!(event = "spans_incomplete", %error, "some spans not sent; runs are not affected");
        }
    }
}

/// Returns the OpenTelemetry resource, which describes the program that sends the spans. If the
/// environment sets no service name, the resource contains the name of this package, because the
/// default of the SDK would be `unknown_service`.
fn resource() -> Resource {
    let found = Resource::builder().build();
    let name = found.get(&Key::from_static_str("service.name"));
    let unnamed = name.is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let version = found.get(&Key::from_static_str("service.version"));
    let mut resource = Resource::builder();
    if unnamed {
        resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
    }
    if version.is_none() {
        resource =
            resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    }
    resource.build()
}

/// An exporter that counts failed exports, and logs the first failure and the recovery.
#[derive(Debug)]
struct Logged {
    exporter: Otlp,
    collector: String,
    failing: AtomicBool,
}

impl SpanExporter for Logged {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        match &sent {
            Ok(()) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(event = "spans_recovered", "spans are sent again");
                }
            }
            Err(error) => {
                metrics::export_failed(Exporter::Otlp);
                if !self.failing.swap(true, Ordering::Relaxed) {
                    let collector = self.collector.as_str();
                    tracing::warn!(
                        event = "spans_lost", %error,
                        collector,
                        spans,
                        "spans lost: collector unavailable; logged once until it recovers");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
