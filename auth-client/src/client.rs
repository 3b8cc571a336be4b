mod builder;

use std::sync::Arc;

pub use builder::Builder;

use crate::error::Error;
use crate::introspection::{Introspected, Introspection, TokenUse};
use crate::keys::KeyRing;
use crate::sessions::{SessionSource, SessionState};
use crate::token::{AccessToken, Rules, host_now};

/// A client of auth-api for resource servers. Create it once; clones share the same state.
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
    /// Starts building a client of the auth-api at this URL, such as `https://auth.example.com`.
    /// Requests are sent only when they are needed.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Verifies an access token with the published keys. This takes about 0.1 ms. The first call
    /// also fetches the keys, and later calls use the cached keys.
    ///
    /// A token whose session has been revoked is accepted until the token expires
    /// (`ACCESS_TOKEN_TTL`, 15 minutes by default). Where this is too late, use
    /// [`require_session`](Self::require_session).
    pub async fn verify(&self, token: &str) -> Result<AccessToken, Error> {
        let key = self.0.keys.find(&Rules::key_id(token)?).await?;
        self.0.rules.check(token, &key, host_now())
    }

    /// Verifies an access token like [`verify`](Self::verify), and checks that the session of the
    /// token was not revoked. The [`SessionSource`] determines the state of the session. If there
    /// is no source, or the source returns [`SessionState::Unknown`], auth-api introspects the
    /// token. If the state cannot be determined, the token is not accepted.
    pub async fn require_session(&self, token: &str) -> Result<AccessToken, Error> {
        let verified = self.verify(token).await?;
        let state = match &self.0.sessions {
            Some(source) => source.ask(verified.session_id).await,
            None => SessionState::Unknown,
        };
        match state {
            SessionState::Active => Ok(verified),
            SessionState::Revoked => Err(Error::Inactive),
            SessionState::Unknown => {
                let introspected = self.introspect_access(token).await?;
                if introspected.session_id == verified.session_id {
                    Ok(verified)
                } else {
                    Err(Error::Inactive)
                }
            }
        }
    }

    /// Introspects a credential, whatever its [`TokenUse`](crate::TokenUse), and returns `None` if
    /// it is not active (RFC 7662). Each call sends a request, so the result is current.
    ///
    /// Before you accept the credential, check [`token_use`](Introspected::token_use), or use
    /// [`introspect_access`](Self::introspect_access) instead.
    pub async fn introspect(&self, token: &str) -> Result<Option<Introspected>, Error> {
        self.0.introspection.introspect(token).await
    }

    /// Introspects an access token for this audience. Any other active credential is rejected.
    pub async fn introspect_access(&self, token: &str) -> Result<Introspected, Error> {
        let introspected = self.introspect(token).await?.ok_or(Error::Inactive)?;
        if introspected.token_use != TokenUse::AccessToken {
            return Err(Error::Inactive);
        }
        self.for_this_service(introspected)
    }

    /// Introspects an access token for this audience, or the value of a session cookie. Use this in
    /// services that receive auth-api's cookie from browsers. Protect such requests against
    /// cross-site request forgery, because browsers send cookies automatically.
    pub async fn introspect_access_or_cookie(&self, token: &str) -> Result<Introspected, Error> {
        let introspected = self.introspect(token).await?.ok_or(Error::Inactive)?;
        match introspected.token_use {
            TokenUse::AccessToken => self.for_this_service(introspected),
            TokenUse::SessionToken => Ok(introspected),
            TokenUse::RefreshToken => Err(Error::Inactive),
        }
    }

    /// Ends the session of a credential, whatever its [`TokenUse`](crate::TokenUse) (RFC 7009). An
    /// unknown credential, or one whose session has already ended, is not an error.
    pub async fn revoke(&self, token: &str) -> Result<(), Error> {
        self.0.introspection.revoke(token).await
    }

    fn for_this_service(&self, introspected: Introspected) -> Result<Introspected, Error> {
        if introspected.iss.as_ref() != Some(&self.0.issuer) {
            return Err(Error::OtherIssuer);
        }
        if introspected.aud.as_ref() != Some(&self.0.audience) {
            return Err(Error::OtherAudience);
        }
        Ok(introspected)
    }
}
