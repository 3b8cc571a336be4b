use std::sync::LazyLock;

use actix_web::http::header::{COOKIE, HeaderValue};
use actix_web::test::TestRequest;
use auth_api::credentials::{Secrets, SessionToken};
use auth_api::http::cookie::{CookieLookup, SessionCookie};
use schema::ids::SessionId;
use uuid::Uuid;

use super::edits::edited_text;
use super::{OTHER_SECRET, SECRET};

static OURS: LazyLock<Secrets> = LazyLock::new(|| Secrets::parse(SECRET).unwrap());
static OTHERS: LazyLock<Secrets> = LazyLock::new(|| Secrets::parse(OTHER_SECRET).unwrap());
static GENUINE: LazyLock<SessionToken> =
    LazyLock::new(|| SessionToken::generate(&OURS, SessionId(Uuid::from_u128(7))).unwrap());

/// Asserts that a parsed token has the values that it was created with, that it has only one
/// encoding, and that no other token is accepted. Also asserts that the session cookie is found
/// among any other cookies in a Cookie header, unless it occurs twice.
pub fn session_cookie(data: &[u8]) {
    if let Ok(text) = str::from_utf8(data)
        && let Ok(token) = SessionToken::parse(text, &OURS)
    {
        assert_eq!(*token.expose(), text);
        assert!(SessionToken::parse(text, &OTHERS).is_err(), "genuine under two secrets");
    }
    if let Some(altered) = edited_text(&GENUINE.expose(), data) {
        assert!(SessionToken::parse(&altered, &OURS).is_err(), "forged token accepted: {altered}");
    }
    if let Some(id) = data.first_chunk::<16>() {
        let id = SessionId(Uuid::from_bytes(*id));
        let token = SessionToken::generate(&OURS, id).unwrap();
        let read = SessionToken::parse(&token.expose(), &OURS).unwrap();
        assert_eq!((read.session_id(), read.hash()), (id, token.hash()));
    }
    among_others(data);
}

fn among_others(others: &[u8]) {
    for cookie in [SessionCookie { insecure: false }, SessionCookie { insecure: true }] {
        let Ok(alone) = HeaderValue::from_bytes(others) else { return };
        let before = cookie
            .presented(&TestRequest::default().insert_header((COOKIE, alone)).to_http_request());
        let value = GENUINE.expose();
        let ours = format!("; {}={}", cookie.name(), *value);
        let Ok(header) = HeaderValue::from_bytes(&[others, ours.as_bytes()].concat()) else {
            return;
        };
        let after = cookie
            .presented(&TestRequest::default().insert_header((COOKIE, header)).to_http_request());
        match (before, after) {
            (CookieLookup::Absent, CookieLookup::One(found)) => assert_eq!(*found, *value),
            (CookieLookup::One(_) | CookieLookup::Several, CookieLookup::Several) => {}
            other => panic!("{other:?}"),
        }
    }
}
