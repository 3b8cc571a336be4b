//! Applies rate limits to requests, and adds the rate-limit headers to responses.

use std::net::IpAddr;

use ::metrics::counter;
use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpMessage as _, HttpRequest};
use schema::ids::SessionId;

use super::Problem;
use crate::audit;
use crate::limits::{Route, Scope, Verdict, narrowest_network, provider_network};
use crate::metrics;
use crate::repeats::Kind;
use crate::state::State;

/// The `RateLimit-Policy` header (draft-ietf-httpapi-ratelimit-headers-11).
const POLICIES: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The `RateLimit` header, from the same draft.
const REMAINING: HeaderName = HeaderName::from_static("ratelimit");

/// Counts a request and rejects it with 429 if a quota is used up.
///
/// Must be called before any expensive work is done for the request. `subject` is the session that
/// the request concerns; it must be passed only after a token of the session has been verified.
pub async fn limit(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
    subject: Option<&str>,
) -> Result<(), Problem> {
    apply(request, state, (route, ip, None), state.limits.count(route, ip, subject).await)
}

/// Counts a login against the quota of the wallet that signed the login. Call this after the login
/// has been counted against the quota of its network.
///
/// Must be called only after the signature has been verified. Otherwise, anyone could use up the
/// quota of a wallet, or find out how much of the quota remains.
pub async fn limit_wallet(
    request: &HttpRequest,
    state: &State,
    ip: IpAddr,
    wallet: &str,
) -> Result<(), Problem> {
    let verdict = state.limits.count_subject(Route::Login, ip, wallet).await;
    apply(request, state, (Route::Login, ip, Some(wallet)), verdict)
}

/// Counts a request that presents a session's credential against the quota of the request's
/// network. Must be called before the credential is verified.
pub fn limit_caller(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
) -> Result<(), Problem> {
    apply(request, state, (route, ip, None), state.limits.count_caller(ip))
}

/// Counts a request against the quota of the session that the request's credential belongs to. Must
/// be called before the database is queried.
pub fn limit_session(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
    session: SessionId,
) -> Result<(), Problem> {
    apply(request, state, (route, ip, None), state.limits.count_session(ip, &session.to_string()))?;
    // The remaining quota would show anyone with a copy of the access token when the session is
    // used.
    hide_session(request);
    Ok(())
}

/// Counts a request that another service sent without credentials.
pub fn limit_stranger(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
) -> Result<(), Problem> {
    apply(request, state, (route, ip, None), state.limits.count_stranger(ip))
}

/// The properties of a request that was counted: its route, its source address, and the wallet that
/// signed it, if any.
type Counted<'w> = (Route, IpAddr, Option<&'w str>);

fn apply(
    request: &HttpRequest,
    state: &State,
    counted: Counted<'_>,
    verdict: Option<Verdict>,
) -> Result<(), Problem> {
    let Some(verdict) = verdict else { return Ok(()) };
    let rejected = verdict.refused;
    show(request, verdict);
    let Some((scope, wait)) = rejected else { return Ok(()) };
    count_refused(state, counted, scope);
    Err(Problem::RateLimited { wait })
}

/// Records the result of a rate limit, in addition to earlier results for the same request, for the
/// rate-limit headers of the response.
pub fn show(request: &HttpRequest, verdict: Verdict) {
    let mut extensions = request.extensions_mut();
    let verdict = match extensions.remove::<Verdict>() {
        Some(earlier) => verdict.after(earlier),
        None => verdict,
    };
    extensions.insert(verdict);
}

/// Counts a rejected request in the metrics, and logs it unless it repeats a recent rejection.
pub fn count_refused(state: &State, (route, ip, wallet): Counted<'_>, scope: Scope) {
    counter!(metrics::RATE_LIMITED, "route" => route.as_str(), "scope" => scope.as_str())
        .increment(1);
    let kind = Kind::Limit { route: route.as_str(), scope: scope.as_str() };
    let who = match (scope, wallet) {
        (_, Some(wallet)) => wallet.to_owned(),
        (Scope::NewAccounts, None) => provider_network(ip),
        (Scope::Ip | Scope::Address, None) => narrowest_network(ip),
    };
    if state.repeats.is_first(kind, &who) {
        audit::limit(ip, route, scope, wallet);
    }
}

/// Removes the session's remaining quota from the response. Otherwise, a client whose refresh was
/// rejected could see when another client refreshes the session.
pub fn hide_session(request: &HttpRequest) {
    if let Some(verdict) = request.extensions_mut().get_mut::<Verdict>() {
        verdict.hide_subject();
    }
}

/// Adds the rate-limit headers, regardless of the result of the request.
pub fn show_in(response: &mut ServiceResponse<impl MessageBody>) {
    let verdict = response.request().extensions_mut().remove::<Verdict>();
    if let Some(verdict) = verdict {
        let left = verdict.left();
        for (name, value) in [(POLICIES, verdict.policies), (REMAINING, left)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}
