//! Authenticates the caller, by an access token in the header or by a cookie, but never by both.

use std::time::Instant;

use actix_web::{HttpRequest, web};
use schema::ids::SessionId;
use schema::sessions::Session;

use super::cookie_session::PresentedCookie;
use super::credential::{VerifiedCredential, verified_credential};
use super::limit::{limit_caller, limit_session};
use super::live_session::{find_live, is_denied};
use super::{Client, Problem, response_delay};
use crate::limits::Route;
use crate::state::State;

/// Returns the caller's session, if the credential is valid and the session is live.
///
/// The request is counted against the quota of its network before the credential is verified, and
/// against the quota of its session before the database is queried.
pub async fn authenticate(
    request: &HttpRequest,
    state: &web::Data<State>,
    route: Route,
) -> Result<Session, Problem> {
    let arrived = Instant::now();
    let client = Client::of(request, &state.trusted_proxies);
    limit_caller(request, state, route, client.ip)?;
    // A credential that this service did not issue is rejected immediately. The response time then
    // discloses nothing about any session.
    let credential = verified_credential(request, state)?;
    limit_session(request, state, route, client.ip, credential.session_id())?;
    let session = session_of(credential, arrived, request, state).await;
    if matches!(session, Err(Problem::Unauthenticated)) {
        response_delay::wait(arrived).await;
    }
    session
}

async fn session_of(
    credential: VerifiedCredential,
    arrived: Instant,
    request: &HttpRequest,
    state: &web::Data<State>,
) -> Result<Session, Problem> {
    match credential {
        VerifiedCredential::Token(id) => {
            refuse_denied(state, id).await?;
            // A session that is not denied may still not be live: it may have expired, or it may
            // have been revoked a moment ago.
            find_live(state, id).await?.ok_or(Problem::Unauthenticated)
        }
        VerifiedCredential::Cookie(token) => {
            PresentedCookie { token, arrived, request }.accept_and_renew(state).await
        }
    }
}

async fn refuse_denied(state: &web::Data<State>, id: SessionId) -> Result<(), Problem> {
    if is_denied(state, id).await? {
        tracing::info!(event = "revoked_session_rejected", session_id = %id, "access token of a revoked session rejected");
        return Err(Problem::Unauthenticated);
    }
    Ok(())
}

/// Returns an error if `STEP_UP_AGE` is set and the login of the session is older than this setting
/// allows.
pub fn require_recent_login(session: &Session, state: &State) -> Result<(), Problem> {
    let Some(max_age) = state.lifetimes.step_up else { return Ok(()) };
    let age = (session.now - session.authenticated_at()).to_std().unwrap_or_default();
    if age > max_age {
        tracing::info!(event = "login_too_old", session_id = %session.id, "login too old for this request");
        return Err(Problem::LoginTooOld { max_age });
    }
    Ok(())
}
