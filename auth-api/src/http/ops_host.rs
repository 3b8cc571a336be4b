//! The hosts that the operations port answers to.
//!
//! A page that somebody opens in a browser can have the name of its own host resolve to this port (DNS rebinding), and the browser then
//! takes our answers for the page's own. It sends the page's name as `Host`, by which such a request is refused.

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError as _, web};

use super::Problem;
use crate::state::State;

/// Refuses a request for another host with 421.
pub async fn check<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let accepted = request.app_data::<web::Data<State>>().is_some_and(|state| {
        let mut named = request.headers().get_all(HOST);
        let target = request.uri().authority().map(|authority| state.ops_hosts.accept(authority.as_str()));
        named.all(|host| host.to_str().is_ok_and(|host| state.ops_hosts.accept(host))) && target.unwrap_or(true)
    });
    if accepted {
        return next.call(request).await.map(ServiceResponse::map_into_left_body);
    }
    tracing::warn!(event = "ops_host_refused", peer = ?request.peer_addr(), "a request to the operations port named another host");
    Ok(request.into_response(Problem::Misdirected.error_response()).map_into_right_body())
}
