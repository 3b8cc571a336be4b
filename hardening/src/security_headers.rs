//! The headers that keep a browser from doing more with an answer than intended. Every answer has
//! them. A page that needs a wider policy than the one here sets its own.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::DefaultHeaders;

/// Every answer of every port has these.
const ALL: [(&str, &str); 4] = [
    // JSON is not interpreted as a script.
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    // Pages of other origins cannot embed an answer. Requests with CORS are not affected.
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
];

/// Applies to this host for a year. Its subdomains may not have TLS.
const STRICT_TRANSPORT_SECURITY: (&str, &str) = ("Strict-Transport-Security", "max-age=31536000");

/// For HTML pages: a window that opened the page, or that the page opened, has no reference to it.
pub const OPENER_POLICY: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderValue::from_static("same-origin"),
);

/// The headers of the public API. `https`: clients reach it over TLS.
#[must_use]
pub fn of_the_api(https: bool) -> DefaultHeaders {
    let more = https.then_some(STRICT_TRANSPORT_SECURITY);
    ALL.into_iter().chain(more).fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// The headers of an operations port, which speaks no TLS.
#[must_use]
pub fn of_operations() -> DefaultHeaders {
    of_the_api(false)
}
