//! GET /.well-known/jwks.json: the public keys to verify access tokens with (RFC 7517).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};

use crate::credentials::signing_keys::Jwks;
use crate::http::api_spec;
use crate::state::State;

/// The public keys
///
/// Access tokens are verified with them. Take the key by the `kid` in a token's header, and ask
/// again for one that is not there: a new key is published before it signs.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "keys",
    tag = "discovery",
    responses(
        (status = 200, description = "A JSON Web Key Set (RFC 7517).", body = Jwks,
         headers(("Cache-Control" = String, description = "`public`; half the time that a new key is published before it signs, at the most 5 minutes."))),
        api_spec::Anything
    )
)]
pub(super) async fn get(state: web::Data<State>) -> HttpResponse {
    let keys = state.access_tokens.keys();
    let cache = format!("public, max-age={}", keys.max_age().as_secs());
    HttpResponse::Ok().insert_header((CACHE_CONTROL, cache)).json(keys.jwks(state.clock.now()))
}
