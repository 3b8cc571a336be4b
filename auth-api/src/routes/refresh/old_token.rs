//! Whether an old refresh token is the retry of an honest client or a copy in the hands of somebody
//! else.
//!
//! It is judged as of when its request *arrived*: what other requests did while this one waited for
//! the database is not the client's doing.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schema::families::{FamilyState, Foreign};
use schema::ids::TokenHash;

use crate::credentials::{RefreshToken, Secrets, same_hash};

/// An old token, and what came with it.
pub(super) struct OldToken<'t> {
    /// Issued by its family, and of a generation below the current one.
    pub(super) token: &'t RefreshToken,
    /// The hash of the request's `Idempotency-Key`.
    pub(super) attempt: Option<TokenHash>,
    /// When the request arrived, by the database's clock, or a moment earlier.
    pub(super) arrived: DateTime<Utc>,
    /// Where it came from.
    pub(super) ip: IpAddr,
}

/// What is configured about retries.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// How long a retry without the key of the attempt is accepted.
    pub(super) grace: Duration,
    /// So many generations in a row with a retry from another network are reuse; 0: none are.
    pub(super) foreign_generations: u16,
}

/// What an old token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A retry: the current token, once more. `foreign`: from another network, without the key of
    /// the attempt.
    Retry { successor: RefreshToken, foreign: Option<Foreign> },
    /// Honest, as far as can be known, and too late: its successor cannot be given any more.
    Superseded,
    /// A copy. `foreign`: it is one because of the networks that retries came from.
    Reuse { foreign: Option<Foreign> },
}

impl Verdict {
    /// Whether it ends the session, or brings that nearer.
    pub(super) fn is_held_against_the_client(&self) -> bool {
        matches!(self, Self::Reuse { .. } | Self::Retry { foreign: Some(_), .. })
    }
}

impl OldToken<'_> {
    /// Judges by the family as it stands under its lock.
    pub(super) fn judge(&self, family: &FamilyState, secrets: &Secrets, rules: Rules) -> Verdict {
        let behind = family.issued.generation - i64::from(self.token.generation());
        match behind {
            // Nobody has used the successor yet.
            1 if same(family.issued.previous_hash, self.token.hash()) => {
                self.judge_predecessor(family, secrets, rules)
            }
            // It was current until `previous_rotated_at`, and the immediate predecessor from then
            // to `rotated_at`.
            2 if self.arrived < family.rotated_at
                && family
                    .previous_rotated_at
                    .is_some_and(|replaced| self.came_within(rules.grace, replaced)) =>
            {
                Verdict::Superseded
            }
            // When it was replaced is not known any more; only that by `previous_rotated_at` it was
            // neither.
            3.. if family.previous_rotated_at.is_some_and(|later| self.arrived < later) => {
                Verdict::Superseded
            }
            _ => Verdict::Reuse { foreign: None },
        }
    }

    fn judge_predecessor(&self, family: &FamilyState, secrets: &Secrets, rules: Rules) -> Verdict {
        // Whoever shows the key of the attempt may come from anywhere, and late.
        let same_attempt = self.attempt.is_some_and(|attempt| same(family.attempt, attempt));
        if !same_attempt && !self.came_within(rules.grace, family.rotated_at) {
            return Verdict::Reuse { foreign: None };
        }
        let sealed = family.sealed_successor.as_deref();
        let Some(successor) = sealed.and_then(|sealed| self.token.unseal(sealed, secrets)) else {
            return Verdict::Superseded;
        };
        let foreign = if same_attempt { None } else { self.foreign(family) };
        let limit = i32::from(rules.foreign_generations);
        if limit > 0 && foreign.is_some_and(|foreign| foreign.generations >= limit) {
            return Verdict::Reuse { foreign };
        }
        Verdict::Retry { successor, foreign }
    }

    /// Generations in a row with a retry from elsewhere, if this is one. A request that arrived
    /// before the rotation is none: its client presented what was the current token then.
    fn foreign(&self, family: &FamilyState) -> Option<Foreign> {
        let elsewhere = family.networks().is_some_and(|networks| !networks.contain(self.ip));
        (elsewhere && self.arrived >= family.rotated_at).then(|| family.foreign_in_a_row())
    }

    /// Whether the request arrived before the token was `replaced`, or within the grace after it.
    fn came_within(&self, grace: Duration, replaced: DateTime<Utc>) -> bool {
        let age = self.arrived.signed_duration_since(replaced);
        // The configuration bounds the grace to minutes.
        age < TimeDelta::from_std(grace).unwrap_or_default()
    }
}

fn same(stored: Option<TokenHash>, hash: TokenHash) -> bool {
    stored.is_some_and(|own| same_hash(own, hash))
}
