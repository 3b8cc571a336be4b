//! Rejects requests for other hosts, and requests whose headers are too large, before any other
//! handler reads these requests.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use hardening::request_head;
use serde_json::json;

use super::Ops;

/// Rejects a request for another host with status 421. Rejects request headers larger than
/// [`request_head::MAX_SIZE`] with status 431 and closes the connection.
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

/// Returns the response to a request for another host: a problem document (RFC 9457), the same as
/// on the ports of auth-api.
fn misdirected() -> HttpResponse {
    let status = StatusCode::MISDIRECTED_REQUEST;
    HttpResponse::build(status).content_type("application/problem+json").json(json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "code": "misdirected",
        "detail": "This port accepts requests for IP addresses, localhost and the names in OPS_HOSTS. Add this host to OPS_HOSTS to allow it.",
    }))
}
