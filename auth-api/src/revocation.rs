//! Ends the session to which a presented credential belongs: for `POST /auth/logout`, for `POST
//! /oauth/revoke`, and when a copied cookie is presented.

use schema::ids::SessionId;
use schema::issued::Issued;
use schema::sessions::{RevokedReason, Session};

use crate::audit::{self, RevokedBy};
use crate::credentials::{RefreshToken, SessionToken, Token};
use crate::database::{DatabaseError, timed};
use crate::http::Client;
use crate::http::credential::VerifiedCredential;
use crate::metrics;
use crate::state::State;

/// A credential with which its holder may end the session. The credential is authentic (its tag or
/// signature is valid), but only the database shows whether it was issued.
pub(crate) enum Proof {
    /// An access token of this session. It is signed, so it cannot be forged with `AUTH_SECRET`.
    Access(SessionId),
    /// A refresh token of the session, which may be the current one or an older one.
    Refresh(RefreshToken),
    /// The token in a cookie.
    Cookie(SessionToken),
}

impl From<VerifiedCredential> for Proof {
    fn from(credential: VerifiedCredential) -> Self {
        match credential {
            VerifiedCredential::Token(id) => Self::Access(id),
            VerifiedCredential::Cookie(token) => Self::Cookie(token),
        }
    }
}

impl From<Token> for Proof {
    fn from(token: Token) -> Self {
        match token {
            Token::Access(claims) => Self::Access(SessionId(claims.sid)),
            Token::Refresh(token) => Self::Refresh(token),
            Token::Session(token) => Self::Cookie(token),
        }
    }
}

impl Proof {
    pub(crate) fn session_id(&self) -> SessionId {
        match self {
            Self::Access(id) => *id,
            Self::Refresh(token) => token.session_id(),
            Self::Cookie(token) => token.session_id(),
        }
    }

    /// Returns whether this credential was issued for the session.
    fn is_among(&self, issued: &Issued) -> bool {
        match self {
            Self::Access(_) => true,
            Self::Refresh(token) => {
                issued.tokens.as_ref().is_some_and(|tokens| token.is_among(tokens))
            }
            Self::Cookie(token) => token.is_among(issued),
        }
    }
}

/// Who ends a session, on which route, and why.
pub(crate) struct Ending {
    pub(crate) route: &'static str,
    pub(crate) reason: RevokedReason,
    pub(crate) by: RevokedBy,
}

/// The result of a request to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The session has ended.
    Now,
    /// The session had already ended, or there is no such session.
    Before,
    /// The credential was never issued, so nothing has ended.
    Forged,
}

/// Ends the session of a credential, unless the credential was forged with `AUTH_SECRET`.
pub(crate) async fn end_if_issued(
    state: &State,
    client: &Client,
    proof: &Proof,
    ending: &Ending,
) -> Result<Ended, DatabaseError> {
    let session_id = proof.session_id();
    if !was_issued(state, proof).await? {
        metrics::count_forged_token(ending.route);
        audit::forged_token(client, session_id, ending.route);
        return Ok(Ended::Forged);
    }
    end(state, client, session_id, ending.reason, &ending.by).await
}

/// Ends the session and adds it to the denylist. A session that has already ended is also added,
/// because its entry in the denylist may be missing.
pub(crate) async fn end(
    state: &State,
    client: &Client,
    session_id: SessionId,
    reason: RevokedReason,
    by: &RevokedBy,
) -> Result<Ended, DatabaseError> {
    let revoked = {
        let mut connection = state.database.acquire().await?;
        let watch = connection.watch();
        timed(watch, "revoke_session", Session::revoke(&mut connection, session_id, reason)).await
    };
    let ended = revoked.inspect_err(|_| state.denylist.doubt())?;
    state.denylist.deny(&[session_id]).await;
    if ended {
        metrics::count_revoked(reason, 1);
        audit::revoke(Some(client), session_id, by, reason);
    }
    Ok(if ended { Ended::Now } else { Ended::Before })
}

/// Returns whether the credential was issued. Also returns `true` if the session no longer exists:
/// the credential can then not be checked, and there is no session to end.
async fn was_issued(state: &State, proof: &Proof) -> Result<bool, DatabaseError> {
    if let Proof::Access(_) = proof {
        return Ok(true);
    }
    if let Proof::Refresh(token) = proof
        && let Some(key) = state.family_keys.get(token.session_id())
        && token.is_made_with(&key)
    {
        return Ok(true);
    }
    let mut connection = state.database.acquire().await?;
    let watch = connection.watch();
    let issued =
        timed(watch, "issued_for_session", Issued::of(&mut connection, proof.session_id())).await?;
    Ok(issued.is_none_or(|issued| proof.is_among(&issued)))
}
