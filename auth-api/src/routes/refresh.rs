//! POST /auth/refresh: the next pair of tokens for the current refresh token.

mod old_token;

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::families::{Glance, Rotated, Rotation, Standing};
use schema::ids::{SessionId, TokenHash};
use schema::sessions::{RevokedReason, Session};
use serde::Deserialize;
use utoipa::ToSchema;

use self::old_token::{OldToken, Verdict};
use super::tokens::{self, Pair};
use crate::audit::{self, By};
use crate::credentials::RefreshToken;
use crate::credentials::access_token::Grant;
use crate::http::documented::example;
use crate::http::limit::limit;
use crate::http::{Client, IdempotencyHeader, IdempotencyKey, Json, Peer, Problem, documented, refusal};
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

/// A genuine refresh token, and what came with it.
struct Presented {
    token: RefreshToken,
    /// The hash of the `Idempotency-Key`.
    attempt: Option<TokenHash>,
    /// When the whole request was there.
    arrived: Instant,
    peer: Peer,
}

/// What became of a refresh token.
enum Refreshed {
    /// It was the current one and has a successor now, or it is a retry.
    Next { session: Rotated, successor: RefreshToken, retry: bool },
    /// It is not accepted.
    Refused(RefreshOutcome),
}

/// The next pair of tokens
///
/// Refresh tokens rotate: keep the new one and forget the old one. If the answer was lost, or two tabs refreshed at once, the
/// old one gets *the same* successor within `REFRESH_REUSE_GRACE` (30 s), and with the same `Idempotency-Key` until the successor
/// has been used. Used at any other time it ends the session, for then somebody has a copy.
#[utoipa::path(
    post,
    path = "/auth/refresh",
    operation_id = "refresh",
    tag = "auth",
    params(IdempotencyHeader),
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
    let (arrived, peer) = (Instant::now(), Peer::of(&http));
    let token = request.map(|Json(request)| RefreshToken::parse(&request.refresh_token, &state.secrets));
    let session = token.as_ref().ok().and_then(|token| token.as_ref().ok()).map(|token| token.session_id().to_string());
    let client = Client::of(&http, &state.trusted_proxies);
    let limited = limit(&http, &state, Route::Refresh, client.ip, session.as_deref()).await;
    limited.inspect_err(|_| RefreshOutcome::Limited.count())?;
    let (token, key) = token
        .and_then(|token| Ok((token, IdempotencyKey::of(&http)?)))
        .inspect_err(|_| RefreshOutcome::Malformed.count())?;
    // A forged token ends here, before the database is asked.
    let Ok(token) = token else {
        return Err(refuse(&client, RefreshOutcome::Forged, None));
    };
    let (asked, session_id) = (Instant::now(), token.session_id());
    let attempt = key.map(|key| key.hash(session_id, token.generation()));
    let presented = Presented { token, attempt, arrived, peer: peer.clone() };
    let shared = Arc::clone(&state);
    let refreshed = state.tasks.finish(async move { refresh(&shared, &client, presented).await }).await?;
    // Hanging up spares a session (see `look_again`). So it must not be a way to get tokens.
    let refreshed = if peer.has_hung_up() { Err(Problem::RefreshRefused) } else { refreshed };
    if matches!(refreshed, Err(Problem::RefreshRefused)) {
        refusal::due(asked).await;
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
async fn refresh(state: &State, client: &Client, presented: Presented) -> Result<(Rotated, RefreshToken), Problem> {
    let session_id = presented.token.session_id();
    match decide(state, client, &presented).await {
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

async fn decide(state: &State, client: &Client, presented: &Presented) -> Result<Refreshed, Problem> {
    // A process that was paused, or very busy, gets to requests that nobody waits for any more.
    if presented.peer.has_hung_up() {
        return Ok(Refreshed::Refused(RefreshOutcome::HungUp));
    }
    let token = &presented.token;
    let mut connection = state.database.acquire().await?;
    // The grace is longer than an answer may take, which is so only if its queries share one bound.
    connection.bound_in_total();
    if let Some(next) = rotate(state, &mut connection, presented).await? {
        return Ok(next);
    }
    let arrived = match glance(&mut connection, presented).await? {
        Glimpsed::Refused(outcome) => return Ok(Refreshed::Refused(outcome)),
        Glimpsed::Old { arrived } => arrived,
    };
    let watch = connection.watch();
    let second_look =
        connection.transaction(async |connection| look_again(state, connection, presented, arrived).await);
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
async fn rotate(
    state: &State,
    connection: &mut Lease<'_>,
    presented: &Presented,
) -> Result<Option<Refreshed>, Problem> {
    let token = &presented.token;
    let Some(generation) = token.generation().checked_add(1) else { return Ok(None) };
    let session_id = token.session_id();
    let successor = RefreshToken::generate(&state.secrets, session_id, generation)?;
    let rotation = Rotation {
        session_id,
        generation: token.generation().into(),
        presented: token.hash(),
        successor: successor.hash(),
        sealed_successor: token.seal(&successor, &state.secrets)?,
        attempt: presented.attempt,
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
/// milliseconds where there is a session, and nothing where there is none.
async fn glance(connection: &mut Lease<'_>, presented: &Presented) -> Result<Glimpsed, Problem> {
    let token = &presented.token;
    let glance = timed(connection.watch(), "refresh_glance", Glance::at(connection, token.session_id())).await?;
    let Some(glance) = glance else { return Ok(Glimpsed::Refused(RefreshOutcome::Unknown)) };
    // A little too early rather than too late: the time includes the way back from the database.
    let arrived = glance.now - TimeDelta::from_std(presented.arrived.elapsed()).unwrap_or_default();
    Ok(refused_for(glance, token).map_or(Glimpsed::Old { arrived }, Glimpsed::Refused))
}

/// What can be told of a token that is not the current one without a lock.
enum Glimpsed {
    /// It is not accepted.
    Refused(RefreshOutcome),
    /// It is an old one of a live session, and its request arrived at this time of the database's clock.
    Old { arrived: DateTime<Utc> },
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
    presented: &Presented,
    arrived: DateTime<Utc>,
) -> Result<Refreshed, Problem> {
    let token = &presented.token;
    let Some(standing) = Standing::lock(connection, token.session_id()).await? else {
        return Ok(Refreshed::Refused(RefreshOutcome::Unknown));
    };
    if let Some(outcome) = refused_for(standing.glance(), token) {
        return Ok(Refreshed::Refused(outcome));
    }
    let old = OldToken { token, attempt: presented.attempt, arrived };
    match old.judge(&standing, &state.secrets, state.lifetimes.reuse_grace) {
        Verdict::Retry(successor) => Ok(Refreshed::Next { session: standing.session, successor, retry: true }),
        Verdict::Superseded => Ok(Refreshed::Refused(RefreshOutcome::Superseded)),
        // It may have asked another process meanwhile, and have got its answer there.
        Verdict::Reuse if presented.peer.has_hung_up() => Ok(Refreshed::Refused(RefreshOutcome::HungUp)),
        Verdict::Reuse => {
            Session::revoke(connection, token.session_id(), RevokedReason::Reuse).await?;
            Ok(Refreshed::Refused(RefreshOutcome::Reuse))
        }
    }
}
