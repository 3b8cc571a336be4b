use reqwest::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use crate::Error;
use crate::http::{Answer, Http};

/// What a credential is for. A refresh token is not for resource servers, whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenUse {
    /// It lets one in.
    AccessToken,
    /// It gets new tokens from auth-api, and nothing else.
    RefreshToken,
    /// A cookie's value: it lets a browser in.
    SessionToken,
}

/// What auth-api says of a credential that is active (RFC 7662 §2.2): it is genuine, has not
/// expired, and its session stands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Introspected {
    /// What it is for.
    pub token_use: TokenUse,
    /// `sub`: the account.
    #[serde(rename = "sub")]
    pub account_id: Uuid,
    /// `sid`: the session.
    #[serde(rename = "sid")]
    pub session_id: Uuid,
    /// `auth_time`: when the owner authenticated, in seconds since 1970 (RFC 9470 §6.2).
    #[serde(rename = "auth_time", default)]
    pub authenticated_at: Option<i64>,
    /// `wallet`: the address that logged in, `G…`.
    pub wallet: String,
    /// `exp`, in seconds since 1970.
    #[serde(rename = "exp")]
    pub expires_at: i64,
    /// `iss`, where it has one.
    #[serde(default)]
    pub iss: Option<String>,
    /// `aud`, where it has one.
    #[serde(default)]
    pub aud: Option<String>,
}

#[derive(Deserialize)]
struct Activity {
    active: bool,
}

/// What is asked with client credentials.
pub(crate) struct Introspection {
    pub(crate) http: Http,
    pub(crate) introspect_url: Url,
    pub(crate) revoke_url: Url,
    pub(crate) credentials: Option<(String, SecretString)>,
}

impl Introspection {
    /// `None`: not active, for whatever reason.
    pub(crate) async fn introspect(&self, token: &str) -> Result<Option<Introspected>, Error> {
        let answer = self.post(&self.introspect_url, token).await?;
        let nonsense = |error: serde_json::Error| {
            Error::Unavailable(format!("an answer that makes no sense: {error}"))
        };
        let Activity { active } = serde_json::from_slice(&answer.body).map_err(nonsense)?;
        if !active {
            return Ok(None);
        }
        serde_json::from_slice(&answer.body).map(Some).map_err(nonsense)
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
            status => Err(Error::Unavailable(format!("an answer with status {status}"))),
        }
    }
}
