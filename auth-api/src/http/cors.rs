//! Allows pages of other origins to read responses (the CORS protocol of the Fetch standard).

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};

/// How long a browser may cache the permission for an origin, in seconds. Chromium caches it for at
/// most two hours.
const MAX_AGE_SECONDS: usize = 600;

/// Response headers that pages of other origins may read, in addition to the headers that are
/// always readable. The value is a constant that is added to every response, because the CORS
/// middleware would write the headers in a different order in each worker.
pub const EXPOSED: &str =
    "RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id";

/// Allows requests with credentials from the origins in `allowed` (`ALLOWED_ORIGINS`), and from no
/// other origins.
pub fn cors(allowed: &[String]) -> Cors {
    let cors = Cors::default()
        // The browser hides the response from pages of other origins. Endpoints that depend on the
        // origin check it themselves.
        .block_on_origin_mismatch(false)
        .allowed_methods(["GET", "POST", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("idempotency-key")])
        .supports_credentials()
        .max_age(MAX_AGE_SECONDS);
    allowed.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
