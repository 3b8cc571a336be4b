//! POST /auth/challenge: something to sign. Writes nothing and asks no store.

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::credentials::AccountAddress;
use crate::http::{Json, Problem};
use crate::state::State;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    address: String,
}

#[derive(Serialize)]
struct Answer {
    message: String,
    expires_at: DateTime<Utc>,
}

pub(super) async fn post(state: web::Data<State>, request: Json<Request>) -> Result<HttpResponse, Problem> {
    let address = AccountAddress::parse(&request.0.address).map_err(Problem::InvalidAddress)?;
    let challenge = state.challenges.issue(&address, state.now()?)?;
    Ok(HttpResponse::Ok().json(Answer { message: challenge.message, expires_at: challenge.expires_at }))
}
