//! The response to a login or a refresh: a pair of tokens.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::credentials::RefreshToken;
use crate::credentials::access_token::Grant;
use crate::http::Problem;
use crate::http::api_spec::example;
use crate::state::State;

/// The tokens to return.
pub(super) struct Pair<'g> {
    pub(super) grant: Grant<'g>,
    pub(super) refresh_token: RefreshToken,
    pub(super) refresh_expires_at: DateTime<Utc>,
}

/// A session whose transport is a pair of tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct Answer<'a> {
    /// The access token, a JWT of type `at+jwt` (RFC 9068) signed with `EdDSA`. Send it as
    /// `Authorization: Bearer`. Clients must not parse it. To read the session and the account,
    /// call `GET /auth/session`.
    #[schema(pattern = r"^[\w-]+\.[\w-]+\.[\w-]+$", examples(json!(example::ACCESS_TOKEN)))]
    access_token: &'a str,
    /// The authentication scheme of the access token.
    #[schema(value_type = String, pattern = "^Bearer$")]
    token_type: &'static str,
    /// The lifetime of the access token in seconds.
    #[schema(minimum = 0, examples(900))]
    expires_in: i64,
    /// The refresh token, for `POST /auth/refresh`. It can be used once. Store it where no one else
    /// can read it.
    #[schema(pattern = "^rt_[A-Za-z0-9_-]{91}$", examples(json!(example::REFRESH_TOKEN)))]
    refresh_token: &'a str,
    /// When the session expires. Each refresh can extend this time (sliding expiration).
    #[schema(examples("2026-12-21T09:00:07Z"))]
    refresh_expires_at: DateTime<Utc>,
    /// The session's id.
    #[schema(examples(json!(example::SESSION_ID)))]
    session_id: Uuid,
}

impl Pair<'_> {
    /// Signs the access token and builds the response.
    pub(super) fn answer(&self, state: &State) -> Result<HttpResponse, Problem> {
        let access = state.access_tokens.issue(&self.grant)?;
        Ok(HttpResponse::Ok().json(Answer {
            access_token: access.token.expose_secret(),
            token_type: "Bearer",
            expires_in: access.expires_in,
            refresh_token: &self.refresh_token.expose(),
            refresh_expires_at: self.refresh_expires_at,
            session_id: self.grant.session_id.0,
        }))
    }
}
