//! Decides what happens to a verified refresh token. A current token is rotated (replaced by a new
//! one). The decision about an old token is made while locks are held on the row of its session and
//! on the row of its family (all refresh tokens of the session).

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::{AsyncConnection as _, AsyncPgConnection};
use schema::families::{FamilyState, Foreign, Rotation, SessionState};
use schema::ids::{SessionId, TokenHash};
use schema::issued::FamilyKey;
use schema::networks::Networks;
use schema::sessions::{RevokedReason, Session};

use super::old_token::{OldToken, Rules, Verdict};
use crate::audit::{self, RevokedBy};
use crate::credentials::{RefreshToken, same_hash};
use crate::database::{Lease, timed};
use crate::http::{Client, Peer, Problem};
use crate::metrics::{self, RefreshOutcome};
use crate::state::State;

/// A verified refresh token and the request that presents it.
pub(super) struct PresentedToken {
    pub(super) token: RefreshToken,
    /// The hash of the `Idempotency-Key`.
    pub(super) attempt: Option<TokenHash>,
    /// The time at which the request had arrived completely.
    pub(super) arrived: Instant,
    pub(super) client: Client,
    pub(super) peer: Peer,
}

/// The decision about a refresh token.
pub(super) enum Refreshed {
    /// The token was the current one and now has a successor, or the request is a retry.
    Next { session: SessionState, successor: RefreshToken, retry: bool },
    /// The token is rejected.
    Refused(RefreshOutcome),
}

impl PresentedToken {
    pub(super) fn session_id(&self) -> SessionId {
        self.token.session_id()
    }

    fn is_current(&self, family: &FamilyState) -> bool {
        let same_token = same_hash(family.issued.token_hash, self.token.hash());
        i64::from(self.token.generation()) == family.issued.generation && same_token
    }
}

/// Rotates the token, returns its successor to a retry, or rejects the token.
pub(super) async fn decide(
    state: &State,
    presented: &PresentedToken,
) -> Result<Refreshed, Problem> {
    // A process that was paused or overloaded may read requests whose clients have disconnected.
    if presented.peer.has_hung_up() {
        return Ok(Refreshed::Refused(RefreshOutcome::HungUp));
    }
    let mut connection = state.database.acquire().await?;
    // The grace period must exceed the longest response time. This condition holds only if all
    // queries of the request share one time limit.
    connection.bound_in_total();
    // If the family's key is in memory, a rotation is one statement. The statement has no effect
    // unless the token is the current token of a live session.
    let generation = presented.token.generation().checked_add(1);
    if let (Some(key), Some(generation)) =
        (state.family_keys.get(presented.session_id()), generation)
        && let Some(next) =
            rotate(state, &mut connection, presented, (Some(&key), generation)).await?
    {
        return Ok(next);
    }
    let family = loop {
        let Some(family) = read(&mut connection, presented.session_id()).await? else {
            return Ok(Refreshed::Refused(RefreshOutcome::Unknown));
        };
        if let Some(outcome) = dead(&family) {
            return Ok(Refreshed::Refused(outcome));
        }
        if !presented.is_current(&family) {
            break family;
        }
        let Some(generation) = generation else {
            return Ok(Refreshed::Refused(RefreshOutcome::Unknown));
        };
        let key_and_generation = (family.issued.key.as_ref(), generation);
        if let Some(next) = rotate(state, &mut connection, presented, key_and_generation).await? {
            if let Some(key) = family.issued.key {
                state.family_keys.keep(presented.session_id(), key);
            }
            return Ok(next);
        }
        // In the meantime, another request has rotated the token, or the session has ended.
    };
    // This decision needs no lock. If the session exists, a lock is written to disk, which takes
    // milliseconds. If the session does not exist, there is nothing to lock, and a client could
    // measure the difference. Without the lock, the decision about a token that the family never
    // issued costs no more than a read.
    if let Some(outcome) = never_replaced(&family, &presented.token) {
        return Ok(Refreshed::Refused(outcome));
    }
    // The result may be slightly early, but never late: `elapsed` includes the time that the
    // database's response took.
    let arrived =
        family.session.now - TimeDelta::from_std(presented.arrived.elapsed()).unwrap_or_default();
    decide_old(state, connection, presented, arrived).await
}

async fn read(
    connection: &mut Lease<'_>,
    session_id: SessionId,
) -> Result<Option<FamilyState>, Problem> {
    Ok(timed(connection.watch(), "refresh_read", FamilyState::read(connection, session_id)).await?)
}

/// Rotates the token. Returns `None` if it is not the current token of a live session.
async fn rotate(
    state: &State,
    connection: &mut Lease<'_>,
    presented: &PresentedToken,
    (key, generation): (Option<&FamilyKey>, u32),
) -> Result<Option<Refreshed>, Problem> {
    let (token, session_id) = (&presented.token, presented.session_id());
    let successor = RefreshToken::generate(&state.secrets, key, session_id, generation)?;
    let rotation = Rotation {
        session_id,
        generation: token.generation().into(),
        presented: token.hash(),
        successor: successor.hash(),
        sealed_successor: token.seal(&successor, &state.secrets)?,
        attempt: presented.attempt,
        networks: Networks::of(presented.client.ip),
    };
    let Some(mut session) = timed(connection.watch(), "rotate", rotation.apply(connection)).await?
    else {
        return Ok(None);
    };
    slide(state, connection, session_id, &mut session).await;
    Ok(Some(Refreshed::Next { session, successor, retry: false }))
}

/// Extends the session's expiration if the new expiration is later by at least the threshold
/// (`EXTEND_THRESHOLD`). The rotation is already committed. If the extension fails, the client
/// still gets its tokens, and the next refresh extends the session.
async fn slide(
    state: &State,
    connection: &mut Lease<'_>,
    session_id: SessionId,
    session: &mut SessionState,
) {
    let (ttl, threshold) = (state.lifetimes.session, state.lifetimes.extend_threshold);
    // The configuration limits both durations to years, so the conversion does not fail.
    let extended_to =
        chrono::Duration::from_std(ttl).map_or(session.expires_at, |ttl| session.now + ttl);
    let gain = extended_to.min(session.absolute_expires_at) - session.expires_at;
    if gain.to_std().is_ok_and(|gain| gain >= threshold) {
        let watch = connection.watch();
        let extend = Session::extend(connection, session_id, ttl, threshold);
        match timed(watch, "extend_session", extend).await {
            Ok(extended) => session.expires_at = extended.unwrap_or(session.expires_at),
            Err(error) => {
                tracing::warn!(event = "session_extension_failed", %error, "session expiry not extended");
            }
        }
    }
}

/// Returns the reason why all tokens of the session are rejected, or `None` if the session has not
/// ended.
fn dead(family: &FamilyState) -> Option<RefreshOutcome> {
    if family.revoked {
        Some(RefreshOutcome::Revoked)
    } else if family.session.expires_at <= family.session.now {
        Some(RefreshOutcome::Expired)
    } else {
        None
    }
}

/// Returns the reason for rejecting `token`, unless it is an old token. `token` must not be the
/// current token. Returns `None` for an old token: it was the current token, and a rotation has
/// replaced it.
fn never_replaced(family: &FamilyState, token: &RefreshToken) -> Option<RefreshOutcome> {
    if !token.is_among(&family.issued) {
        Some(RefreshOutcome::Forged)
    } else if i64::from(token.generation()) >= family.issued.generation {
        // The token was issued, but the database does not contain its generation yet. This can
        // happen after a backup has been restored, so the session is not revoked.
        Some(RefreshOutcome::Unknown)
    } else {
        None
    }
}

/// Decides whether the use of an old token is accepted, and ends the session of the token if the
/// use counts as reuse.
async fn decide_old(
    state: &State,
    mut connection: Lease<'_>,
    presented: &PresentedToken,
    arrived: DateTime<Utc>,
) -> Result<Refreshed, Problem> {
    let watch = connection.watch();
    let transaction = connection
        .transaction(async |connection| judge(state, connection, presented, arrived).await);
    // After an error, the transaction may still have been committed. In that case, the session must
    // be denied.
    let judged = timed(watch, "refresh_second_look", transaction)
        .await
        .inspect_err(|_| state.denylist.doubt())?;
    drop(connection);
    let (client, session_id) = (&presented.client, presented.session_id());
    if let Some(foreign) = judged.foreign {
        audit::foreign_retry(client, session_id, foreign.generations);
        if !foreign.counted {
            metrics::count_foreign_generation();
        }
    }
    if matches!(judged.refreshed, Refreshed::Refused(RefreshOutcome::Reuse)) {
        let reason = if judged.foreign.is_some() { "foreign_generations" } else { "used_up" };
        audit::reuse(client, session_id, reason);
        metrics::count_revoked(RevokedReason::Reuse, 1);
        audit::revoke(Some(client), session_id, &RevokedBy::Rule, RevokedReason::Reuse);
        state.denylist.deny(&[session_id]).await;
    }
    Ok(judged.refreshed)
}

/// The decision about an old token.
struct Judged {
    refreshed: Refreshed,
    /// Set if the request is a retry from a network other than those from which the family was last
    /// used.
    foreign: Option<Foreign>,
}

impl Judged {
    fn refused(outcome: RefreshOutcome) -> Self {
        Self { refreshed: Refreshed::Refused(outcome), foreign: None }
    }
}

/// Decides whether the use of an old token is a retry or reuse, while locks are held on the rows of
/// the token's session and family.
async fn judge(
    state: &State,
    connection: &mut AsyncPgConnection,
    presented: &PresentedToken,
    arrived: DateTime<Utc>,
) -> Result<Judged, Problem> {
    let (token, session_id) = (&presented.token, presented.session_id());
    let Some(family) = FamilyState::lock(connection, session_id).await? else {
        return Ok(Judged::refused(RefreshOutcome::Unknown));
    };
    if let Some(outcome) = dead(&family).or_else(|| never_replaced(&family, token)) {
        return Ok(Judged::refused(outcome));
    }
    let rules = Rules {
        grace: state.lifetimes.reuse_grace,
        foreign_generations: state.foreign_generations,
    };
    let old = OldToken { token, attempt: presented.attempt, arrived, ip: presented.client.ip };
    let verdict = old.judge(&family, &state.secrets, rules);
    // In the meantime, the client may have retried at another process and received a response
    // there.
    if verdict.is_held_against_the_client() && presented.peer.has_hung_up() {
        return Ok(Judged::refused(RefreshOutcome::HungUp));
    }
    match verdict {
        Verdict::Retry { successor, foreign } => {
            if foreign.is_some_and(|foreign| !foreign.counted) {
                family.count_foreign(connection, session_id).await?;
            }
            Ok(Judged {
                refreshed: Refreshed::Next { session: family.session, successor, retry: true },
                foreign,
            })
        }
        Verdict::Superseded => Ok(Judged::refused(RefreshOutcome::Superseded)),
        Verdict::Reuse { foreign } => {
            Session::revoke(connection, session_id, RevokedReason::Reuse).await?;
            Ok(Judged { foreign, ..Judged::refused(RefreshOutcome::Reuse) })
        }
    }
}
