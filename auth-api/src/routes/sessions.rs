//! The caller's live sessions: listed, one ended, all ended.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use diesel_async::AsyncConnection as _;
use schema::accounts::Account;
use schema::ids::{AccountId, SessionId};
use schema::sessions::{RevokedReason, Session};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::audit::{self, By};
use crate::device::device;
use crate::http::caller::{self, Transport};
use crate::http::{Client, Problem, Query};
use crate::metrics;
use crate::state::{DatabaseError, State, timed};

/// A session, as its owner may see it.
#[derive(Serialize)]
pub(super) struct SessionAnswer {
    id: Uuid,
    transport: &'static str,
    device: Option<String>,
    ip: Option<IpAddr>,
    created_at: DateTime<Utc>,
    last_seen_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    current: bool,
}

impl SessionAnswer {
    pub(super) fn of(session: &Session, current: bool) -> Self {
        Self {
            id: session.id.0,
            transport: Transport::of(session).as_str(),
            device: session.user_agent.as_deref().map(device),
            ip: session.ip,
            created_at: session.created_at,
            last_seen_at: session.last_seen_at,
            expires_at: session.expires_at,
            current,
        }
    }
}

/// Sessions in an answer, unless it is asked for another number.
const LIMIT: u16 = 50;
/// Sessions in an answer at the most.
const MOST: u16 = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    limit: Option<u16>,
}

#[derive(Serialize)]
struct ListAnswer {
    sessions: Vec<SessionAnswer>,
}

/// GET /auth/sessions: newest first.
pub(super) async fn list(
    http: HttpRequest,
    state: web::Data<State>,
    query: Query<List>,
) -> Result<HttpResponse, Problem> {
    let limit = query.0.limit.unwrap_or(LIMIT);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::malformed("limit", format!("Expected a number from 1 to {MOST}.")));
    }
    let current = caller::authenticate(&http, &state).await?;
    let (shared, account_id) = (Arc::clone(&state), current.account.id);
    let listed = state.tasks.finish(async move {
        let mut connection = shared.database.acquire().await?;
        let watch = connection.watch();
        let list = Session::list(&mut connection, account_id, limit.into());
        Ok::<_, DatabaseError>(timed(watch, "list_sessions", list).await?)
    });
    let sessions = listed.await??;
    let sessions = sessions.iter().map(|session| SessionAnswer::of(session, session.id == current.id)).collect();
    Ok(HttpResponse::Ok().json(ListAnswer { sessions }))
}

/// DELETE /auth/sessions/{id}: 204 for a live one of the caller's own, else 404, whatever there is by that id.
pub(super) async fn delete_one(
    http: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let current = caller::authenticate(&http, &state).await?;
    let id = Uuid::try_parse(&id).map(SessionId).map_err(|_| Problem::NotFound)?;
    let (shared, client, account_id) =
        (Arc::clone(&state), Client::of(&http, &state.trusted_proxies), current.account.id);
    let ended = state.tasks.finish(async move { end_one(&shared, &client, id, account_id).await });
    if !ended.await?? {
        return Err(Problem::NotFound);
    }
    let mut answer = HttpResponse::NoContent();
    if id == current.id && Transport::of(&current) == Transport::Cookie {
        answer.cookie(state.cookie.clear());
    }
    Ok(answer.finish())
}

async fn end_one(state: &State, client: &Client, id: SessionId, owner: AccountId) -> Result<bool, DatabaseError> {
    let revoked = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        timed(watch, "revoke_own_session", Session::revoke_own(&mut connection, id, owner)).await
    };
    let revoked = revoked.inspect_err(|_| state.denylist.doubt())?;
    if revoked {
        state.denylist.deny(&[id]).await;
        metrics::count_revoked(RevokedReason::User, 1);
        audit::revoke(Some(client), id, &By::Account(owner), RevokedReason::User);
    }
    Ok(revoked)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteAll {
    except: Option<Except>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Except {
    Current,
}

#[derive(Serialize)]
struct Revoked {
    revoked: usize,
}

/// DELETE /auth/sessions: all, or all but the caller's.
pub(super) async fn delete_all(
    http: HttpRequest,
    state: web::Data<State>,
    query: Query<DeleteAll>,
) -> Result<HttpResponse, Problem> {
    let current = caller::authenticate(&http, &state).await?;
    let kept = query.0.except.map(|Except::Current| current.id);
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let (account_id, id) = (current.account.id, current.id);
    let ended = state.tasks.finish(async move { end_all(&shared, &client, account_id, id, kept).await });
    let revoked = ended.await??.ok_or(Problem::Unauthenticated)?;
    let mut answer = HttpResponse::Ok();
    if kept.is_none() && Transport::of(&current) == Transport::Cookie {
        answer.cookie(state.cookie.clear());
    }
    Ok(answer.json(Revoked { revoked }))
}

/// Under the account's lock, so that a login is before all of it or after. `None`: the caller's own session has ended meanwhile.
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
        if !Account::lock(connection, account_id).await? || !Session::is_live(connection, caller).await? {
            return Ok::<_, diesel::result::Error>(None);
        }
        Session::revoke_all(connection, account_id, kept, RevokedReason::User).await.map(Some)
    });
    let ended = timed(watch, "revoke_all_sessions", transaction).await.inspect_err(|_| state.denylist.doubt())?;
    drop(connection);
    let Some(ended) = ended else { return Ok(None) };
    state.denylist.deny(&ended).await;
    metrics::count_revoked(RevokedReason::User, ended.len());
    for id in &ended {
        audit::revoke(Some(client), *id, &By::Account(account_id), RevokedReason::User);
    }
    Ok(Some(ended.len()))
}
