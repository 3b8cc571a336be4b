//! Records each request: a span with its id, a line in the log, and its duration in the metrics.
//! The query string, the headers, and the body are never recorded, because they can contain
//! credentials.

use std::time::Instant;

use ::metrics::{gauge, histogram};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _};
use tracing::Span;
use tracing_actix_web::{RequestId, RootSpanBuilder};

use crate::metrics::{self, method};

/// The span of a request.
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let id = request.extensions().get::<RequestId>().copied();
        let id = id.map(|id| id.to_string()).unwrap_or_default();
        tracing::info_span!(
            "request",
            request_id = id,
            method = method(request.method()),
            route = route(request)
        )
    }

    fn on_request_end<B: MessageBody>(_span: Span, _outcome: &Result<ServiceResponse<B>, Error>) {}
}

/// Measures a request, logs its result, and adds its id to the response.
pub async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut observed = Observed::begin(&request);
    let id = request.extensions().get::<RequestId>().copied();
    let mut response = next.call(request).await?;
    if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    observed.status = response.status().as_u16();
    Ok(response)
}

/// A request that is being served. Dropping this value records the result of the request, even if
/// the client disconnected first.
struct Observed {
    started: Instant,
    span: Span,
    method: &'static str,
    route: String,
    status: u16,
}

impl Observed {
    fn begin(request: &ServiceRequest) -> Self {
        gauge!(metrics::HTTP_IN_FLIGHT).increment(1);
        let (method, route) = (method(request.method()), route(request));
        Self {
            started: Instant::now(),
            span: Span::current(),
            method,
            route,
            status: metrics::CLIENT_CLOSED_REQUEST,
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        gauge!(metrics::HTTP_IN_FLIGHT).decrement(1);
        let (elapsed, route) = (self.started.elapsed(), std::mem::take(&mut self.route));
        histogram!(metrics::HTTP_REQUEST, "method" => self.method, "route" => route, "status" => self.status.to_string())
            .record(elapsed);
        let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(parent: &self.span, event = "request_completed", status = self.status, elapsed_us, "request completed");
    }
}

/// Returns the template of the route, such as `/auth/sessions/{id}`. A template contains no ids, so
/// the metric label has a fixed set of values.
fn route(request: &ServiceRequest) -> String {
    metrics::route(method(request.method()), request.match_pattern())
}
