use chrono::{DateTime, Utc};
use schema::ids::SessionId;

use super::access_token::{AccessTokens, Claims};
use super::{RefreshToken, Secrets, SessionToken};

/// A token of ours, of whatever kind: genuine, and not expired where it tells its time itself.
#[derive(Debug)]
pub enum Token {
    /// An access token.
    Access(Claims),
    /// A refresh token, of whatever generation.
    Refresh(RefreshToken),
    /// What a cookie carries.
    Session(SessionToken),
}

impl Token {
    /// Of what kind a text is, if it is one. No store is asked.
    #[must_use]
    pub fn recognise(
        text: &str,
        secrets: &Secrets,
        access_tokens: &AccessTokens,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        // An access token begins with the base64url of `{"`, and so with none of the others'
        // prefixes.
        RefreshToken::parse(text, secrets)
            .map(Self::Refresh)
            .or_else(|_| SessionToken::parse(text, secrets).map(Self::Session))
            .ok()
            .or_else(|| access_tokens.read(text, now).map(Self::Access).ok())
    }

    /// The session that it belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        match self {
            Self::Access(claims) => SessionId(claims.sid),
            Self::Refresh(token) => token.session_id(),
            Self::Session(token) => token.session_id(),
        }
    }
}
