//! POST /auth/refresh: exchanges the current refresh token for the next pair of tokens.

mod decision;
mod old_token;

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use schema::families::SessionState;
use schema::ids::SessionId;
use serde::Deserialize;
use utoipa::ToSchema;

use self::decision::{PresentedToken, Refreshed, decide};
use super::tokens::{self, Pair};
use crate::audit;
use crate::credentials::RefreshToken;
use crate::credentials::access_token::Grant;
use crate::http::api_spec::example;
use crate::http::limit::{hide_session, limit};
use crate::http::{
    Client, IdempotencyHeader, IdempotencyKey, Json, Peer, Problem, api_spec, response_delay,
};
use crate::limits::Route;
use crate::metrics::{self, RefreshOutcome};
use crate::state::State;

/// A request for the next pair of tokens.
#[derive(Deserialize, ToSchema)]
#[schema(as = RefreshRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The most recent refresh token of the session.
    #[schema(examples(json!(example::REFRESH_TOKEN)))]
    refresh_token: String,
}

/// Refresh the tokens
///
/// Returns a new access token and a new refresh token. The presented refresh token is then used up:
/// store the new one and delete the old one.
///
/// If the response was lost, or if two tabs refreshed at the same time, send the old refresh token
/// again. Within `REFRESH_REUSE_GRACE` (30 s by default), every request with the old token returns
/// *the same* successor. A retry with the `Idempotency-Key` of the first attempt returns this
/// successor at any time until the successor has been used.
///
/// A used-up refresh token that arrives at any other time ends the session, because it may be a
/// stolen copy.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    operation_id = "refresh",
    tag = "auth",
    params(IdempotencyHeader),
    request_body = Request,
    responses(
        (status = 200, description = "The next pair of tokens.", body = tokens::Answer<'static>),
        api_spec::Work, api_spec::Change, api_spec::Body, api_spec::Limited, api_spec::Refresh
    )
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let response = respond(&http, &state, request).await;
    // A 429 response shows the limit that was exceeded. Any other response without tokens hides the
    // session's quota. Otherwise, anyone with a copy of a token could see when the session is
    // refreshed.
    if response.as_ref().is_err_and(|problem| !matches!(problem, Problem::RateLimited { .. })) {
        hide_session(&http);
    }
    response
}

async fn respond(
    http: &HttpRequest,
    state: &web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let (arrived, peer) = (Instant::now(), Peer::of(http));
    let token =
        request.map(|Json(request)| RefreshToken::parse(&request.refresh_token, &state.secrets));
    let parsed = token.and_then(|token| Ok((token, IdempotencyKey::of(http)?)));
    // Only requests that reach a decision count against the session's quota. If other requests
    // counted, their responses could reveal to anyone with a copy of a token how often the session
    // is refreshed.
    let verified = parsed.as_ref().ok().and_then(|(token, _)| token.as_ref().ok());
    let session =
        verified.filter(|_| !peer.has_hung_up()).map(|token| token.session_id().to_string());
    let client = Client::of(http, &state.trusted_proxies);
    let limited = limit(http, state, Route::Refresh, client.ip, session.as_deref()).await;
    limited.inspect_err(|_| RefreshOutcome::Limited.count())?;
    let (token, key) = parsed.inspect_err(|_| RefreshOutcome::Malformed.count())?;
    // A forged token is rejected here, without a database query.
    let Ok(token) = token else {
        return Err(refuse(&client, RefreshOutcome::Forged, None));
    };
    let (started, session_id) = (Instant::now(), token.session_id());
    let attempt = key.map(|key| key.hash(session_id, token.generation()));
    let presented = PresentedToken { token, attempt, arrived, client, peer: peer.clone() };
    let shared = Arc::clone(state);
    let refreshed = state.tasks.finish(async move { refresh(&shared, &presented).await }).await?;
    // A request whose client disconnected does not end the session (see `decision`). Therefore,
    // such a request must not return tokens either.
    let refreshed = if peer.has_hung_up() { Err(Problem::RefreshRefused) } else { refreshed };
    if matches!(refreshed, Err(Problem::RefreshRefused)) {
        response_delay::wait(started).await;
    }
    let (session, successor) = refreshed?;
    let pair = Pair {
        grant: Grant {
            session_id,
            account_id: session.account_id,
            wallet: &session.subject,
            authenticated_at: session.created_at,
            now: session.now,
            session_expires_at: session.expires_at,
        },
        refresh_token: successor,
        refresh_expires_at: session.expires_at,
    };
    pair.answer(state)
}

/// Records why a refresh was rejected. The client gets the same response for every reason.
fn refuse(client: &Client, outcome: RefreshOutcome, session_id: Option<SessionId>) -> Problem {
    if let (RefreshOutcome::Forged, Some(session_id)) = (outcome, session_id) {
        metrics::count_forged_token(Route::Refresh.as_str());
        audit::forged_token(client, session_id, Route::Refresh.as_str());
    }
    // Reuse has its own audit event.
    if outcome != RefreshOutcome::Reuse {
        audit::refresh_refused(client, session_id, outcome.as_str());
    }
    outcome.count();
    Problem::RefreshRefused
}

/// Refreshes the tokens. Also updates the metrics and the audit log, because this function
/// completes even if the client disconnects.
async fn refresh(
    state: &State,
    presented: &PresentedToken,
) -> Result<(SessionState, RefreshToken), Problem> {
    let (client, session_id) = (&presented.client, presented.session_id());
    match decide(state, presented).await {
        Ok(Refreshed::Next { session, successor, retry }) => {
            let outcome = if retry { RefreshOutcome::Retry } else { RefreshOutcome::Success };
            outcome.count();
            audit::refresh(client, session_id, session.account_id, retry);
            Ok((session, successor))
        }
        Ok(Refreshed::Refused(outcome)) => Err(refuse(client, outcome, Some(session_id))),
        Err(problem) => {
            RefreshOutcome::Unavailable.count();
            Err(problem)
        }
    }
}
