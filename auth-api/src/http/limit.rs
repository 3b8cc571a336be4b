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
/// the session that it is about where a genuine token has proved that.
pub async fn limit(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
    subject: Option<&str>,
) -> Result<(), Problem> {
    obey(request, route, ip, None, state.limits.count(route, ip, subject).await)
}

/// Counts a login, counted by its network before, by the wallet that has signed it. Before its signature was verified nobody may
/// spend the quota of a wallet, or learn what is left of it.
pub async fn limit_wallet(request: &HttpRequest, state: &State, ip: IpAddr, wallet: &str) -> Result<(), Problem> {
    let verdict = state.limits.count_subject(Route::Login, ip, wallet).await;
    obey(request, Route::Login, ip, Some(wallet), verdict)
}

fn obey(
    request: &HttpRequest,
    route: Route,
    ip: IpAddr,
    wallet: Option<&str>,
    verdict: Option<Verdict>,
) -> Result<(), Problem> {
    let Some(verdict) = verdict else { return Ok(()) };
    let refused = verdict.refused;
    let mut extensions = request.extensions_mut();
    let verdict = match extensions.remove::<Verdict>() {
        Some(before) => verdict.after(before),
        None => verdict,
    };
    extensions.insert(verdict);
    let Some((scope, wait)) = refused else { return Ok(()) };
    counter!(metrics::RATE_LIMITED, "route" => route.as_str(), "scope" => scope.as_str()).increment(1);
    audit::limit(ip, route, scope, wallet);
    Err(Problem::RateLimited { wait })
}

/// Keeps what is left of a session's quota from a client that got no tokens: it would show when somebody else refreshed.
pub fn hide_session(request: &HttpRequest) {
    if let Some(verdict) = request.extensions_mut().get_mut::<Verdict>() {
        verdict.hide_subject();
    }
}

/// Gives an answer the fields that tell how its request was counted, whatever became of it.
pub async fn tell(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let verdict = response.request().extensions_mut().remove::<Verdict>();
    if let Some(verdict) = verdict {
        let left = verdict.left();
        for (name, value) in [(POLICIES, verdict.policies), (LEFT, left)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    Ok(response)
}
