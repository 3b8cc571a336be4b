//! Which pages of other origins may read our answers (the Fetch standard's CORS protocol).

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};

/// How long a browser remembers that it may: the most that Chromium does is two hours.
const REMEMBERED: usize = 600;

/// Headers of an answer that pages may read, besides those that they may anyway. With each answer
/// alike: the middleware would write them in another order in each worker.
pub const EXPOSED: &str =
    "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id";

/// `ALLOWED_ORIGINS` and no others, with credentials.
pub fn cors(allowed: &[String]) -> Cors {
    let cors = Cors::default()
        // Of others the browser sees to it: it shows them nothing. What needs an Origin checks it
        // itself.
        .block_on_origin_mismatch(false)
        .allowed_methods(["GET", "POST", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("idempotency-key")])
        .supports_credentials()
        .max_age(REMEMBERED);
    allowed.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
