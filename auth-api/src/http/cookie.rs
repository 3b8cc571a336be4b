//! The session cookie of browsers.

use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::COOKIE;
use secrecy::zeroize::Zeroizing;

use crate::credentials::SessionToken;

/// Sets and reads the session cookie.
#[derive(Clone, Copy, Debug)]
pub struct SessionCookie {
    /// Whether the cookie is set without `Secure`, for plain HTTP on the local machine
    /// (`COOKIE_INSECURE`).
    pub insecure: bool,
}

/// The session cookie of a request.
#[derive(Debug)]
pub enum CookieLookup {
    /// The request has no session cookie.
    Absent,
    /// The value of the session cookie.
    One(Zeroizing<String>),
    /// The request has more than one cookie with the name of the session cookie, so another party
    /// has set at least one of these cookies.
    Several,
}

impl CookieLookup {
    /// Returns whether the request has any session cookie.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl SessionCookie {
    /// Returns the name of the cookie. The prefix `__Host-` makes browsers enforce that the cookie
    /// is Secure, belongs to exactly this host, and is valid for all paths (RFC 6265bis §4.1.3.2).
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.insecure { "session" } else { "__Host-session" }
    }

    /// Returns a cookie that contains `token`, which a browser keeps for `lifetime`.
    #[must_use]
    pub fn set_cookie(self, token: &SessionToken, lifetime: Duration) -> Cookie<'static> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut cookie = self.bare(token.expose().to_string());
        cookie.set_max_age(actix_web::cookie::time::Duration::seconds(seconds));
        cookie
    }

    /// Returns a cookie that makes a browser delete the session cookie.
    #[must_use]
    pub fn clear(self) -> Cookie<'static> {
        let mut cookie = self.bare(String::new());
        cookie.make_removal();
        cookie
    }

    fn bare(self, value: String) -> Cookie<'static> {
        Cookie::build(self.name(), value)
            .path("/")
            .secure(!self.insecure)
            .http_only(true)
            .same_site(SameSite::Lax)
            .finish()
    }

    /// Returns the session cookie of a request. Other cookies are skipped, whatever they contain.
    pub fn presented(self, request: &impl HttpMessage) -> CookieLookup {
        let pairs = request
            .headers()
            .get_all(COOKIE)
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
            (name == self.name().as_bytes()).then_some(value)
        });
        match (values.next(), values.next()) {
            (None, _) => CookieLookup::Absent,
            // A value that is not UTF-8 cannot be a valid token. It is rejected when it is parsed.
            (Some(value), None) => {
                CookieLookup::One(Zeroizing::new(String::from_utf8_lossy(value).into_owned()))
            }
            (Some(_), Some(_)) => CookieLookup::Several,
        }
    }
}
