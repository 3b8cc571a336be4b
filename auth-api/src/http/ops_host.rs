//! Rejects requests to the operations port whose `Host` header is not accepted; see
//! [`hardening::ops_hosts`].

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _, web};

use super::Problem;
use crate::state::State;

/// Rejects a request with 421 if its `Host` header is not accepted.
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let state = request.app_data::<web::Data<State>>();
    if state.is_some_and(|state| state.ops_hosts.accept_request(&request)) {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    tracing::warn!(event = "ops_host_refused", peer = ?request.peer_addr(), "request for another host rejected");
    Ok(request.into_response(Problem::Misdirected.error_response()).map_into_right_body())
}
