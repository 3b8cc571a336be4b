//! DELETE /admin/sessions/{id}: ends a session.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use schema::ids::SessionId;
use schema::sessions::{RevokedReason, Session};
use uuid::Uuid;

use super::record_ended;
use crate::admin::sweep::Done;
use crate::audit::{self, Operator};
use crate::database::{DatabaseError, timed};
use crate::http::{Client, Problem, api_spec};
use crate::state::State;

/// End a session
///
/// Ends a live session. Returns 404 if the session does not exist or has already ended.
#[utoipa::path(
    delete,
    path = "/admin/sessions/{id}",
    operation_id = "admin_end_session",
    tag = "admin",
    params(("id" = Uuid, Path, description = "The session's id.", example = "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e")),
    responses((status = 204, description = "The session has ended."), api_spec::Operators, api_spec::Named),
    security(("operator" = []))
)]
pub(in crate::routes) async fn delete(
    http: HttpRequest,
    state: web::Data<State>,
    id: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = Uuid::try_parse(&id).map(SessionId).map_err(|_| Problem::NotFound)?;
    let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
    let ended = state.tasks.finish(async move { end(&shared, &client, id).await });
    if ended.await?? { Ok(HttpResponse::NoContent().finish()) } else { Err(Problem::NotFound) }
}

async fn end(state: &State, client: &Client, id: SessionId) -> Result<bool, DatabaseError> {
    let ended = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        let revoke = Session::revoke_many(&mut connection, vec![id], RevokedReason::Admin);
        timed(watch, "revoke_session", revoke).await
    };
    let ended = ended.inspect_err(|_| state.denylist.doubt())?;
    record_ended(state, client, &ended).await;
    audit::admin_revoke(
        Operator::Http(client),
        &format_args!("session={id}"),
        Done::all(ended.len()),
    );
    Ok(!ended.is_empty())
}
