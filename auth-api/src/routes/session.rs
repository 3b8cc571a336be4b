//! GET /auth/session: returns the caller's own session and account.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::sessions::SessionAnswer;
use crate::http::api_spec::example;
use crate::http::{Problem, api_spec, caller};
use crate::limits::Route;
use crate::state::State;

/// The caller's session and account.
#[derive(Serialize, ToSchema)]
#[schema(as = Caller)]
pub(super) struct Answer {
    /// The session of the access token or the cookie.
    session: SessionAnswer,
    /// The account that the session belongs to.
    account: AccountAnswer,
}

/// An account, which represents a wallet.
#[derive(Serialize, ToSchema)]
#[schema(as = Account)]
struct AccountAnswer {
    /// The account's id, which is also the `sub` claim of access tokens.
    #[schema(examples(json!(example::ACCOUNT_ID)))]
    id: Uuid,
    /// The issuer of the subject: the network of the wallet (CAIP-2).
    #[schema(examples("stellar:pubnet"))]
    issuer: String,
    /// The subject: the wallet's address.
    #[schema(examples(json!(example::ADDRESS)))]
    subject: String,
    /// When the account was created, by its first login.
    #[schema(examples("2026-11-21T09:00:07Z"))]
    created_at: DateTime<Utc>,
}

/// Retrieve the caller's session
///
/// Returns the session of the access token or the cookie, and the account of the session.
#[utoipa::path(
    get,
    path = "/auth/session",
    operation_id = "session",
    tag = "sessions",
    responses(
        (status = 200, description = "The session and its account.", body = Answer),
        api_spec::Work, api_spec::Limited, api_spec::Authenticated
    ),
    security(("access_token" = []), ("session_cookie" = []))
)]
pub(super) async fn get(
    http: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let session = caller::authenticate(&http, &state, Route::Session).await?;
    let answer = SessionAnswer::of(&session, true, state.lifetimes.rotation_hidden());
    let account = session.account;
    Ok(HttpResponse::Ok().json(Answer {
        session: answer,
        account: AccountAnswer {
            id: account.id.0,
            issuer: account.issuer,
            subject: account.subject,
            created_at: account.created_at,
        },
    }))
}
