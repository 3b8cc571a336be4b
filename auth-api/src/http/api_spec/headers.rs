//! The headers of answers, described once.

use actix_web::http::header::HeaderName;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Header, Ref, RefOr, Response};

/// A header's name, an example, and what it says.
struct Described(&'static str, &'static str, &'static str);

const ALL: [Described; 7] = [
    Described(
        "X-Request-Id",
        "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e",
        "The request's id, which stands in the server's log, too.",
    ),
    Described("Cache-Control", "no-store", "Whether and how long the answer may be kept."),
    Described(
        "RateLimit-Policy",
        r#""ip";q=120;w=60, "address";q=240;w=60"#,
        "What may be asked: `q` requests in `w` seconds (draft-ietf-httpapi-ratelimit-headers-11). Only of what is \
         limited, and not with `RATE_LIMIT=off`.",
    ),
    Described(
        "RateLimit",
        r#""ip";r=119;t=1, "address";r=239;t=1"#,
        "What is left: `r` requests now, and one more in `t` seconds. Only of what is limited, and not with `RATE_LIMIT=off`.",
    ),
    Described("Retry-After", "12", "Whole seconds to wait before trying again."),
    Described(
        "WWW-Authenticate",
        "Bearer",
        "How to authenticate. `Bearer` has `error=\"invalid_token\"` where a token came with the request and was not accepted \
         (RFC 6750), and `error=\"insufficient_user_authentication\"` with a `max_age` in seconds where a more recent login is \
         needed (RFC 9470).",
    ),
    Described(
        "Set-Cookie",
        "__Host-session=ses_…; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=2592000",
        "The session cookie: set, set again for longer, or taken away.",
    ),
];

/// Of every answer.
pub(super) const OF_ALL: [&str; 2] = ["X-Request-Id", "Cache-Control"];
/// Of answers to who has a session by a cookie: it may be set for longer with each.
pub(super) const OF_COOKIES: [&str; 1] = ["Set-Cookie"];
/// Of answers to what is limited.
pub(super) const OF_LIMITS: [&str; 2] = ["RateLimit-Policy", "RateLimit"];

/// The components.
pub(super) fn all() -> impl Iterator<Item = (String, RefOr<Header>)> {
    ALL.iter().map(|Described(name, example, says)| {
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([*example]);
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(*says));
        ((*name).to_owned(), header.build().into())
    })
}

/// A header's name as it is written here.
pub(super) fn known(name: &HeaderName) -> Option<&'static str> {
    ALL.iter().map(|Described(known, ..)| *known).find(|known| name == known)
}

/// Says that an answer has these, unless that is said already.
pub(super) fn add(answer: &mut Response, names: &[&str]) {
    for name in names {
        let described = || RefOr::Ref(Ref::new(format!("#/components/headers/{name}")));
        answer.headers.entry((*name).to_owned()).or_insert_with(described);
    }
}
