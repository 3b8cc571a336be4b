//! Value types that all layers share.

use schema::sessions::Session;
use serde::Deserialize;
use utoipa::ToSchema;

/// How the credentials of a session are sent.
// Deserialized from a string: for an enum, serde would also accept `{"token": null}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(rename_all = "lowercase")]
#[serde(try_from = "String")]
pub enum Transport {
    /// An access token and a refresh token.
    #[default]
    Token,
    /// A cookie.
    Cookie,
}

impl TryFrom<String> for Transport {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        match name.as_str() {
            "token" => Ok(Self::Token),
            "cookie" => Ok(Self::Cookie),
            _ => Err("expected `token` or `cookie`"),
        }
    }
}

impl Transport {
    /// Returns the name that responses, metrics, and logs contain.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Cookie => "cookie",
        }
    }

    /// Returns the transport of a session.
    #[must_use]
    pub fn of(session: &Session) -> Self {
        if session.cookie.is_some() { Self::Cookie } else { Self::Token }
    }
}
