//! GET /.well-known/jwks.json: the public keys to verify access tokens with (RFC 7517).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};

use crate::state::State;

pub(super) async fn get(state: web::Data<State>) -> HttpResponse {
    let keys = state.access_tokens.keys();
    let cache = format!("public, max-age={}", keys.max_age().as_secs());
    HttpResponse::Ok().insert_header((CACHE_CONTROL, cache)).json(keys.jwks())
}
