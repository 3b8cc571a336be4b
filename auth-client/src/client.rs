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
    /// Starts building a client for the auth-api at this URL, such as `https://auth.example.com`.
    /// The client sends requests only when they are needed.
    pub fn builder(url: &str) -> Builder {
        Builder::new(url)
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Verifies an access token with the published keys. This takes about 0.1 ms. The first call
    /// also fetches the keys, and later calls use the cached keys.
    ///
    /// If the session of a token has been revoked, the token is still accepted until it expires
    /// (`ACCESS_TOKEN_TTL`, 15 minutes by default). If that is too long, use
    /// [`require_session`](Self::require_session).
    pub async fn verify(&self, token: &str) -> Result<AccessToken, Error> {
        let key = self.0.keys.find(&Rules::key_id(token)?).await?;
        self.0.rules.check(token, &key, host_now())
    }

    /// Verifies an access token like [`verify`](Self::verify), and checks that the session of the
    /// token was not revoked. The [`SessionSource`] determines the state of the session. If there
    /// is no source, or if the source returns [`SessionState::Unknown`], the client introspects the
    /// token at auth-api. If this does not determine the state either, the token is not accepted.
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

    /// Introspects a credential of any [`TokenUse`](crate::TokenUse) at auth-api (RFC 7662).
    /// Returns `None` if the credential is not active. Each call sends a request, so the result is
    /// current.
    ///
    /// Before you accept the credential, check [`token_use`](Introspected::token_use), or use
    /// [`introspect_access`](Self::introspect_access) instead.
    pub async fn introspect(&self, token: &str) -> Result<Option<Introspected>, Error> {
        self.0.introspection.introspect(token).await
    }

    /// Introspects an access token that was issued for the audience of this client. Any other
    /// active credential is rejected.
    pub async fn introspect_access(&self, token: &str) -> Result<Introspected, Error> {
        let introspected = self.introspect(token).await?.ok_or(Error::Inactive)?;
        if introspected.token_use != TokenUse::AccessToken {
            return Err(Error::Inactive);
        }
        self.for_this_service(introspected)
    }

    /// Introspects an access token that was issued for the audience of this client, or the value of
    /// a session cookie. Use this in services that receive auth-api's cookie from browsers. Protect
    /// such requests against cross-site request forgery, because browsers send cookies
    /// automatically.
    pub async fn introspect_access_or_cookie(&self, token: &str) -> Result<Introspected, Error> {
        let introspected = self.introspect(token).await?.ok_or(Error::Inactive)?;
        match introspected.token_use {
            TokenUse::AccessToken => self.for_this_service(introspected),
            TokenUse::SessionToken => Ok(introspected),
            TokenUse::RefreshToken => Err(Error::Inactive),
        }
    }

    /// Ends the session of a credential of any [`TokenUse`](crate::TokenUse) (RFC 7009). Does not
    /// fail if the credential is unknown or its session has already ended.
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
