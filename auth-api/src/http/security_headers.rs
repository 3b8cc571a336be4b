//! The headers that keep browsers from doing more with an answer than was meant. Every answer has them; a page that needs more than the
//! policy here sets its own.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::DefaultHeaders;

/// Of every answer of every port.
const ALL: [(&str, &str); 4] = [
    // What is JSON is not to be taken for a script.
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    // Pages of other origins may not embed it; those of ALLOWED_ORIGINS ask by CORS, to which this does not apply.
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
];

/// For this host alone and for a year. Whether its subdomains have TLS is not ours to say.
const STRICT_TRANSPORT_SECURITY: (&str, &str) = ("Strict-Transport-Security", "max-age=31536000");

/// On HTML pages: no window that opened one, or that it opened, gets hold of it.
pub(crate) const OPENER_POLICY: (HeaderName, HeaderValue) =
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));

/// For the API; `https`: clients reach it over TLS.
#[must_use]
pub fn of_the_api(https: bool) -> DefaultHeaders {
    let more = https.then_some(STRICT_TRANSPORT_SECURITY);
    ALL.into_iter().chain(more).fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// For the operations port, which has no TLS of its own.
#[must_use]
pub fn of_operations() -> DefaultHeaders {
    of_the_api(false)
}
