//! Which pages of other origins may read our answers (the Fetch standard's CORS protocol).

use actix_cors::Cors;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};

/// How long a browser remembers that it may: the most that Chromium does is two hours.
const REMEMBERED: usize = 600;

/// `ALLOWED_ORIGINS` and no others, with credentials.
pub fn cors(allowed: &[String]) -> Cors {
    let exposed = ["x-request-id", "ratelimit", "ratelimit-policy"].map(HeaderName::from_static);
    let cors = Cors::default()
        // Of others the browser sees to it: it shows them nothing. What needs an Origin checks it itself.
        .block_on_origin_mismatch(false)
        .allowed_methods(["GET", "POST", "DELETE"])
        .allowed_headers([AUTHORIZATION, CONTENT_TYPE])
        .expose_headers(exposed)
        .expose_headers([RETRY_AFTER, WWW_AUTHENTICATE])
        .supports_credentials()
        .max_age(REMEMBERED);
    allowed.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}
