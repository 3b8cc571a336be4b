//! POST /auth/logout: ends the session of the access token, the cookie, or the refresh token in the
//! body.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use schema::sessions::RevokedReason;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::audit::RevokedBy;
use crate::credentials::RefreshToken;
use crate::http::api_spec::example;
use crate::http::limit::{limit_caller, limit_session};
use crate::http::{Client, OptionalJson, Problem, api_spec, credential};
use crate::limits::Route;
use crate::revocation::{Ended, Ending, Proof, end_if_issued};
use crate::state::State;

/// The session to end.
#[derive(Deserialize, ToSchema)]
#[schema(as = LogoutRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// Any refresh token of the session, even an old one.
    #[schema(examples(json!(example::REFRESH_TOKEN)))]
    refresh_token: String,
}

/// Log out
///
/// Ends the session of the access token, the cookie, or the refresh token in the body. Returns 204
/// even if the session had already ended, so the request can be repeated safely. If the body
/// contains a valid refresh token, an expired access token in the request is ignored.
#[utoipa::path(
    post,
    path = "/auth/logout",
    operation_id = "logout",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 204, description = "The session has ended."),
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
        // Any refresh token of the session is accepted, even an old one: the holder of such a token
        // may end the session. Many clients send their access token with every request, so an
        // expired access token must not prevent the logout.
        Some(request) => {
            let token = RefreshToken::parse(&request.refresh_token, &state.secrets)
                .map_err(|_| Problem::Unauthenticated)?;
            let other_session = credential::verified_credential(&http, &state)
                .ok()
                .map(|credential| credential.session_id());
            if other_session.is_some_and(|id| id != token.session_id()) {
                return Err(Problem::malformed(
                    "refresh_token",
                    "This refresh token belongs to a different session than the access token or the cookie.",
                ));
            }
            Proof::Refresh(token)
        }
        None => credential::verified_credential(&http, &state)?.into(),
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
    let mut response = HttpResponse::NoContent();
    if state.cookie.presented(&http).is_some() {
        response.cookie(state.cookie.clear());
    }
    Ok(response.finish())
}
