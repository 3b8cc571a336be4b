//! Refuses requests that are not for this port, and heads that are too large, before anything else
//! reads them.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use hardening::request_head;
use serde_json::json;

use super::Ops;

/// Refuses a request for another host with 421, and a head over [`request_head::MAX_SIZE`] with 431
/// and the connection's end.
pub(super) async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    if !request.app_data::<web::Data<Ops>>().is_some_and(|ops| ops.hosts.accept_request(&request)) {
        tracing::warn!(event = "ops_host_refused", peer = ?request.peer_addr(), "request for another host rejected");
        return Ok(request.into_response(misdirected()).map_into_right_body());
    }
    if request_head::size(&request) > request_head::MAX_SIZE {
        let refusal =
            HttpResponse::build(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE).force_close().finish();
        return Ok(request.into_response(refusal).map_into_right_body());
    }
    next.call(request).await.map(ServiceResponse::map_into_left_body)
}

/// A problem document (RFC 9457), as auth-api answers on its ports.
fn misdirected() -> HttpResponse {
    let status = StatusCode::MISDIRECTED_REQUEST;
    HttpResponse::build(status).content_type("application/problem+json").json(json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": "misdirected",
        "detail": "This port answers to IP addresses, to localhost and to the names in OPS_HOSTS. Add this host to OPS_HOSTS to allow it.",
    }))
}
