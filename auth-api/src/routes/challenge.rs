//! POST /auth/challenge: something to sign. Writes nothing but how often it was asked for.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::credentials::AccountAddress;
use crate::http::limit::limit;
use crate::http::{Client, Json, Problem, documented};
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
        examples("GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L")
    )]
    address: String,
}

/// Something to sign.
#[derive(Serialize, ToSchema)]
#[schema(as = Challenge)]
pub(super) struct Answer {
    /// What the wallet is to sign, byte for byte, without a newline at its end.
    #[schema(
        max_length = 1024,
        examples(
            "auth.example.com wants you to sign in with your Stellar account:\nGBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L\n\nSign in. This proves that you hold the key; it costs nothing and moves nothing.\n\nURI: https://auth.example.com\nVersion: 1\nChain ID: stellar:pubnet\nNonce: 6f0c2f6b0e9d4a3fb7c1d2e3f4a5b6c79a8b7c6d5e4f30211223344556677889\nIssued At: 2026-11-21T09:00:00Z\nExpiration Time: 2026-11-21T09:05:00Z\nRequest ID: 0b9c7a34-5f0e-4f7e-9c55-0d0c6d8d3a7e"
        )
    )]
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
        documented::Work, documented::Change, documented::Body, documented::Limited, documented::Address
    )
)]
pub(super) async fn post(
    http: HttpRequest,
    state: web::Data<State>,
    request: Result<Json<Request>, Problem>,
) -> Result<HttpResponse, Problem> {
    let address =
        request.and_then(|Json(request)| AccountAddress::parse(&request.address).map_err(Problem::InvalidAddress));
    let client = Client::of(&http, &state.trusted_proxies);
    let wallet = address.as_ref().ok().map(AccountAddress::as_str);
    limit(&http, &state, Route::Challenge, client.ip, wallet).await?;
    let challenge = state.challenges.issue(&address?, state.now()?)?;
    Ok(HttpResponse::Ok().json(Answer { message: challenge.message, expires_at: challenge.expires_at }))
}
