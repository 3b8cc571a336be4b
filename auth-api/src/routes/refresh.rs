//! POST /auth/refresh: the next pair of tokens for the current refresh token.

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

/// A session that is to go on.
#[derive(Deserialize, ToSchema)]
#[schema(as = RefreshRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The one that came last.
    #[schema(examples(json!(example::REFRESH_TOKEN)))]
    refresh_token: String,
}

/// The next pair of tokens
///
/// Refresh tokens rotate: keep the new one and forget the old one. If the answer was lost, or two
/// tabs refreshed at once, the old one gets *the same* successor within `REFRESH_REUSE_GRACE` (30
/// s), and with the same `Idempotency-Key` until the successor has been used. Used at any other
/// time it ends the session, for then somebody has a copy.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    operation_id = "refresh",
    tag = "auth",
    params(IdempotencyHeader),
    request_body = Request,
    responses(
        (status = 200, description = "The session goes on.", body = tokens::Answer<'static>),
        api_spec::Work, api_spec::Change, api_spec::Body, api_spec::Limited, api_spec::Refresh
    )
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let answer = answer(&http, &state, request).await;
    // A limit that refuses shows itself. Any other answer without tokens costs the client nothing
    // that would make it stop asking.
    if answer.as_ref().is_err_and(|problem| !matches!(problem, Problem::RateLimited { .. })) {
        hide_session(&http);
    }
    answer
}

async fn answer(
    http: &HttpRequest,
    state: &web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let (arrived, peer) = (Instant::now(), Peer::of(http));
    let token =
        request.map(|Json(request)| RefreshToken::parse(&request.refresh_token, &state.secrets));
    let parsed = token.and_then(|token| Ok((token, IdempotencyKey::of(http)?)));
    // Only what is decided counts by session: from what is not, anybody with a copy of a token
    // could learn how often it is refreshed.
    let genuine = parsed.as_ref().ok().and_then(|(token, _)| token.as_ref().ok());
    let session =
        genuine.filter(|_| !peer.has_hung_up()).map(|token| token.session_id().to_string());
    let client = Client::of(http, &state.trusted_proxies);
    let limited = limit(http, state, Route::Refresh, client.ip, session.as_deref()).await;
    limited.inspect_err(|_| RefreshOutcome::Limited.count())?;
    let (token, key) = parsed.inspect_err(|_| RefreshOutcome::Malformed.count())?;
    // A forged token ends here, before the database is asked.
    let Ok(token) = token else {
        return Err(refuse(&client, RefreshOutcome::Forged, None));
    };
    let (asked, session_id) = (Instant::now(), token.session_id());
    let attempt = key.map(|key| key.hash(session_id, token.generation()));
    let presented = PresentedToken { token, attempt, arrived, client, peer: peer.clone() };
    let shared = Arc::clone(state);
    let refreshed = state.tasks.finish(async move { refresh(&shared, &presented).await }).await?;
    // Hanging up spares a session (see `decision`). So it must not be a way to get tokens.
    let refreshed = if peer.has_hung_up() { Err(Problem::RefreshRefused) } else { refreshed };
    if matches!(refreshed, Err(Problem::RefreshRefused)) {
        response_delay::wait(asked).await;
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

/// The reason is for us: the client gets the same answer for all of them.
fn refuse(client: &Client, outcome: RefreshOutcome, session_id: Option<SessionId>) -> Problem {
    if let (RefreshOutcome::Forged, Some(session_id)) = (outcome, session_id) {
        metrics::count_forged_token(Route::Refresh.as_str());
        audit::forged_token(client, session_id, Route::Refresh.as_str());
    }
    // A reuse has an event of its own.
    if outcome != RefreshOutcome::Reuse {
        audit::refresh_refused(client, session_id, outcome.as_str());
    }
    outcome.count();
    Problem::RefreshRefused
}

/// Refreshes, and counts and reports how that ended: here, where it also happens for a client that
/// has hung up.
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
