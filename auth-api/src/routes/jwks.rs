//! GET /.well-known/jwks.json: the public keys that verify access tokens (RFC 7517).

use std::time::Duration;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};

use crate::credentials::signing_keys::Jwks;
use crate::http::api_spec;
use crate::state::State;

/// Maximum time for which verifiers may cache the keys.
const MAX_AGE: Duration = Duration::from_mins(5);

/// Retrieve the public keys
///
/// Returns the keys that verify access tokens. Select the key by the `kid` in the header of the
/// token. If your cached set does not contain that key, request the set again. Each key is
/// published before it signs tokens.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "keys",
    tag = "discovery",
    responses(
        (status = 200, description = "A JSON Web Key Set (RFC 7517).", body = Jwks,
         headers(("Cache-Control" = String, description = "`public, max-age=N`. N is half of `SIGNING_KEY_DELAY`, the time between the publication of a key and its first use, but at most 300 seconds."))),
        api_spec::Anything
    )
)]
pub(super) async fn get(state: web::Data<State>) -> HttpResponse {
    let keys = state.access_tokens.keys();
    // The keys are cached for at most half of `SIGNING_KEY_DELAY`, so every cache contains a key
    // before the key signs.
    let max_age = (keys.delay() / 2).min(MAX_AGE);
    let cache = format!("public, max-age={}", max_age.as_secs());
    HttpResponse::Ok().insert_header((CACHE_CONTROL, cache)).json(keys.jwks(state.clock.now()))
}
