//! The response headers in the API specification, each described once.

use actix_web::http::header::HeaderName;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Header, Ref, RefOr, Response};

/// The name of a header, an example of its value, and its description.
struct Described(&'static str, &'static str, &'static str);

const ALL: [Described; 7] = [
    Described(
        "X-Request-Id",
        "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e",
        "The request's id, which the server's log also contains.",
    ),
    Described("Cache-Control", "no-store", "Whether and for how long the response may be cached."),
    Described(
        "RateLimit-Policy",
        r#""ip";q=120;w=60, "address";q=240;w=60"#,
        "The quotas: `q` requests in `w` seconds (draft-ietf-httpapi-ratelimit-headers-11). Present only if the endpoint is \
         rate-limited and `RATE_LIMIT` is not `off`.",
    ),
    Described(
        "RateLimit",
        r#""ip";r=119;t=1, "address";r=239;t=1"#,
        "The remainder of the quotas: `r` requests now, and one more in `t` seconds. Present only if the endpoint is \
         rate-limited and `RATE_LIMIT` is not `off`.",
    ),
    Described("Retry-After", "12", "The number of whole seconds to wait before retrying."),
    Described(
        "WWW-Authenticate",
        "Bearer",
        "How to authenticate. `Bearer` has `error=\"invalid_token\"` if the request contained a token that was rejected \
         (RFC 6750), and `error=\"insufficient_user_authentication\"` with a `max_age` in seconds if a more recent login is \
         required (RFC 9470).",
    ),
    Described(
        "Set-Cookie",
        "__Host-session=ses_…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=2592000",
        "Sets, extends, or deletes the session cookie.",
    ),
];

/// Headers of every response.
pub(super) const OF_ALL: [&str; 2] = ["X-Request-Id", "Cache-Control"];
/// Headers of responses to requests that can authenticate with a cookie. Each of these responses
/// may set the renewed cookie.
pub(super) const OF_COOKIES: [&str; 1] = ["Set-Cookie"];
/// Headers of responses from rate-limited endpoints.
pub(super) const OF_LIMITS: [&str; 2] = ["RateLimit-Policy", "RateLimit"];

/// Returns the header components.
pub(super) fn all() -> impl Iterator<Item = (String, RefOr<Header>)> {
    ALL.iter().map(|Described(name, example, description)| {
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([*example]);
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(*description));
        ((*name).to_owned(), header.build().into())
    })
}

/// Returns the name of a header with the capitalization that this module uses, or `None` if this
/// module does not describe the header.
pub(super) fn known(name: &HeaderName) -> Option<&'static str> {
    ALL.iter().map(|Described(known, ..)| *known).find(|known| name == known)
}

/// Adds references to these headers to a response. A header that the response already has is not
/// changed.
pub(super) fn add(response: &mut Response, names: &[&str]) {
    for name in names {
        let described = || RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
        response.headers.entry((*name).to_owned()).or_insert_with(described);
    }
}
