//! POST /oauth/revoke: ends the session of a token, for other services (RFC 7009).

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use schema::sessions::RevokedReason;
use secrecy::ExposeSecret as _;

use crate::audit::RevokedBy;
use crate::credentials::Token;
use crate::http::oauth::{self, OAuthError};
use crate::http::{Client, Form, FormFields, Problem, api_spec};
use crate::limits::Route;
use crate::revocation::{Ending, end_if_issued};
use crate::state::State;

/// Revoke a token
///
/// Ends the session that the token belongs to, on behalf of another service (RFC 7009). Accepts any
/// token that was issued to the session, even an old refresh token. The response is 200 without a
/// body, even if the token is invalid or no longer valid (RFC 7009 §2.2).
#[utoipa::path(
    post,
    path = "/oauth/revoke",
    operation_id = "revoke",
    tag = "oauth",
    request_body(content = FormFields, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "The token is no longer valid, or it never was."), api_spec::Services),
    security(("client" = []))
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    form: Result<Form, OAuthError>,
) -> Result<HttpResponse, OAuthError> {
    let client_id = oauth::authenticate(&http, &state, Route::Revoke).await?;
    let token = form?.token;
    let recognized = Token::recognise(
        token.expose_secret(),
        &state.secrets,
        &state.access_tokens,
        state.now().map_err(Problem::from)?,
    );
    if let Some(token) = recognized {
        let (shared, client) = (Arc::clone(&state), Client::of(&http, &state.trusted_proxies));
        let ended = state.tasks.finish(async move {
            let ending = Ending {
                route: Route::Revoke.as_str(),
                reason: RevokedReason::Client,
                by: RevokedBy::Client(client_id),
            };
            // A forged token is an invalid token (RFC 7009 §2.2): no session ends, and the response
            // is the same.
            end_if_issued(&shared, &client, &token.into(), &ending).await
        });
        ended.await.map_err(Problem::from)?.map_err(Problem::from)?;
    }
    Ok(HttpResponse::Ok().finish())
}
