//! Errors for other services (RFC 6749 §5.2), and the authentication of these services.

use std::borrow::Cow;
use std::fmt;

use ::metrics::counter;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use super::limit::{limit, limit_stranger};
use super::{Client, Problem};
use crate::audit;
use crate::clients::{PresentedSecret, Recognition};
use crate::credentials::clients::ClientId;
use crate::limits::{Route, narrowest_network};
use crate::metrics;
use crate::repeats::Kind;
use crate::state::State;

/// An error in response to a request from another service.
#[derive(Debug)]
pub enum OAuthError {
    /// 400 `invalid_request`: a parameter is missing or repeated, or the body has the wrong type.
    InvalidRequest(&'static str),
    /// 401 `invalid_client`: the client's credentials are missing, unknown, or wrong.
    InvalidClient,
    /// `invalid_request`: the body was too large or incomplete. The connection is closed.
    Unread(Problem),
    /// 429 and 503: `temporarily_unavailable`. 500: `server_error`.
    Other(Problem),
}

/// An error response (RFC 6749 §5.2).
#[derive(Serialize, ToSchema)]
#[schema(as = OAuthError)]
pub struct ErrorDocument {
    /// The error code, for programs.
    #[schema(value_type = String, pattern = "^[a-z_]+$")]
    pub(super) error: &'static str,
    /// The description of the error, for people.
    #[schema(min_length = 1)]
    error_description: String,
}

impl OAuthError {
    /// Returns the body of the response.
    #[must_use]
    pub fn document(&self) -> ErrorDocument {
        let (_, error, error_description) = self.parts();
        ErrorDocument { error, error_description }
    }

    /// Returns the header that accompanies the status, if there is one.
    pub(super) fn header(&self) -> Option<(HeaderName, Cow<'static, str>)> {
        match self {
            Self::InvalidClient => {
                Some((WWW_AUTHENTICATE, r#"Basic realm="auth-api", charset="UTF-8""#.into()))
            }
            Self::Other(problem) => problem.header(),
            Self::Unread(_) | Self::InvalidRequest(_) => None,
        }
    }

    fn parts(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::InvalidRequest(description) => (StatusCode::BAD_REQUEST, "invalid_request", (*description).to_owned()),
            Self::InvalidClient => (
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "The request must contain the id and secret of a client (HTTP Basic). `auth-api clients add ID` creates them.".into(),
            ),
            Self::Unread(problem) => (problem.status_code(), "invalid_request", problem.to_string()),
            Self::Other(problem) => {
                let error = match problem {
                    Problem::RateLimited { .. } | Problem::Unavailable => "temporarily_unavailable",
                    _ => "server_error",
                };
                (problem.status_code(), error, problem.to_string())
            }
        }
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().2)
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.parts().0
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if matches!(self, Self::Unread(_)) {
            response.force_close();
        }
        if let Some((name, value)) = self.header() {
            response.insert_header((name, value.as_ref()));
        }
        response.json(self.document())
    }
}

impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        Self::Other(problem)
    }
}

/// Authenticates the client that sent a request, by HTTP Basic (RFC 6749 §2.3.1).
///
/// A request whose credentials are valid and can be checked immediately is not rate-limited. A
/// request with wrong credentials counts against the quota of its network. So does a request whose
/// secret must be checked with an argon2id hash; the request is counted before the hash is
/// computed. Requests without credentials are counted only in this process. This is sufficient,
/// because such a request is no attempt to guess a secret.
pub async fn authenticate(
    request: &HttpRequest,
    state: &State,
    route: Route,
) -> Result<ClientId, OAuthError> {
    let client = Client::of(request, &state.trusted_proxies);
    let reject = |id: Option<&str>| {
        let kind = Kind::Client { route: route.as_str() };
        if state.repeats.is_first(kind, &narrowest_network(client.ip)) {
            audit::client_refused(
                &client,
                id.filter(|id| ClientId::parse(id).is_ok()),
                route.as_str(),
            );
        }
        OAuthError::InvalidClient
    };
    let Some(presented) = basic(request) else {
        limit_stranger(request, state, route, client.ip)?;
        return Err(reject(None));
    };
    let claimed = presented.id.clone();
    let check = match state.clients.recognise(presented) {
        Recognition::Client(id) => return Ok(id),
        Recognition::Nobody => {
            limit(request, state, route, client.ip, None).await?;
            return Err(reject(Some(&claimed)));
        }
        Recognition::Old(check) => check,
    };
    let turn = check.turn().await.map_err(|busy| {
        tracing::warn!(event = "client_check_failed", error = %busy, "introspection client not checked");
        OAuthError::Other(Problem::Unavailable)
    })?;
    if let Some(id) = turn.remembered() {
        return Ok(id);
    }
    limit(request, state, route, client.ip, None).await?;
    turn.check().await.ok_or_else(|| reject(Some(&claimed)))
}

/// Counts the result of a token introspection in the metrics.
pub(crate) fn count_introspection(active: bool) {
    let outcome = if active { "active" } else { "inactive" };
    counter!(metrics::INTROSPECTIONS, "outcome" => outcome).increment(1);
}

/// Returns the client's id and secret if there is exactly one `Authorization` header and its scheme
/// is Basic. The header contains both values in form encoding.
fn basic(request: &HttpRequest) -> Option<PresentedSecret> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, None) = (headers.next()?, headers.next()) else { return None };
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim_matches(' ')).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| {
        Some(percent_decode_str(&text.replace('+', " ")).decode_utf8().ok()?.into_owned())
    };
    Some(PresentedSecret { id: plain(id)?, secret: plain(secret)?.into() })
}
