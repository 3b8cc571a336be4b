mod builder;

use std::sync::Arc;

pub use builder::Builder;

use crate::error::Error;
use crate::introspection::{Introspected, Introspection, TokenUse};
use crate::keys::KeyRing;
use crate::sessions::{SessionSource, SessionState};
use crate::token::{AccessToken, Rules, host_now};

/// auth-api, as a resource server knows it. Made once; a clone is the same one.
#[derive(Clone)]
pub struct AuthClient(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) rules: Rules,
    pub(crate) keys: KeyRing,
    pub(crate) introspection: Introspection,
    pub(crate) sessions: Option<Box<dyn SessionSource>>,
}

impl AuthClient {
    /// For the auth-api at this URL, `https://auth.example.com`. Nothing is asked of it before it is needed.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Verifies an access token by the published keys: in about a tenth of a millisecond, and
    /// without a request for all but the first.
    ///
    /// A session that was revoked since the token was made is not noticed before the token expires
    /// (`ACCESS_TOKEN_TTL`, 15 minutes unless auth-api says otherwise): for what must not
    /// happen in that time there is [`require_session`](Self::require_session).
    pub async fn verify(&self, token: &str) -> Result<AccessToken, Error> {
        let key = self.0.keys.find(&Rules::key_id(token)?).await?;
        self.0.rules.check(token, &key, host_now())
    }

    /// The same, and its session was not revoked: as the [`SessionSource`] has it, or where there
    /// is none, or it cannot say, as auth-api itself does now (introspection). When nobody can
    /// say, the token is not accepted.
    pub async fn require_session(&self, token: &str) -> Result<AccessToken, Error> {
        let verified = self.verify(token).await?;
        let standing = match &self.0.sessions {
            Some(source) => source.ask(verified.session_id).await,
            None => SessionState::Unknown,
        };
        match standing {
            SessionState::Active => Ok(verified),
            SessionState::Revoked => Err(Error::Inactive),
            SessionState::Unknown => {
                let said = self.introspect_access(token).await?;
                if said.session_id == verified.session_id {
                    Ok(verified)
                } else {
                    Err(Error::Inactive)
                }
            }
        }
    }

    /// What auth-api says of a credential of any use, or `None` when it is not active (RFC 7662).
    /// It is asked each time: the answer is true now.
    ///
    /// Look at [`token_use`](Introspected::token_use) before you let anybody in, or use
    /// [`introspect_access`](Self::introspect_access).
    pub async fn introspect(&self, token: &str) -> Result<Option<Introspected>, Error> {
        self.0.introspection.introspect(token).await
    }

    /// What auth-api says of an access token for this audience. Whatever else is active is refused.
    pub async fn introspect_access(&self, token: &str) -> Result<Introspected, Error> {
        let said = self.introspect(token).await?.ok_or(Error::Inactive)?;
        if said.token_use != TokenUse::AccessToken {
            return Err(Error::Inactive);
        }
        self.is_for_us(said)
    }

    /// The same for an access token or for the value of a session cookie, where browsers send you
    /// auth-api's cookie. See that the request cannot be forged by another site: a cookie comes
    /// by itself.
    pub async fn introspect_access_or_cookie(&self, token: &str) -> Result<Introspected, Error> {
        let said = self.introspect(token).await?.ok_or(Error::Inactive)?;
        match said.token_use {
            TokenUse::AccessToken => self.is_for_us(said),
            TokenUse::SessionToken => Ok(said),
            TokenUse::RefreshToken => Err(Error::Inactive),
        }
    }

    /// Ends the session of a credential of any use (RFC 7009). One that is unknown, or over
    /// already, is no error.
    pub async fn revoke(&self, token: &str) -> Result<(), Error> {
        self.0.introspection.revoke(token).await
    }

    fn is_for_us(&self, said: Introspected) -> Result<Introspected, Error> {
        if said.iss.as_ref() != Some(&self.0.issuer) {
            return Err(Error::OtherIssuer);
        }
        if said.aud.as_ref() != Some(&self.0.audience) {
            return Err(Error::OtherAudience);
        }
        Ok(said)
    }
}
