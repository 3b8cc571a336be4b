//! Who is asking: the access token in the Authorization header (RFC 6750 §2.1), and nowhere else.

use std::sync::Arc;

use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, web};

use super::Problem;
use crate::credentials::access_token::Caller;
use crate::state::State;

/// The caller, if the token is genuine, has not expired, and its session is not denied.
pub async fn authenticate(request: &HttpRequest, state: &web::Data<State>) -> Result<Caller, Problem> {
    let caller = genuine(request, state)?;
    let denied = if let Some(denied) = state.denylist.ask_redis(caller.session_id).await {
        denied
    } else {
        let shared = Arc::clone(state);
        let asked = async move { shared.denylist.ask_postgres(&shared.database, caller.session_id).await };
        state.tasks.finish(asked).await??
    };
    if denied {
        tracing::info!(session_id = %caller.session_id, "a token of a revoked session was refused");
        return Err(Problem::Unauthenticated);
    }
    Ok(caller)
}

/// The caller, if the token is genuine and has not expired. Its session may be over.
pub fn genuine(request: &HttpRequest, state: &State) -> Result<Caller, Problem> {
    let token = token(request).ok_or(Problem::Unauthenticated)?;
    state.access_tokens.verify(token, state.now()?).map_err(|reason| {
        tracing::info!(%reason, "an access token was refused");
        Problem::Unauthenticated
    })
}

/// The token, if there is exactly one Authorization header and it is a Bearer one.
fn token(request: &HttpRequest) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, None) = (headers.next()?, headers.next()) else { return None };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}
