//! What becomes of a genuine refresh token: a rotation, or a look at an old one under the locks of
//! its session and family.

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
use crate::http::{Client, Peer, Problem};
use crate::metrics::{self, RefreshOutcome};
use crate::state::{Lease, State, timed};

/// A genuine refresh token, and what came with it.
pub(super) struct PresentedToken {
    pub(super) token: RefreshToken,
    /// The hash of the `Idempotency-Key`.
    pub(super) attempt: Option<TokenHash>,
    /// When the whole request was there.
    pub(super) arrived: Instant,
    pub(super) client: Client,
    pub(super) peer: Peer,
}

/// What became of a refresh token.
pub(super) enum Refreshed {
    /// It was the current one and has a successor now, or it is a retry.
    Next { session: SessionState, successor: RefreshToken, retry: bool },
    /// It is not accepted.
    Refused(RefreshOutcome),
}

impl PresentedToken {
    pub(super) fn session_id(&self) -> SessionId {
        self.token.session_id()
    }

    fn is_current(&self, family: &FamilyState) -> bool {
        let same = same_hash(family.issued.token_hash, self.token.hash());
        i64::from(self.token.generation()) == family.issued.generation && same
    }
}

/// Rotates, answers a retry, or refuses.
pub(super) async fn decide(
    state: &State,
    presented: &PresentedToken,
) -> Result<Refreshed, Problem> {
    // A process that was paused, or very busy, gets to requests that nobody waits for any more.
    if presented.peer.has_hung_up() {
        return Ok(Refreshed::Refused(RefreshOutcome::HungUp));
    }
    let mut connection = state.database.acquire().await?;
    // The grace is longer than an answer may take, which is so only if its queries share one bound.
    connection.bound_in_total();
    // Where the key is known, a rotation is one statement. It finds nothing unless the token is the
    // current one of a live session.
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
        let of_family = (family.issued.key.as_ref(), generation);
        if let Some(next) = rotate(state, &mut connection, presented, of_family).await? {
            if let Some(key) = family.issued.key {
                state.family_keys.keep(presented.session_id(), key);
            }
            return Ok(next);
        }
        // In between another request rotated it, or its session ended.
    };
    // Told without a lock, which is written to disk: it would take milliseconds where there is a
    // session, and nothing where there is none. So a token that the family never issued costs
    // no more than a read.
    if let Some(outcome) = never_replaced(&family, &presented.token) {
        return Ok(Refreshed::Refused(outcome));
    }
    // A little too early rather than too late: the time includes the way back from the database.
    let arrived =
        family.session.now - TimeDelta::from_std(presented.arrived.elapsed()).unwrap_or_default();
    look_again(state, connection, presented, arrived).await
}

async fn read(
    connection: &mut Lease<'_>,
    session_id: SessionId,
) -> Result<Option<FamilyState>, Problem> {
    Ok(timed(connection.watch(), "refresh_read", FamilyState::read(connection, session_id)).await?)
}

/// `None`: the token is not the current one of a live session.
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

/// Moves the session's expiry along, when that is worth a write. The rotation has been committed:
/// if this fails, the client still gets its tokens, and the next refresh moves it.
async fn slide(
    state: &State,
    connection: &mut Lease<'_>,
    session_id: SessionId,
    session: &mut SessionState,
) {
    let (ttl, threshold) = (state.lifetimes.session, state.lifetimes.extend_threshold);
    // The configuration bounds both to years.
    let slid = chrono::Duration::from_std(ttl).map_or(session.expires_at, |ttl| session.now + ttl);
    let won = slid.min(session.absolute_expires_at) - session.expires_at;
    if won.to_std().is_ok_and(|won| won >= threshold) {
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

/// What every token of a session is refused for that is over.
fn dead(family: &FamilyState) -> Option<RefreshOutcome> {
    if family.revoked {
        Some(RefreshOutcome::Revoked)
    } else if family.session.expires_at <= family.session.now {
        Some(RefreshOutcome::Expired)
    } else {
        None
    }
}

/// What a token is refused for that is not the current one, and that no rotation has replaced.
fn never_replaced(family: &FamilyState, token: &RefreshToken) -> Option<RefreshOutcome> {
    if !token.is_among(&family.issued) {
        Some(RefreshOutcome::Forged)
    } else if i64::from(token.generation()) >= family.issued.generation {
        // Issued, and yet the database has not got that far. That is what a restored backup looks
        // like, so nothing is revoked for it.
        Some(RefreshOutcome::Unknown)
    } else {
        None
    }
}

/// Decides about an old token, and ends its session where it is a copy.
async fn look_again(
    state: &State,
    mut connection: Lease<'_>,
    presented: &PresentedToken,
    arrived: DateTime<Utc>,
) -> Result<Refreshed, Problem> {
    let watch = connection.watch();
    let second_look = connection
        .transaction(async |connection| judge(state, connection, presented, arrived).await);
    // It may have been committed all the same: then somebody has to be denied.
    let judged = timed(watch, "refresh_second_look", second_look)
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

/// What was decided about an old token.
struct Judged {
    refreshed: Refreshed,
    /// It came from another network than the rotation that replaced it.
    foreign: Option<Foreign>,
}

impl Judged {
    fn refused(outcome: RefreshOutcome) -> Self {
        Self { refreshed: Refreshed::Refused(outcome), foreign: None }
    }
}

/// Whether an old token is a retry or a reuse, decided under the locks of session and family.
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
    // It may have asked another process meanwhile, and have got its answer there.
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
