//! Requests that come too often, and what each answer says of how many are left.

use std::net::IpAddr;

use ::metrics::counter;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest};

use super::Problem;
use crate::audit;
use crate::limits::{Route, Verdict};
use crate::metrics;
use crate::state::State;

/// draft-ietf-httpapi-ratelimit-headers-11
const POLICIES: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Counts a request; refuses it with 429 when a quota is used up. To be called before anything costly is done for it, with
/// the wallet or session that it is about once that is known to be genuine.
pub async fn limit(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
    subject: Option<&str>,
) -> Result<(), Problem> {
    let Some(verdict) = state.limits.count(route, ip, subject).await else { return Ok(()) };
    let refused = verdict.refused;
    request.extensions_mut().insert(verdict);
    let Some((scope, wait)) = refused else { return Ok(()) };
    counter!(metrics::RATE_LIMITED, "route" => route.as_str(), "scope" => scope.as_str()).increment(1);
    audit::limit(ip, route, scope);
    Err(Problem::RateLimited { wait })
}

/// Gives an answer the fields that tell how its request was counted, whatever became of it.
pub async fn tell(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let verdict = response.request().extensions_mut().remove::<Verdict>();
    if let Some(Verdict { policies, left, .. }) = verdict {
        for (name, value) in [(POLICIES, policies), (LEFT, left)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    Ok(response)
}
