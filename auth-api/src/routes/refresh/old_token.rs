//! Whether an old refresh token is the retry of an honest client or a copy in the hands of somebody else.
//!
//! It is judged as of when its request *arrived*: what other requests did while this one waited for the database is not the
//! client's doing.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use schema::families::Standing;
use schema::ids::TokenHash;
use subtle::ConstantTimeEq as _;

use crate::credentials::{RefreshToken, Secrets};

/// An old token, and what came with it.
pub(super) struct OldToken<'t> {
    /// Genuine, and of a generation below the current one.
    pub(super) token: &'t RefreshToken,
    /// The hash of the request's `Idempotency-Key`.
    pub(super) attempt: Option<TokenHash>,
    /// When the request arrived, by the database's clock, or a moment earlier.
    pub(super) arrived: DateTime<Utc>,
}

/// What an old token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A retry: the current token, once more.
    Retry(RefreshToken),
    /// Honest, as far as can be known, and too late: its successor cannot be given any more.
    Superseded,
    /// A copy.
    Reuse,
}

impl OldToken<'_> {
    /// Judges by the family as it stands under its lock.
    pub(super) fn judge(&self, family: &Standing, secrets: &Secrets, grace: Duration) -> Verdict {
        let behind = family.generation - i64::from(self.token.generation());
        let same = |stored: Option<TokenHash>, hash: TokenHash| stored.is_some_and(|own| own.0.ct_eq(&hash.0).into());
        match behind {
            1 if same(family.previous_hash, self.token.hash()) => {
                // Nobody has used the successor yet: whoever shows the key of the attempt may come from anywhere, and late.
                let same_attempt = self.attempt.is_some_and(|attempt| same(family.attempt, attempt));
                if same_attempt || self.came_within(grace, family.rotated_at) {
                    let sealed = family.sealed_successor.as_deref();
                    sealed
                        .and_then(|sealed| self.token.unseal(sealed, secrets))
                        .map_or(Verdict::Superseded, Verdict::Retry)
                } else {
                    Verdict::Reuse
                }
            }
            // It was current until `previous_rotated_at`, and the immediate predecessor from then to `rotated_at`.
            2 if self.arrived < family.rotated_at
                && family.previous_rotated_at.is_some_and(|replaced| self.came_within(grace, replaced)) =>
            {
                Verdict::Superseded
            }
            // When it was replaced is not known any more; only that by `previous_rotated_at` it was neither.
            3.. if family.previous_rotated_at.is_some_and(|later| self.arrived < later) => Verdict::Superseded,
            _ => Verdict::Reuse,
        }
    }

    /// Whether the request arrived before the token was `replaced`, or within the grace after it.
    fn came_within(&self, grace: Duration, replaced: DateTime<Utc>) -> bool {
        let age = self.arrived.signed_duration_since(replaced);
        // The configuration bounds the grace to minutes.
        age < TimeDelta::from_std(grace).unwrap_or_default()
    }
}
