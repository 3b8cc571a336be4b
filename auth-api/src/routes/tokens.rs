//! The answer to a login and to a refresh: a pair of tokens.

use actix_web::HttpResponse;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use uuid::Uuid;

use crate::credentials::RefreshToken;
use crate::credentials::access_token::Grant;
use crate::http::Problem;
use crate::state::State;

/// What is to be answered.
pub(super) struct Pair<'g> {
    pub(super) grant: Grant<'g>,
    pub(super) refresh_token: RefreshToken,
    pub(super) refresh_expires_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Answer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    refresh_token: &'a str,
    refresh_expires_at: DateTime<Utc>,
    session_id: Uuid,
}

impl Pair<'_> {
    /// Signs the access token and writes the answer.
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
