//! POST /auth/refresh: the next pair of tokens for the current refresh token.

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::families::{Glance, Rotated, Rotation, Standing};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::tokens::{self, Pair};
use crate::audit::{self, By};
use crate::credentials::RefreshToken;
use crate::credentials::access_token::Grant;
use crate::http::documented::example;
use crate::http::limit::limit;
use crate::http::{Client, Json, Problem, documented, refusal};
use crate::limits::Route;
use crate::metrics::{self, RefreshOutcome};
use crate::state::{Lease, State, timed};

/// A session that is to go on.
#[derive(Deserialize, ToSchema)]
#[schema(as = RefreshRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The one that came last.
    #[schema(examples(json!(example::REFRESH_TOKEN)))]
    refresh_token: String,
}

/// What became of a refresh token.
enum Refreshed {
    /// It was the current one and has a successor now, or had one a moment ago.
    Next { session: Rotated, successor: RefreshToken, retry: bool },
    /// It is not accepted.
    Refused(RefreshOutcome),
}

/// The next pair of tokens
///
/// Refresh tokens rotate: keep the new one and forget the old one. If the answer was lost, or two tabs refreshed at once, the
/// old one gets *the same* successor within `REFRESH_REUSE_GRACE` (10 s). Used at any other time it ends the session, for then
/// somebody has a copy.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    operation_id = "refresh",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 200, description = "The session goes on.", body = tokens::Answer<'static>),
        documented::Work, documented::Change, documented::Body, documented::Limited, documented::Refresh
    )
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let token = request.map(|Json(request)| RefreshToken::parse(&request.refresh_token, &state.secrets));
    let session = token.as_ref().ok().and_then(|token| token.as_ref().ok()).map(|token| token.session_id().to_string());
    let client = Client::of(&http, &state.trusted_proxies);
    let limited = limit(&http, &state, Route::Refresh, client.ip, session.as_deref()).await;
    limited.inspect_err(|_| RefreshOutcome::Limited.count())?;
    // A forged token ends here, before the database is asked.
    let Ok(token) = token.inspect_err(|_| RefreshOutcome::Malformed.count())? else {
        return Err(refuse(&client, RefreshOutcome::Forged, None));
    };
    let (asked, session_id) = (Instant::now(), token.session_id());
    let shared = Arc::clone(&state);
    let refreshed = state.tasks.finish(async move { refresh(&shared, &client, token).await }).await?;
    if matches!(refreshed, Err(Problem::RefreshRefused)) {
        refusal::due(asked).await;
    }
    let (session, successor) = refreshed?;
    let pair = Pair {
        grant: Grant {
            session_id,
            account_id: session.account_id,
            wallet: &session.subject,
            now: session.now,
            session_expires_at: session.expires_at,
        },
        refresh_token: successor,
        refresh_expires_at: session.expires_at,
    };
    pair.answer(&state)
}

/// The reason is for us: the client gets the same answer for all of them.
fn refuse(client: &Client, outcome: RefreshOutcome, session_id: Option<SessionId>) -> Problem {
    match (outcome, session_id) {
        (RefreshOutcome::Reuse, Some(session_id)) => audit::reuse(client, session_id),
        _ => audit::refresh_refused(client, session_id, outcome.as_str()),
    }
    outcome.count();
    Problem::RefreshRefused
}

/// Refreshes, and counts and tells how that ended: here, where it also happens for a client that has hung up.
async fn refresh(state: &State, client: &Client, token: RefreshToken) -> Result<(Rotated, RefreshToken), Problem> {
    let session_id = token.session_id();
    match decide(state, client, token).await {
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

async fn decide(state: &State, client: &Client, token: RefreshToken) -> Result<Refreshed, Problem> {
    let mut connection = state.database.acquire().await?;
    if let Some(next) = rotate(state, &mut connection, &token).await? {
        return Ok(next);
    }
    if let Some(outcome) = glance(&mut connection, &token).await? {
        return Ok(Refreshed::Refused(outcome));
    }
    let watch = connection.watch();
    let second_look = connection.transaction(async |connection| look_again(state, connection, &token).await);
    // It may have been committed all the same: then somebody has to be denied.
    let refreshed = timed(watch, "refresh_second_look", second_look).await.inspect_err(|_| state.denylist.doubt())?;
    drop(connection);
    if matches!(refreshed, Refreshed::Refused(RefreshOutcome::Reuse)) {
        metrics::count_revoked(RevokedReason::Reuse, 1);
        audit::revoke(Some(client), token.session_id(), &By::Rule, RevokedReason::Reuse);
        state.denylist.deny(&[token.session_id()]).await;
    }
    Ok(refreshed)
}

/// One round trip: the common case. `None`: the token is not the current one of a live session.
async fn rotate(state: &State, connection: &mut Lease<'_>, token: &RefreshToken) -> Result<Option<Refreshed>, Problem> {
    let Some(generation) = token.generation().checked_add(1) else { return Ok(None) };
    let session_id = token.session_id();
    let successor = RefreshToken::generate(&state.secrets, session_id, generation)?;
    let rotation = Rotation {
        session_id,
        generation: token.generation().into(),
        presented: token.hash(),
        successor: successor.hash(),
        sealed_successor: token.seal(&successor, &state.secrets)?,
    };
    let Some(mut session) = timed(connection.watch(), "rotate", rotation.apply(connection)).await? else {
        return Ok(None);
    };
    slide(state, connection, token, &mut session).await;
    Ok(Some(Refreshed::Next { session, successor, retry: false }))
}

/// Moves the session's expiry along, when that is worth a write. The rotation has been committed: if this fails, the
/// client still gets its tokens, and the next refresh moves it.
async fn slide(state: &State, connection: &mut Lease<'_>, token: &RefreshToken, session: &mut Rotated) {
    let (ttl, threshold) = (state.lifetimes.session, state.lifetimes.extend_threshold);
    // The configuration bounds both to years.
    let slid = chrono::Duration::from_std(ttl).map_or(session.expires_at, |ttl| session.now + ttl);
    let won = slid.min(session.absolute_expires_at) - session.expires_at;
    if won.to_std().is_ok_and(|won| won >= threshold) {
        let watch = connection.watch();
        let extend = Session::extend(connection, token.session_id(), ttl, threshold);
        match timed(watch, "extend_session", extend).await {
            Ok(extended) => session.expires_at = extended.unwrap_or(session.expires_at),
            Err(error) => tracing::warn!(%error, "a session's expiry was not moved along"),
        }
    }
}

/// Why the rotation found nothing, where that is for good: no lock is needed to tell. A lock is written to disk, and would take
/// milliseconds where there is a session, and nothing where there is none. `None`: the token is an old one of a live session.
async fn glance(connection: &mut Lease<'_>, token: &RefreshToken) -> Result<Option<RefreshOutcome>, Problem> {
    let glance = timed(connection.watch(), "refresh_glance", Glance::at(connection, token.session_id())).await?;
    Ok(glance.map_or(Some(RefreshOutcome::Unknown), |glance| refused_for(glance, token)))
}

/// What a token is refused for without looking at its hash.
fn refused_for(glance: Glance, token: &RefreshToken) -> Option<RefreshOutcome> {
    if glance.revoked {
        Some(RefreshOutcome::Revoked)
    } else if glance.expired {
        Some(RefreshOutcome::Expired)
    } else if i64::from(token.generation()) >= glance.generation {
        // Above the current one, or the current one with another hash: genuine, and yet the database never issued it.
        // That is what a restored backup looks like, so nothing is revoked for it.
        Some(RefreshOutcome::Unknown)
    } else {
        None
    }
}

/// Whether an old token is a retry or a reuse, decided under the locks of session and family.
async fn look_again(
    state: &State,
    connection: &mut AsyncPgConnection,
    token: &RefreshToken,
) -> Result<Refreshed, Problem> {
    let Some(standing) = Standing::lock(connection, token.session_id()).await? else {
        return Ok(Refreshed::Refused(RefreshOutcome::Unknown));
    };
    if let Some(outcome) = refused_for(standing.glance(), token) {
        return Ok(Refreshed::Refused(outcome));
    }
    if let Some(successor) = retried(state, &standing, token) {
        return Ok(Refreshed::Next { session: standing.session, successor, retry: true });
    }
    Session::revoke(connection, token.session_id(), RevokedReason::Reuse).await?;
    Ok(Refreshed::Refused(RefreshOutcome::Reuse))
}

/// The successor that was already issued, when `token` is its immediate predecessor and the rotation is younger than the
/// grace: the client lost our answer, or two tabs raced. The chain never forks.
fn retried(state: &State, standing: &Standing, token: &RefreshToken) -> Option<RefreshToken> {
    let age = standing.session.now.signed_duration_since(standing.rotated_at).to_std().unwrap_or_default();
    let predecessor = standing.previous_hash.is_some_and(|previous| previous.0.ct_eq(&token.hash().0).into())
        && i64::from(token.generation()) + 1 == standing.generation
        && age < state.lifetimes.reuse_grace;
    predecessor.then(|| token.unseal(standing.sealed_successor.as_deref()?, &state.secrets)).flatten()
}
