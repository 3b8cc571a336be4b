//! Response headers that prevent a browser from using a response in unintended ways. Every response
//! has these headers. A page that needs a less strict policy sets its own policy.

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::DefaultHeaders;

/// Headers of every response on every port.
const ALL: [(&str, &str); 4] = [
    // The browser does not interpret a JSON response as a script.
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    // Pages of other origins cannot embed a response. CORS requests are not affected.
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
];

/// Makes browsers use only HTTPS for this host, for a year. Subdomains are not included, because
/// they may not support TLS.
const STRICT_TRANSPORT_SECURITY: (&str, &str) = ("Strict-Transport-Security", "max-age=31536000");

/// A header for HTML pages. It prevents the page and other windows from accessing each other, both
/// windows that the page opens and the window that opened the page.
pub const OPENER_POLICY: (HeaderName, HeaderValue) = (
    HeaderName::from_static("cross-origin-opener-policy"),
    HeaderValue::from_static("same-origin"),
);

/// Returns the headers of the public API. `https` must be `true` if clients use TLS.
#[must_use]
pub fn of_the_api(https: bool) -> DefaultHeaders {
    let more = https.then_some(STRICT_TRANSPORT_SECURITY);
    ALL.into_iter().chain(more).fold(DefaultHeaders::new(), DefaultHeaders::add)
}

/// Returns the headers of an operations port, which does not use TLS.
#[must_use]
pub fn of_operations() -> DefaultHeaders {
    of_the_api(false)
}
