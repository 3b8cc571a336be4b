/// Why there is no caller. [`is_refusal`](Self::is_refusal) says whose matter it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request carries none.
    #[error("no access token: send it as `Authorization: Bearer …`")]
    NoToken,
    /// Which of them would count?
    #[error("more than one Authorization header: send one")]
    SeveralHeaders,
    /// Too long, not a JWT, of another type or algorithm, with extensions, or without a claim that
    /// ours have.
    #[error(
        "not an access token of auth-api: send the access_token of a login or refresh, and nothing else"
    )]
    NotAnAccessToken,
    /// Signed by a key that is not published, or no longer.
    #[error("signed by a key that auth-api does not publish: refresh, or log in again")]
    UnknownKey,
    /// Changed on its way, or never signed by auth-api.
    #[error("the signature does not belong to the token")]
    BadSignature,
    /// Its `iss` is another.
    #[error("from another issuer: ISSUER of auth-api and the issuer given here must be the same")]
    OtherIssuer,
    /// Its `aud` is another.
    #[error(
        "for another audience: AUDIENCE of auth-api and the audience given here must be the same"
    )]
    OtherAudience,
    /// Its time is over.
    #[error("expired: refresh")]
    Expired,
    /// Made later than now.
    #[error("issued in the future: one of the two clocks is wrong")]
    TooEarly,
    /// auth-api says that the token is not active, or that it is of another use; or its session was
    /// revoked.
    #[error("expired, revoked, or not a token of this use: log in again")]
    Inactive,
    /// There are no keys to verify with, or not the newest.
    #[error("the keys of auth-api cannot be had ({0}): see that it can be reached from here")]
    KeysUnavailable(String),
    /// Introspection or revocation failed.
    #[error("auth-api gave no answer ({0}): see that it can be reached from here")]
    Unavailable(String),
    /// auth-api does not know us.
    #[error("auth-api refuses our client credentials: `auth-api clients list` says who may ask")]
    CredentialsRefused,
    /// Introspection, or a session that must stand, without
    /// [`credentials`](crate::Builder::credentials).
    #[error("no client credentials to ask auth-api with: give some to Builder::credentials")]
    NoCredentials,
    /// A setting that cannot be.
    #[error("{setting}: {what}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// What would be right.
        what: String,
    },
}

impl Error {
    pub(crate) fn setting(setting: &'static str, what: impl Into<String>) -> Self {
        Self::Setting { setting, what: what.into() }
    }

    /// Whether the request is to blame (answer 401; see RFC 6750 §3.1): another credential may be
    /// accepted. Otherwise nobody knows whether this one is good (answer 503), or this service
    /// is set up wrongly.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::NoToken
            | Self::SeveralHeaders
            | Self::NotAnAccessToken
            | Self::UnknownKey
            | Self::BadSignature
            | Self::OtherIssuer
            | Self::OtherAudience
            | Self::Expired
            | Self::TooEarly
            | Self::Inactive => true,
            Self::KeysUnavailable(_)
            | Self::Unavailable(_)
            | Self::CredentialsRefused
            | Self::NoCredentials
            | Self::Setting { .. } => false,
        }
    }
}
