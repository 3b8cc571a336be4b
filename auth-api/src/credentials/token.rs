use chrono::{DateTime, Utc};
use schema::ids::SessionId;

use super::access_token::{AccessTokens, Claims};
use super::{RefreshToken, Secrets, SessionToken};

/// An authentic token of any type. A token that contains an expiry time has not expired.
#[derive(Debug)]
pub enum Token {
    /// An access token.
    Access(Claims),
    /// A refresh token, which may be the current one or an older one.
    Refresh(RefreshToken),
    /// The token from a session cookie.
    Session(SessionToken),
}

impl Token {
    /// Parses a token of any type. Returns `None` if `text` is not a token. Does not query the
    /// database.
    #[must_use]
    pub fn recognise(
        text: &str,
        secrets: &Secrets,
        access_tokens: &AccessTokens,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        // An access token begins with the base64url encoding of `{"`, so it cannot begin with the
        // prefix of another type.
        RefreshToken::parse(text, secrets)
            .map(Self::Refresh)
            .or_else(|_| SessionToken::parse(text, secrets).map(Self::Session))
            .ok()
            .or_else(|| access_tokens.read(text, now).map(Self::Access).ok())
    }

    /// Returns the session that the token belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        match self {
            Self::Access(claims) => SessionId(claims.sid),
            Self::Refresh(token) => token.session_id(),
            Self::Session(token) => token.session_id(),
        }
    }
}
