//! The use of cookie sessions: which token is valid, when it is replaced, and when an old token is
//! considered a copy.
//!
//! A session's token is replaced when the expiry of the session is extended. If the user aborts a
//! navigation, the browser discards the response that contains the new token. Therefore, until a
//! request presents the new token, the old token remains valid, and each request with it returns
//! the same new token again. After that, the old token remains valid for `REFRESH_REUSE_GRACE`, for
//! requests that are in progress.

use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpMessage, HttpRequest, web};
use chrono::{DateTime, TimeDelta, Utc};
use schema::cookies::{CookieRenewal, CookieTokens, Renewed};
use schema::sessions::{RevokedReason, Session};

use super::guard::Renewal;
use super::live_session::find_live;
use super::{Client, Peer, Problem};
use crate::audit::{self, RevokedBy};
use crate::credentials::{SessionToken, same_hash};
use crate::database::{DatabaseError, timed};
use crate::metrics::CookieRenewalOutcome;
use crate::revocation::{self, Ended};
use crate::state::State;

/// An authentic token, and the request that presents it.
pub(crate) struct PresentedCookie<'p> {
    pub(crate) token: SessionToken,
    /// When the request arrived.
    pub(crate) arrived: Instant,
    pub(crate) request: &'p HttpRequest,
}

/// The status of a token in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TokenStatus {
    /// The session's current token.
    Current,
    /// The previous token, while it is still valid.
    Previous,
    /// The previous token, after it has become invalid. Its use counts as reuse.
    Reuse,
    /// Neither the current token nor the previous one.
    Unknown,
}

/// A session whose token was accepted, and the new token of the session if the browser does not
/// have the new token yet.
pub(crate) struct Accepted {
    pub(crate) session: Session,
    pub(crate) successor: Option<SessionToken>,
}

impl PresentedCookie<'_> {
    /// Returns the live session of the token, if the token is valid. A replaced token that is no
    /// longer valid ends the session, because two parties must have had the token.
    pub(crate) async fn accept(&self, state: &web::Data<State>) -> Result<Accepted, Problem> {
        let session = find_live(state, self.token.session_id()).await?;
        let Some((session, tokens)) =
            session.and_then(|session| session.cookie.clone().map(|tokens| (session, tokens)))
        else {
            return Err(self.refuse());
        };
        match self.token_status(&tokens, session.now) {
            TokenStatus::Current => {
                self.confirm(state, &session, tokens).await;
                state.last_seen.note(&session);
                Ok(Accepted { session, successor: None })
            }
            TokenStatus::Previous => {
                state.last_seen.note(&session);
                let successor = self.open_successor(&tokens, state);
                Ok(Accepted { session, successor })
            }
            TokenStatus::Reuse => {
                self.end_for_reuse(state).await?;
                Err(Problem::Unauthenticated)
            }
            TokenStatus::Unknown => Err(self.refuse()),
        }
    }

    /// Accepts the token like [`Self::accept`], extends the session if its extension is due, and
    /// sets the cookie that the browser must use from now on.
    pub(crate) async fn accept_and_renew(
        &self,
        state: &web::Data<State>,
    ) -> Result<Session, Problem> {
        let Accepted { mut session, mut successor } = self.accept(state).await?;
        if successor.is_none()
            && self.may_slide()
            && let Some((token, Renewed { expires_at, now })) = self.renew(state, &session).await?
        {
            (session.expires_at, session.now) = (expires_at, now);
            successor = Some(token);
        }
        if let Some(token) = successor {
            let lifetime = (session.expires_at - session.now).to_std().unwrap_or_default();
            self.request
                .extensions_mut()
                .insert(Renewal(state.cookie.set_cookie(&token, lifetime)));
        }
        Ok(session)
    }

    fn refuse(&self) -> Problem {
        tracing::info!(event = "cookie_rejected", session_id = %self.token.session_id(), "cookie rejected");
        Problem::Unauthenticated
    }

    /// Returns the status of the token at the time at which the request arrived. What other
    /// requests did while this request waited for the database does not count against the client.
    fn token_status(&self, tokens: &CookieTokens, now: DateTime<Utc>) -> TokenStatus {
        let presented = self.token.hash();
        let arrived = now - TimeDelta::from_std(self.arrived.elapsed()).unwrap_or_default();
        if same_hash(tokens.current, presented) {
            return TokenStatus::Current;
        }
        match &tokens.previous {
            Some(previous) if same_hash(previous.hash, presented) => {
                if arrived < previous.good_until {
                    TokenStatus::Previous
                } else {
                    TokenStatus::Reuse
                }
            }
            _ => TokenStatus::Unknown,
        }
    }

    fn open_successor(&self, tokens: &CookieTokens, state: &State) -> Option<SessionToken> {
        tokens
            .previous
            .as_ref()
            .and_then(|previous| self.token.unseal(&previous.sealed_successor, &state.secrets))
    }

    /// Records that the current token has reached the browser. If this fails, the next request
    /// tries again.
    async fn confirm(&self, state: &web::Data<State>, session: &Session, tokens: CookieTokens) {
        let grace = state.lifetimes.reuse_grace;
        let latest = session.now + TimeDelta::from_std(grace).unwrap_or_default();
        if tokens.previous.as_ref().is_none_or(|previous| previous.good_until <= latest) {
            return;
        }
        let (shared, id) = (Arc::clone(state), session.id);
        let confirmed = state.tasks.finish(async move {
            let mut connection = shared.database.acquire().await?;
            let watch = connection.watch();
            Ok::<_, DatabaseError>(
                timed(watch, "confirm_cookie", tokens.confirm(&mut connection, id, grace)).await?,
            )
        });
        if let Ok(Err(error)) = confirmed.await {
            tracing::warn!(event = "cookie_confirmation_failed", %error, "first use of a renewed cookie not recorded");
        }
    }

    /// Returns whether this request may extend the session. Browsers report in `Sec-Fetch-Site`
    /// (Fetch Metadata) which site caused a request. A request that another site caused is not a
    /// use of the session by the user.
    fn may_slide(&self) -> bool {
        let mut sites = self.request.headers().get_all("Sec-Fetch-Site");
        match (sites.next(), sites.next()) {
            (None, _) => true,
            (Some(site), None) => [b"none".as_slice(), b"same-origin", b"same-site"]
                .contains(&site.as_bytes().trim_ascii()),
            (Some(_), Some(_)) => false,
        }
    }

    /// Extends the session and replaces its token, if the extension is due. If writing to the
    /// database fails, the request still succeeds, and the next request renews the session.
    async fn renew(
        &self,
        state: &web::Data<State>,
        session: &Session,
    ) -> Result<Option<(SessionToken, Renewed)>, Problem> {
        if !is_due(state, session) {
            return Ok(None);
        }
        let successor = SessionToken::generate(&state.secrets, session.id)?;
        let renewal = CookieRenewal {
            session_id: session.id,
            presented: self.token.hash(),
            successor: successor.hash(),
            sealed_successor: self.token.seal(&successor, &state.secrets)?,
            ttl: state.lifetimes.session,
            threshold: state.lifetimes.extend_threshold,
        };
        let shared = Arc::clone(state);
        let renewed = state.tasks.finish(async move {
            let mut connection = shared.database.acquire().await?;
            let watch = connection.watch();
            Ok::<_, DatabaseError>(
                timed(watch, "renew_cookie", renewal.apply(&mut connection)).await?,
            )
        });
        match renewed.await? {
            Ok(Some(renewed)) => {
                CookieRenewalOutcome::Renewed.count();
                audit::renew(session.id, session.account.id);
                Ok(Some((successor, renewed)))
            }
            Ok(None) => self.renewed_by_another(state).await,
            Err(error) => {
                CookieRenewalOutcome::Failed.count();
                tracing::warn!(event = "cookie_renewal_failed", %error, session_id = %session.id, "cookie not renewed");
                Ok(None)
            }
        }
    }

    /// If another request from the same browser has renewed the session first, returns the new
    /// token from that renewal.
    async fn renewed_by_another(
        &self,
        state: &web::Data<State>,
    ) -> Result<Option<(SessionToken, Renewed)>, Problem> {
        let Some(session) = find_live(state, self.token.session_id()).await? else {
            return Ok(None);
        };
        let times = Renewed { expires_at: session.expires_at, now: session.now };
        let tokens = session
            .cookie
            .filter(|tokens| self.token_status(tokens, session.now) == TokenStatus::Previous);
        Ok(tokens
            .and_then(|tokens| self.open_successor(&tokens, state))
            .map(|successor| (successor, times)))
    }

    async fn end_for_reuse(&self, state: &web::Data<State>) -> Result<(), Problem> {
        // The client may have retried through another process by now, and received its response
        // there.
        if Peer::of(self.request).has_hung_up() {
            return Ok(());
        }
        let (shared, session_id) = (Arc::clone(state), self.token.session_id());
        let client = Client::of(self.request, &state.trusted_proxies);
        let ended = state.tasks.finish(async move {
            let end = revocation::end(
                &shared,
                &client,
                session_id,
                RevokedReason::Reuse,
                &RevokedBy::Rule,
            );
            if end.await? == Ended::Now {
                audit::reuse(&client, session_id, "used_up");
            }
            Ok::<_, DatabaseError>(())
        });
        Ok(ended.await??)
    }
}

/// Returns `true` if a renewal would extend the expiry by at least the threshold, and if no
/// previous token is valid anymore.
fn is_due(state: &State, session: &Session) -> bool {
    let previous = session.cookie.as_ref().and_then(|tokens| tokens.previous.as_ref());
    if previous.is_some_and(|previous| previous.good_until > session.now) {
        return false;
    }
    // The configuration limits both lifetimes to years, so the conversion succeeds.
    let ttl = TimeDelta::from_std(state.lifetimes.session).unwrap_or_default();
    let gained = (session.now + ttl).min(session.absolute_expires_at) - session.expires_at;
    gained
        .to_std()
        .is_ok_and(|gained| !gained.is_zero() && gained >= state.lifetimes.extend_threshold)
}
