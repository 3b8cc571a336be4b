//! POST /auth/logout: ends the session of the access token, of the cookie, or of the refresh token
//! in the body.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use schema::sessions::RevokedReason;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::audit::RevokedBy;
use crate::credentials::RefreshToken;
use crate::http::api_spec::example;
use crate::http::limit::{limit_caller, limit_session};
use crate::http::{Client, OptionalJson, Problem, api_spec, caller};
use crate::limits::Route;
use crate::revocation::{Ended, Ending, Proof, end_if_issued};
use crate::state::State;

/// A session that is to end.
#[derive(Deserialize, ToSchema)]
#[schema(as = LogoutRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Any that the session was issued, an old one, too.
    #[schema(examples(json!(example::REFRESH_TOKEN)))]
    refresh_token: String,
}

/// End a session
///
/// That of the access token, of the cookie, or of the refresh token in the body. 204, also when the
/// session was over already: a client that asks twice wants the same. An access token that has
/// expired does no harm beside a good refresh token.
#[utoipa::path(
    post,
    path = "/auth/logout",
    operation_id = "logout",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 204, description = "It is over."),
        api_spec::Work, api_spec::Change, api_spec::Body, api_spec::Limited, api_spec::Authenticated
    ),
    security((), ("access_token" = []), ("session_cookie" = []))
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<OptionalJson<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let client = Client::of(&http, &state.trusted_proxies);
    limit_caller(&http, &state, Route::Logout, client.ip)?;
    let proof = match request?.0 {
        // Any token that the session was issued will do, an old one too: who holds one may end what
        // it belongs to. Clients send their access token along with everything; that it has
        // expired is no reason to keep the session.
        Some(request) => {
            let token = RefreshToken::parse(&request.refresh_token, &state.secrets)
                .map_err(|_| Problem::Unauthenticated)?;
            let beside = caller::verified_credential(&http, &state)
                .ok()
                .map(|credential| credential.session_id());
            if beside.is_some_and(|id| id != token.session_id()) {
                return Err(Problem::malformed(
                    "refresh_token",
                    "It belongs to another session than the credential beside it.",
                ));
            }
            Proof::Refresh(token)
        }
        None => caller::verified_credential(&http, &state)?.into(),
    };
    limit_session(&http, &state, Route::Logout, client.ip, proof.session_id())?;
    let shared = Arc::clone(&state);
    let ending =
        Ending { route: "/auth/logout", reason: RevokedReason::Logout, by: RevokedBy::Rule };
    let ended =
        state.tasks.finish(async move { end_if_issued(&shared, &client, &proof, &ending).await });
    if ended.await?? == Ended::Forged {
        return Err(Problem::Unauthenticated);
    }
    let mut answer = HttpResponse::NoContent();
    if state.cookie.presented(&http).is_some() {
        answer.cookie(state.cookie.clear());
    }
    Ok(answer.finish())
}
