//! Authenticates the caller, by an access token in the header or by a cookie, but never by both.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::{HttpMessage, HttpRequest, web};
use schema::ids::SessionId;
use schema::sessions::Session;
use serde::Deserialize;
use utoipa::ToSchema;

use super::cookie::CookieLookup;
use super::cookie_session::PresentedCookie;
use super::limit::{limit_caller, limit_session};
use super::{Client, Problem, response_delay};
use crate::credentials::SessionToken;
use crate::limits::{Route, narrowest_network};
use crate::repeats::Kind;
use crate::state::{DatabaseError, State, timed};

/// How the credentials of a session are sent.
// Deserialized from a string: for an enum, serde would also accept `{"token": null}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(rename_all = "lowercase")]
#[serde(try_from = "String")]
pub enum Transport {
    /// An access token and a refresh token.
    #[default]
    Token,
    /// A cookie.
    Cookie,
}

impl TryFrom<String> for Transport {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "token" => Ok(Self::Token),
            "cookie" => Ok(Self::Cookie),
            _ => Err("expected `token` or `cookie`"),
        }
    }
}

impl Transport {
    /// Returns the name that responses, metrics, and logs contain.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }

    /// Returns the transport of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        if session.cookie.is_some() { Self::Cookie } else { Self::Token }
    }
}

/// A credential that this service issued and that, if it contains an expiry time, has not expired.
/// Its session may have ended.
pub enum VerifiedCredential {
    /// An access token of this session.
    Token(SessionId),
    /// The token from a session cookie.
    Cookie(SessionToken),
}

impl VerifiedCredential {
    /// Returns the session that the credential belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        match self {
            Self::Token(id) => *id,
            Self::Cookie(token) => token.session_id(),
        }
    }
}

/// Returns the caller's session, if the credential is valid and the session is live.
///
/// The request is counted by its network before the credential is verified, and by its session
/// before the database is queried.
pub async fn authenticate(
    request: &HttpRequest,
    state: &web::Data<State>,
    route: Route,
) -> Result<Session, Problem> {
    let arrived = Instant::now();
    let client = Client::of(request, &state.trusted_proxies);
    limit_caller(request, state, route, client.ip)?;
    // A credential that this service did not issue is rejected at once, which discloses nothing
    // about any session.
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
            // The session is not denied, but not live either: it has expired, or was revoked a
            // moment ago.
            find_live(state, id).await?.ok_or(Problem::Unauthenticated)
        }
        VerifiedCredential::Cookie(token) => {
            PresentedCookie { token, arrived, request }.accept_and_renew(state).await
        }
    }
}

/// Returns the credential that the request presents, if this service issued it and it has not
/// expired.
pub fn verified_credential(
    request: &HttpRequest,
    state: &State,
) -> Result<VerifiedCredential, Problem> {
    if let Some(token) = bearer(request) {
        return state
            .access_tokens
            .verify(token, state.now()?)
            .map(|caller| VerifiedCredential::Token(caller.session_id))
            .map_err(|reason| {
                let network = narrowest_network(Client::of(request, &state.trusted_proxies).ip);
                if state.repeats.is_first(Kind::Credential { reason: reason.as_str() }, &network) {
                    tracing::info!(event = "access_token_rejected", %reason, network, "access token rejected");
                }
                Problem::Unauthenticated
            });
    }
    match state.cookie.presented(request) {
        CookieLookup::One(value) => SessionToken::parse(&value, &state.secrets)
            .map(VerifiedCredential::Cookie)
            .map_err(|_| Problem::Unauthenticated),
        CookieLookup::Absent | CookieLookup::Several => Err(Problem::Unauthenticated),
    }
}

/// Returns whether the session of an authentic access token has ended, according to Redis or, if
/// Redis cannot be trusted, to PostgreSQL.
pub async fn is_denied(state: &web::Data<State>, id: SessionId) -> Result<bool, Problem> {
    if let Some(denied) = state.denylist.ask_redis(id).await {
        return Ok(denied);
    }
    let shared = Arc::clone(state);
    let lookup = async move { shared.denylist.ask_postgres(&shared.database, id).await };
    Ok(state.tasks.finish(lookup).await??)
}

async fn refuse_denied(state: &web::Data<State>, id: SessionId) -> Result<(), Problem> {
    if is_denied(state, id).await? {
        tracing::info!(event = "revoked_session_rejected", session_id = %id, "access token of a revoked session rejected");
        return Err(Problem::Unauthenticated);
    }
    Ok(())
}

/// Returns a live session with its account.
pub async fn find_live(
    state: &web::Data<State>,
    id: SessionId,
) -> Result<Option<Session>, Problem> {
    let shared = Arc::clone(state);
    let found = state.tasks.finish(async move {
        let mut connection = shared.database.acquire().await?;
        let watch = connection.watch();
        Ok::<_, DatabaseError>(
            timed(watch, "find_live_session", Session::find_live(&mut connection, id)).await?,
        )
    });
    Ok(found.await??)
}

/// Rejects a session whose login is older than `STEP_UP_AGE`, if that is set.
pub fn require_recent_login(session: &Session, state: &State) -> Result<(), Problem> {
    let Some(max_age) = state.lifetimes.step_up else { return Ok(()) };
    let age = (session.now - session.authenticated_at()).to_std().unwrap_or_default();
    if age > max_age {
        tracing::info!(event = "login_too_old", session_id = %session.id, "login too old for this request");
        return Err(Problem::LoginTooOld { max_age });
    }
    Ok(())
}

/// Returns whether any `Authorization` header has the scheme Bearer, even if it is malformed.
pub(super) fn names_bearer(request: &impl HttpMessage) -> bool {
    let scheme = |header: &HeaderValue| {
        let scheme = header.as_bytes().trim_ascii().split(u8::is_ascii_whitespace).next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    };
    request.headers().get_all(AUTHORIZATION).any(scheme)
}

/// Returns the token if there is exactly one `Authorization` header and its scheme is Bearer.
pub(crate) fn bearer(request: &impl HttpMessage) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, None) = (headers.next()?, headers.next()) else { return None };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}
