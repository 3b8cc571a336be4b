//! GET /auth/sessions, DELETE /auth/sessions/{id} and DELETE /auth/sessions: list the caller's live
//! sessions, end one, or end all.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection as _;
use schema::accounts::Account;
use schema::ids::{AccountId, SessionId};
use schema::sessions::{RevokedReason, Session, ShownTimes};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::audit::{self, RevokedBy};
use crate::database::{DatabaseError, timed};
use crate::device::device;
use crate::domain::Transport;
use crate::http::api_spec::example;
use crate::http::caller;
use crate::http::{Client, Problem, Query, api_spec};
use crate::limits::Route;
use crate::metrics;
use crate::state::State;

/// A session of the caller's account.
#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionAnswer {
    /// The session's id.
    #[schema(examples(json!(example::SESSION_ID)))]
    id: Uuid,
    /// The transport of the session.
    #[schema(value_type = Transport)]
    transport: &'static str,
    /// The device, derived from the `User-Agent` header of the login. `null` if the login had no
    /// such header.
    #[schema(required, max_length = 256, examples("Firefox on Windows 10"))]
    device: Option<String>,
    /// The IPv4 or IPv6 address that the login came from.
    #[schema(required, value_type = Option<String>, examples("203.0.113.7"))]
    ip: Option<IpAddr>,
    /// When the session was created, by a login.
    #[schema(examples("2026-11-21T09:00:07Z"))]
    created_at: DateTime<Utc>,
    /// When the user authenticated, which is the time of the login. If `STEP_UP_AGE` is set, some
    /// requests require a recent login.
    #[schema(examples("2026-11-21T09:00:07Z"))]
    auth_time: DateTime<Utc>,
    /// When the session was last used. For transport `token`, this is the time of the last refresh;
    /// a refresh is shown only after twice `REFRESH_REUSE_GRACE` has passed. For transport
    /// `cookie`, this is the time of the last request, recorded at most once a minute.
    #[schema(examples("2026-11-21T09:14:07Z"))]
    last_seen_at: DateTime<Utc>,
    /// When the session expires. Each use can extend this time (sliding expiration). An extension
    /// by a refresh is shown only after the refresh is shown in `last_seen_at`.
    #[schema(examples("2026-12-21T09:00:07Z"))]
    expires_at: DateTime<Utc>,
    /// Whether this is the session that the request uses.
    current: bool,
}

impl SessionAnswer {
    /// Describes a session. If less than `hidden` has passed since the last rotation of the
    /// session, the times from before that rotation are shown.
    pub(super) fn of(session: &Session, current: bool, hidden: Duration) -> Self {
        let ShownTimes { last_seen_at, expires_at } = session.shown_times(hidden);
        Self {
            id: session.id.0,
            transport: Transport::of(session).as_str(),
            device: session.user_agent.as_deref().map(device),
            ip: session.ip,
            created_at: session.created_at,
            auth_time: session.authenticated_at(),
            last_seen_at,
            expires_at,
            current,
        }
    }
}

/// The default number of sessions in a response.
const LIMIT: u16 = 50;
/// The maximum number of sessions in a response.
const MAX_LIMIT: u16 = 200;

/// The query parameters of the list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// The maximum number of sessions to return.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u16>,
}

/// The live sessions of an account, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Sessions)]
pub(super) struct ListAnswer {
    /// The live sessions. A live session is neither expired nor revoked.
    #[schema(max_items = 200)]
    sessions: Vec<SessionAnswer>,
}

/// List the account's live sessions
///
/// Returns the sessions newest first, up to `limit`.
#[utoipa::path(
    get,
    path = "/auth/sessions",
    operation_id = "list_sessions",
    tag = "sessions",
    params(List),
    responses(
        (status = 200, description = "The live sessions. The caller's session is among them, unless `limit` or more sessions are newer.", body = ListAnswer),
        api_spec::Work, api_spec::Limited, api_spec::Authenticated
    ),
    security(("access_token" = []), ("session_cookie" = []))
)]
pub(super) async fn list(
    http: HttpRequest,
    state: web::Data<State>,
    query: Query<List>,
) -> Result<HttpResponse, Problem> {
    let limit = query.0.limit.unwrap_or(LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::malformed(
            "limit",
            format!("Expected a number from 1 to {MAX_LIMIT}."),
        ));
    }
    let current = caller::authenticate(&http, &state, Route::Sessions).await?;
    let (shared, account_id) = (Arc::clone(&state), current.account.id);
    let listed = state.tasks.finish(async move {
        let mut connection = shared.database.acquire().await?;
        let watch = connection.watch();
        let list = Session::list(&mut connection, account_id, limit.into());
        Ok::<_, DatabaseError>(timed(watch, "list_sessions", list).await?)
    });
    let sessions = listed.await??;
    let hidden = state.lifetimes.rotation_hidden();
    let sessions = sessions
        .iter()
        .map(|session| SessionAnswer::of(session, session.id == current.id, hidden))
        .collect();
    Ok(HttpResponse::Ok().json(ListAnswer { sessions }))
}

/// End a session
///
/// Ends a live session of the caller's account. Returns 404 if the account has no live session with
/// this id, whether or not the id exists. If `STEP_UP_AGE` is set, ending a session other than the
/// caller's own requires a recent login.
#[utoipa::path(
    delete,
    path = "/auth/sessions/{id}",
    operation_id = "end_session",
    tag = "sessions",
    params(("id" = Uuid, Path, description = "The session's id.", example = "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e")),
    responses(
        (status = 204, description = "The session has ended."),
        api_spec::Work, api_spec::Change, api_spec::Limited, api_spec::SteppedUp, api_spec::Named
    ),
    security(("access_token" = []), ("session_cookie" = []))
)]
pub(super) async fn delete_one(
    http: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = caller::authenticate(&http, &state, Route::OneSession).await?;
    let id = Uuid::try_parse(&id).map(SessionId).map_err(|_| Problem::NotFound)?;
    if id != current.id {
        caller::require_recent_login(&current, &state)?;
    }
    let (shared, client, account_id) =
        (Arc::clone(&state), Client::of(&http, &state.trusted_proxies), current.account.id);
    let ended = state.tasks.finish(async move { end_one(&shared, &client, id, account_id).await });
    if !ended.await?? {
        return Err(Problem::NotFound);
    }
    let mut response = HttpResponse::NoContent();
    if id == current.id && Transport::of(&current) == Transport::Cookie {
        response.cookie(state.cookie.clear());
    }
    Ok(response.finish())
}

async fn end_one(
    state: &State,
    client: &Client,
    id: SessionId,
    owner: AccountId,
) -> Result<bool, DatabaseError> {
    let revoked = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        timed(watch, "revoke_own_session", Session::revoke_own(&mut connection, id, owner)).await
    };
    let revoked = revoked.inspect_err(|_| state.denylist.doubt())?;
    if revoked {
        state.denylist.deny(&[id]).await;
        metrics::count_revoked(RevokedReason::User, 1);
        audit::revoke(Some(client), id, &RevokedBy::Account(owner), RevokedReason::User);
    }
    Ok(revoked)
}

/// The query parameters that select the sessions to end.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteAll {
    /// The session to keep. `current` is the caller's session. By default, no session is kept.
    #[param(inline)]
    except: Option<Except>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Except {
    Current,
}

/// The result of ending several sessions.
#[derive(Serialize, ToSchema)]
pub(super) struct Revoked {
    /// The number of sessions that were ended.
    #[schema(examples(3))]
    pub(super) revoked: usize,
}

/// End all sessions
///
/// Ends all live sessions of the caller's account. With `except=current`, the caller's session
/// continues. If `STEP_UP_AGE` is set, this request requires a recent login.
#[utoipa::path(
    delete,
    path = "/auth/sessions",
    operation_id = "end_sessions",
    tag = "sessions",
    params(DeleteAll),
    responses(
        (status = 200, description = "The sessions have ended.", body = Revoked),
        api_spec::Work, api_spec::Change, api_spec::Limited, api_spec::SteppedUp
    ),
    security(("access_token" = []), ("session_cookie" = []))
)]
pub(super) async fn delete_all(
    http: HttpRequest,
    state: web::Data<State>,
    query: Query<DeleteAll>,
) -> Result<HttpResponse, Problem> {
    let current = caller::authenticate(&http, &state, Route::Sessions).await?;
    caller::require_recent_login(&current, &state)?;
    let kept = query.0.except.map(|Except::Current| current.id);
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let (account_id, id) = (current.account.id, current.id);
    let ended =
        state.tasks.finish(async move { end_all(&shared, &client, account_id, id, kept).await });
    let revoked = ended.await??.ok_or(Problem::Unauthenticated)?;
    let mut response = HttpResponse::Ok();
    if kept.is_none() && Transport::of(&current) == Transport::Cookie {
        response.cookie(state.cookie.clear());
    }
    Ok(response.json(Revoked { revoked }))
}

/// Ends the sessions while it holds a lock on the account's row, so that a concurrent login commits
/// either before or after the revocation. Returns `None` if the caller's own session has ended in
/// the meantime.
async fn end_all(
    state: &State,
    client: &Client,
    account_id: AccountId,
    caller: SessionId,
    kept: Option<SessionId>,
) -> Result<Option<usize>, DatabaseError> {
    let mut connection = state.database.acquire().await?;
    let watch = connection.watch();
    let transaction = connection.transaction(async |connection| {
        if !Account::lock(connection, account_id).await?
            || !Session::is_live(connection, caller).await?
        {
            return Ok::<_, diesel::result::Error>(None);
        }
        Session::revoke_all(connection, account_id, kept, RevokedReason::User).await.map(Some)
    });
    let ended = timed(watch, "revoke_all_sessions", transaction)
        .await
        .inspect_err(|_| state.denylist.doubt())?;
    drop(connection);
    let Some(ended) = ended else { return Ok(None) };
    state.denylist.deny(&ended).await;
    metrics::count_revoked(RevokedReason::User, ended.len());
    for id in &ended {
        audit::revoke(Some(client), *id, &RevokedBy::Account(account_id), RevokedReason::User);
    }
    Ok(Some(ended.len()))
}
