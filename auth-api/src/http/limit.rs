//! Requests that come too often, and what each answer says of how many are left.

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

/// draft-ietf-httpapi-ratelimit-headers-11
const POLICIES: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Counts a request; refuses it with 429 when a quota is used up. To be called before anything
/// costly is done for it, with the session that it is about where a genuine token has proved that.
pub async fn limit(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
    subject: Option<&str>,
) -> Result<(), Problem> {
    obey(request, state, (route, ip, None), state.limits.count(route, ip, subject).await)
}

/// Counts a login, counted by its network before, by the wallet that has signed it. Before its
/// signature was verified nobody may spend the quota of a wallet, or learn what is left of it.
pub async fn limit_wallet(
    request: &HttpRequest,
    state: &State,
    ip: IpAddr,
    wallet: &str,
) -> Result<(), Problem> {
    let verdict = state.limits.count_subject(Route::Login, ip, wallet).await;
    obey(request, state, (Route::Login, ip, Some(wallet)), verdict)
}

/// Counts a request that shows a credential of a session, before the credential is verified.
pub fn limit_caller(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
) -> Result<(), Problem> {
    obey(request, state, (route, ip, None), state.limits.count_caller(ip))
}

/// Counts a request by the session that its credential belongs to, before the database is asked.
pub fn limit_session(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
    session: SessionId,
) -> Result<(), Problem> {
    obey(request, state, (route, ip, None), state.limits.count_session(ip, &session.to_string()))?;
    // Whoever has a copy of the access token would see when the session is used.
    hide_session(request);
    Ok(())
}

/// Counts a request of another service that shows no credentials.
pub fn limit_stranger(
    request: &HttpRequest,
    state: &State,
    route: Route,
    ip: IpAddr,
) -> Result<(), Problem> {
    obey(request, state, (route, ip, None), state.limits.count_stranger(ip))
}

/// Which request was counted: its route, where it comes from, and the wallet where that has signed
/// it.
type Counted<'w> = (Route, IpAddr, Option<&'w str>);

fn obey(
    request: &HttpRequest,
    state: &State,
    counted: Counted<'_>,
    verdict: Option<Verdict>,
) -> Result<(), Problem> {
    let Some(verdict) = verdict else { return Ok(()) };
    let refused = verdict.refused;
    show(request, verdict);
    let Some((scope, wait)) = refused else { return Ok(()) };
    count_refused(state, counted, scope);
    Err(Problem::RateLimited { wait })
}

/// Has the answer's fields tell how the request was counted, this time and before.
pub fn show(request: &HttpRequest, verdict: Verdict) {
    let mut extensions = request.extensions_mut();
    let verdict = match extensions.remove::<Verdict>() {
        Some(before) => verdict.after(before),
        None => verdict,
    };
    extensions.insert(verdict);
}

/// Counts a rejected request, and logs it unless it is one of many.
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

/// Keeps what is left of a session's quota from a client that got no tokens: it would show when
/// somebody else refreshed.
pub fn hide_session(request: &HttpRequest) {
    if let Some(verdict) = request.extensions_mut().get_mut::<Verdict>() {
        verdict.hide_subject();
    }
}

/// Adds the header fields that show how the request was counted, whatever became of it.
pub fn show_in(response: &mut ServiceResponse<impl MessageBody>) {
    let verdict = response.request().extensions_mut().remove::<Verdict>();
    if let Some(verdict) = verdict {
        let left = verdict.left();
        for (name, value) in [(POLICIES, verdict.policies), (LEFT, left)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}
