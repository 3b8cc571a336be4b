//! POST /auth/challenge: something to sign. Writes nothing but how often it was asked for.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::credentials::AccountAddress;
use crate::http::api_spec::example;
use crate::http::limit::limit;
use crate::http::{Client, Json, Problem, api_spec};
use crate::limits::Route;
use crate::state::State;

/// A wallet that wants to log in.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChallengeRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The wallet's address: a strkey (SEP-23) of a usable Ed25519 key.
    #[schema(
        format = "stellar-address",
        pattern = "^G[A-D][A-Z2-7]{54}$",
        min_length = 56,
        max_length = 56,
        examples(json!(example::ADDRESS))
    )]
    address: String,
}

/// Something to sign.
#[derive(Serialize, ToSchema)]
#[schema(as = Challenge)]
pub(super) struct Answer {
    /// What the wallet is to sign, byte for byte, without a newline at its end.
    #[schema(max_length = 1024, examples(json!(example::MESSAGE)))]
    message: String,
    /// From then on it is refused.
    #[schema(examples("2026-11-21T09:05:00Z"))]
    expires_at: DateTime<Utc>,
}

/// Ask for something to sign
///
/// It can be used once, until it expires. Asking stores nothing.
#[utoipa::path(
    post,
    path = "/auth/challenge",
    operation_id = "challenge",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 200, description = "What is to be signed.", body = Answer),
        api_spec::Work, api_spec::Change, api_spec::Body, api_spec::Limited, api_spec::Address
    )
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let address = request.and_then(|Json(request)| {
        AccountAddress::parse(&request.address).map_err(Problem::InvalidAddress)
    });
    let client = Client::of(&http, &state.trusted_proxies);
    // By the network alone: anybody may ask for a challenge for any wallet.
    limit(&http, &state, Route::Challenge, client.ip, None).await?;
    let challenge = state.challenges.issue(&address?, state.now()?)?;
    Ok(HttpResponse::Ok()
        .json(Answer { message: challenge.message, expires_at: challenge.expires_at }))
}
