//! GET /.well-known/jwks.json: the public keys to verify access tokens with (RFC 7517).

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpResponse, web};

use crate::state::State;

/// Half the time that a new key is published before it signs (`SIGNING_KEY_DELAY`, 10 minutes unless said otherwise).
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");

pub(super) async fn get(state: web::Data<State>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CACHE_CONTROL, CACHE)).json(state.access_tokens.keys().jwks())
}
