//! Verifies the credential of a request. Does not check whether the session of the credential is
//! live.

use actix_web::HttpRequest;
use schema::ids::SessionId;

use super::bearer::bearer;
use super::cookie::CookieLookup;
use super::{Client, Problem};
use crate::credentials::SessionToken;
use crate::limits::narrowest_network;
use crate::repeats::Kind;
use crate::state::State;

/// A credential that this service issued and that, if it contains an expiry time, has not expired.
/// The session of the credential may have ended.
pub enum VerifiedCredential {
    /// An access token of this session.
    Token(SessionId),
    /// The token from a session cookie.
    Cookie(SessionToken),
}

impl VerifiedCredential {
    /// Returns the session that the credential belongs to.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        match self {
            Self::Token(id) => *id,
            Self::Cookie(token) => token.session_id(),
        }
    }
}

/// Returns the credential that the request presents, if this service issued it and it has not
/// expired.
pub fn verified_credential(
    request: &HttpRequest,
    state: &State,
) -> Result<VerifiedCredential, Problem> {
    if let Some(token) = bearer(request) {
        return state
            .access_tokens
            .verify(token, state.now()?)
            .map(|caller| VerifiedCredential::Token(caller.session_id))
            .map_err(|reason| {
                let network = narrowest_network(Client::of(request, &state.trusted_proxies).ip);
                if state.repeats.is_first(Kind::Credential { reason: reason.as_str() }, &network) {
                    tracing::info!(event = "access_token_rejected", %reason, network, "access token rejected");
                }
                Problem::Unauthenticated
            });
    }
    match state.cookie.presented(request) {
        CookieLookup::One(value) => SessionToken::parse(&value, &state.secrets)
            .map(VerifiedCredential::Cookie)
            .map_err(|_| Problem::Unauthenticated),
        CookieLookup::Absent | CookieLookup::Several => Err(Problem::Unauthenticated),
    }
}
