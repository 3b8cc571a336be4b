//! POST /auth/logout: ends the session of the bearer, or of the refresh token in the body.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use serde::Deserialize;

use crate::credentials::RefreshToken;
use crate::http::{OptionalJson, Problem, bearer};
use crate::metrics;
use crate::state::{DatabaseError, State, timed};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    refresh_token: String,
}

/// 204, also when the session was over already: a client that asks twice wants the same.
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: OptionalJson<Request>,
) -> Result<HttpResponse, Problem> {
    let by_refresh_token = match request.0 {
        // Any genuine token of the session will do, an old one too: who holds one may end what it belongs to.
        Some(request) => Some(
            RefreshToken::parse(&request.refresh_token, &state.secrets)
                .map_err(|_| Problem::Unauthenticated)?
                .session_id(),
        ),
        None => None,
    };
    let by_bearer = if bearer::is_present(&http) { Some(bearer::genuine(&http, &state)?.session_id) } else { None };
    let session_id = match (by_bearer, by_refresh_token) {
        (Some(one), Some(other)) if one != other => {
            return Err(Problem::malformed("refresh_token", "It belongs to another session than the access token."));
        }
        (Some(id), _) | (None, Some(id)) => id,
        (None, None) => return Err(Problem::Unauthenticated),
    };
    let shared = Arc::clone(&state);
    let ended = state.tasks.finish(async move { end(&shared, session_id).await }).await??;
    if ended {
        metrics::count_revoked(RevokedReason::Logout, 1);
        tracing::info!(%session_id, "logged out");
    }
    Ok(HttpResponse::NoContent().finish())
}

async fn end(state: &State, session_id: SessionId) -> Result<bool, DatabaseError> {
    let ended = {
        let mut connection = state.database.acquire().await?;
        timed("revoke_session", Session::revoke(&mut connection, session_id, RevokedReason::Logout)).await?
    };
    if ended {
        state.denylist.deny(&[session_id]).await;
    }
    Ok(ended)
}
