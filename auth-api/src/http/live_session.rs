//! Looks up sessions: checks whether a session has ended, and reads a live session.

use std::sync::Arc;

use actix_web::web;
use schema::ids::SessionId;
use schema::sessions::Session;

use super::Problem;
use crate::database::{DatabaseError, timed};
use crate::state::State;

/// Returns whether the session of an authentic access token has ended. Uses the list of revoked
/// sessions in Redis if the list can be trusted, and PostgreSQL otherwise.
pub async fn is_denied(state: &web::Data<State>, id: SessionId) -> Result<bool, Problem> {
    if let Some(denied) = state.denylist.ask_redis(id).await {
        return Ok(denied);
    }
    let shared = Arc::clone(state);
    let lookup = async move { shared.denylist.ask_postgres(&shared.database, id).await };
    Ok(state.tasks.finish(lookup).await??)
}

/// Returns a live session with its account, or `None` if the session is not live.
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
