//! Reads the `Authorization` header with the scheme Bearer (RFC 6750 §2.1).

use actix_web::HttpMessage;
use actix_web::http::header::{AUTHORIZATION, HeaderValue};

/// Returns whether any `Authorization` header has the scheme Bearer, even if the header is
/// malformed.
pub(super) fn names_bearer(request: &impl HttpMessage) -> bool {
    let scheme = |header: &HeaderValue| {
        let scheme = header.as_bytes().trim_ascii().split(u8::is_ascii_whitespace).next();
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    };
    request.headers().get_all(AUTHORIZATION).any(scheme)
}

/// Returns the token if there is exactly one `Authorization` header and its scheme is Bearer.
pub(crate) fn bearer(request: &impl HttpMessage) -> Option<&str> {
    let mut headers = request.headers().get_all(AUTHORIZATION);
    let (header, None) = (headers.next()?, headers.next()) else { return None };
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}
