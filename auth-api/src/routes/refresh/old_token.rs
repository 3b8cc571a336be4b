//! Decides whether a request with an old refresh token is a retry by a legitimate client, or reuse.
//! Reuse indicates a stolen copy of the token.
//!
//! The decision depends on the time at which the request arrived. What other requests did while
//! this request waited for the database does not count against its client.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schema::families::{FamilyState, Foreign};
use schema::ids::TokenHash;

use crate::credentials::{RefreshToken, Secrets, same_hash};

/// An old token and the request that presents it.
pub(super) struct OldToken<'t> {
    /// A token that its family (the refresh tokens of the session) issued before the current token.
    pub(super) token: &'t RefreshToken,
    /// The hash of the request's `Idempotency-Key`.
    pub(super) attempt: Option<TokenHash>,
    /// The time at which the request arrived, according to the database's clock. May be slightly
    /// early.
    pub(super) arrived: DateTime<Utc>,
    /// The address that the request came from.
    pub(super) ip: IpAddr,
}

/// The settings for retries.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// The time after the token was replaced during which a retry is accepted without the
    /// `Idempotency-Key` of the first attempt.
    pub(super) grace: Duration,
    /// A retry from another network counts as reuse if such retries have occurred for this number
    /// of consecutive refresh tokens. If 0, this check is disabled.
    pub(super) foreign_generations: u16,
}

/// The decision about an old token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A retry, whose response contains the current token again. `foreign` is set if the retry came
    /// from another network and without the `Idempotency-Key` of the first attempt.
    Retry { successor: RefreshToken, foreign: Option<Foreign> },
    /// The request is not known to be reuse, but it is too late: the token's successor can no
    /// longer be returned, because it was replaced, too, or because it cannot be decrypted.
    Superseded,
    /// Reuse, which ends the session. `foreign` is set if the reason is that retries came from
    /// other networks.
    Reuse { foreign: Option<Foreign> },
}

impl Verdict {
    /// Returns `true` if the decision ends the session or counts toward ending it.
    pub(super) fn is_held_against_the_client(&self) -> bool {
        matches!(self, Self::Reuse { .. } | Self::Retry { foreign: Some(_), .. })
    }
}

impl OldToken<'_> {
    /// Makes the decision from the state of the family. The caller must have locked the family's
    /// row.
    pub(super) fn judge(&self, family: &FamilyState, secrets: &Secrets, rules: Rules) -> Verdict {
        let behind = family.issued.generation - i64::from(self.token.generation());
        match behind {
            // The successor has not been used yet.
            1 if same(family.issued.previous_hash, self.token.hash()) => {
                self.judge_predecessor(family, secrets, rules)
            }
            // The token was the current one until `previous_rotated_at`, and the immediate
            // predecessor from then until `rotated_at`.
            2 if self.arrived < family.rotated_at
                && family
                    .previous_rotated_at
                    .is_some_and(|replaced| self.came_within(rules.grace, replaced)) =>
            {
                Verdict::Superseded
            }
            // The database no longer contains the time at which the token was replaced. From
            // `previous_rotated_at` on, the token was neither the current token nor the immediate
            // predecessor of the current token.
            3.. if family.previous_rotated_at.is_some_and(|later| self.arrived < later) => {
                Verdict::Superseded
            }
            _ => Verdict::Reuse { foreign: None },
        }
    }

    fn judge_predecessor(&self, family: &FamilyState, secrets: &Secrets, rules: Rules) -> Verdict {
        // A retry with the key of the first attempt may come from any network, at any time.
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

    /// Returns the number of consecutive refresh tokens with a retry from another network, if this
    /// request is such a retry. A request that arrived before the rotation is not such a retry,
    /// because its token was still the current one.
    fn foreign(&self, family: &FamilyState) -> Option<Foreign> {
        let other_network = family.networks().is_some_and(|networks| !networks.contain(self.ip));
        (other_network && self.arrived >= family.rotated_at).then(|| family.foreign_in_a_row())
    }

    /// Returns `true` if the request arrived before `replaced`, the time at which the token was
    /// replaced, or within the grace period after that time.
    fn came_within(&self, grace: Duration, replaced: DateTime<Utc>) -> bool {
        let age = self.arrived.signed_duration_since(replaced);
        // The configuration limits the grace period to minutes, so the conversion does not fail.
        age < TimeDelta::from_std(grace).unwrap_or_default()
    }
}

fn same(stored: Option<TokenHash>, hash: TokenHash) -> bool {
    stored.is_some_and(|stored| same_hash(stored, hash))
}
