use reqwest::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use crate::Error;
use crate::http::{Answer, Http};

/// The kind of a credential. Resource servers must not accept refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenUse {
    /// The value of an access token, which gives access to resource servers.
    AccessToken,
    /// The value of a refresh token, which can only be exchanged for new tokens, at auth-api.
    RefreshToken,
    /// The value of a session cookie, which gives a browser access.
    SessionToken,
}

/// An active credential (RFC 7662 §2.2): auth-api issued it, it has not expired, and its session
/// has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Introspected {
    /// The use of the credential.
    pub token_use: TokenUse,
    /// `sub`: id of the account.
    #[serde(rename = "sub")]
    pub account_id: Uuid,
    /// `sid`: id of the session.
    #[serde(rename = "sid")]
    pub session_id: Uuid,
    /// `auth_time`: when the owner authenticated, in seconds since 1970 (RFC 9470 §6.2). `None` if
    /// the response does not contain it.
    #[serde(rename = "auth_time", default)]
    pub authenticated_at: Option<i64>,
    /// `wallet`: the address that logged in, `G…`.
    pub wallet: String,
    /// `exp`, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// `iss`, or `None` if the credential has no issuer.
    #[serde(default)]
    pub iss: Option<String>,
    /// `aud`, or `None` if the credential has no audience.
    #[serde(default)]
    pub aud: Option<String>,
}

#[derive(Deserialize)]
struct Activity {
    active: bool,
}

/// The requests for introspection and revocation, which require client credentials.
pub(crate) struct Introspection {
    pub(crate) http: Http,
    pub(crate) introspect_url: Url,
    pub(crate) revoke_url: Url,
    pub(crate) credentials: Option<(String, SecretString)>,
}

impl Introspection {
    /// Introspects a credential. Returns `None` if the credential is not active, for whatever
    /// reason.
    pub(crate) async fn introspect(&self, token: &str) -> Result<Option<Introspected>, Error> {
        let answer = self.post(&self.introspect_url, token).await?;
        let invalid =
            |error: serde_json::Error| Error::Unavailable(format!("an invalid response: {error}"));
        let Activity { active } = serde_json::from_slice(&answer.body).map_err(invalid)?;
        if !active {
            return Ok(None);
        }
        serde_json::from_slice(&answer.body).map(Some).map_err(invalid)
    }

    pub(crate) async fn revoke(&self, token: &str) -> Result<(), Error> {
        self.post(&self.revoke_url, token).await.map(drop)
    }

    async fn post(&self, url: &Url, token: &str) -> Result<Answer, Error> {
        let (id, secret) = self.credentials.as_ref().ok_or(Error::NoCredentials)?;
        let answer = self
            .http
            .post(url, ("token", token), (id, secret))
            .await
            .map_err(Error::Unavailable)?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::UNAUTHORIZED => Err(Error::CredentialsRefused),
            status => Err(Error::Unavailable(format!("a response with status {status}"))),
        }
    }
}
