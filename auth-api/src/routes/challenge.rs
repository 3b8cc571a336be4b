//! POST /auth/challenge: something to sign. Writes nothing but how often it was asked for.

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::credentials::AccountAddress;
use crate::http::limit::limit;
use crate::http::{Client, Json, Problem};
use crate::limits::Route;
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
