//! The cookie that carries a session in a browser.

use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::COOKIE;
use secrecy::zeroize::Zeroizing;

use crate::credentials::SessionToken;

/// How the cookie is set and read.
#[derive(Clone, Copy, Debug)]
pub struct SessionCookie {
    /// `COOKIE_INSECURE`: for plain HTTP on this machine.
    pub insecure: bool,
}

/// What a request has of it.
#[derive(Debug)]
pub enum CookieLookup {
    /// None.
    Absent,
    /// Its value.
    One(Zeroizing<String>),
    /// More than one of the same name: one of them is somebody else's doing.
    Several,
}

impl CookieLookup {
    /// Whether there is any.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

impl SessionCookie {
    /// `__Host-` makes browsers see to it that it is Secure, of this very host, and for its whole
    /// path (RFC 6265bis §4.1.3.2).
    #[must_use]
    pub fn name(self) -> &'static str {
        if self.insecure { "session" } else { "__Host-session" }
    }

    /// The cookie with a token that a browser keeps for `lifetime`.
    #[must_use]
    pub fn set_cookie(self, token: &SessionToken, lifetime: Duration) -> Cookie<'static> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut cookie = self.bare(token.expose().to_string());
        cookie.set_max_age(actix_web::cookie::time::Duration::seconds(seconds));
        cookie
    }

    /// What takes it away.
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

    /// What a request has of it. Cookies of others, which may be anything at all, are passed over.
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
            // What is no text is no token of ours, either.
            (Some(value), None) => {
                CookieLookup::One(Zeroizing::new(String::from_utf8_lossy(value).into_owned()))
            }
            (Some(_), Some(_)) => CookieLookup::Several,
        }
    }
}
