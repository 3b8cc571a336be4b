/// The reason for which a credential was not accepted. [`is_refusal`](Self::is_refusal)
/// distinguishes rejected requests from failures of this service or of auth-api.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request has no token.
    #[error("no access token: send it as `Authorization: Bearer …`")]
    NoToken,
    /// The request has more than one `Authorization` header.
    #[error("more than one Authorization header: send one")]
    SeveralHeaders,
    /// The value is not an access token of auth-api: it is too long, is not a JWT, has a different
    /// type or algorithm, requires an extension, or lacks a claim.
    #[error("not an access token of auth-api: send the access_token of a login or refresh")]
    NotAnAccessToken,
    /// The key that signed the token is not published, or is no longer published.
    #[error("signed by a key that auth-api does not publish: refresh, or log in again")]
    UnknownKey,
    /// The signature of the token is not valid: the token was modified, or auth-api did not sign
    /// it.
    #[error("the signature does not belong to the token")]
    BadSignature,
    /// `iss` is not the configured issuer.
    #[error("issued by another issuer: the configured issuer must be the ISSUER of auth-api")]
    OtherIssuer,
    /// `aud` is not the configured audience.
    #[error(
        "issued for another audience: the configured audience must be the AUDIENCE of auth-api"
    )]
    OtherAudience,
    /// The token has expired.
    #[error("expired: refresh the session")]
    Expired,
    /// The time of issue is in the future, by more than the leeway.
    #[error("issued in the future: one of the two clocks is wrong")]
    TooEarly,
    /// The session of the token was revoked, or auth-api reports that the token is not active or is
    /// not an access token.
    #[error("expired, revoked, or not a token of this use: log in again")]
    Inactive,
    /// No keys have been fetched, or the current keys could not be fetched.
    #[error("the keys of auth-api are unavailable ({0}): check the connection to auth-api")]
    KeysUnavailable(String),
    /// Introspection or revocation failed.
    #[error("no valid response from auth-api ({0}): check the connection to auth-api")]
    Unavailable(String),
    /// auth-api rejected the client credentials.
    #[error(
        "auth-api rejected the client credentials: `auth-api clients list` shows the registered clients"
    )]
    CredentialsRefused,
    /// Introspection, or a check of the session, requires
    /// [`credentials`](crate::Builder::credentials).
    #[error("no client credentials: set them with Builder::credentials")]
    NoCredentials,
    /// A setting is invalid.
    #[error("{setting}: {what}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// The reason.
        what: String,
    },
}

impl Error {
    pub(crate) fn setting(setting: &'static str, what: impl Into<String>) -> Self {
        Self::Setting { setting, what: what.into() }
    }

    /// Returns `true` if the request itself was rejected. A request with another credential may
    /// then be accepted, so respond with 401 (RFC 6750 §3.1). Returns `false` if it is unknown
    /// whether the credential is valid (respond with 503), or if this service is misconfigured.
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
