//! POST /auth/challenge: issues a challenge to sign. The endpoint stores nothing except the
//! rate-limit counters.

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

/// A request for a challenge.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChallengeRequest)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    /// The wallet's address: the strkey (SEP-23) of an Ed25519 public key that can verify
    /// signatures.
    #[schema(
        format = "stellar-address",
        pattern = "^G[A-D][A-Z2-7]{54}$",
        min_length = 56,
        max_length = 56,
        examples(json!(example::ADDRESS))
    )]
    address: String,
}

/// A challenge for the wallet to sign.
#[derive(Serialize, ToSchema)]
#[schema(as = Challenge)]
pub(super) struct Answer {
    /// The text to sign, byte for byte. It has no trailing newline.
    #[schema(max_length = 1024, examples(json!(example::MESSAGE)))]
    message: String,
    /// When the challenge expires. A login with the challenge is rejected from this time on.
    #[schema(examples("2026-11-21T09:05:00Z"))]
    expires_at: DateTime<Utc>,
}

/// Create a challenge
///
/// Returns a text for the wallet to sign. To log in, send the text and its signature to
/// `POST /auth/login`. A challenge can be used once, before it expires. Creating a challenge stores
/// nothing.
#[utoipa::path(
    post,
    path = "/auth/challenge",
    operation_id = "challenge",
    tag = "auth",
    request_body = Request,
    responses(
        (status = 200, description = "The challenge to sign.", body = Answer),
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
    // Only the network's quota applies, because anyone can request a challenge for any wallet.
    limit(&http, &state, Route::Challenge, client.ip, None).await?;
    let challenge = state.challenges.issue(&address?, state.now()?)?;
    Ok(HttpResponse::Ok()
        .json(Answer { message: challenge.message, expires_at: challenge.expires_at }))
}
