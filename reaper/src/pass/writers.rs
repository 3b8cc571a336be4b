//! Detects whether another transaction was writing while a chunk (the transaction that deletes
//! rows) was executed. Only a transaction with an ID can lock a row, because a row lock is written
//! to the row. If no such transaction was active, the chunk skipped no row as locked, and skipped
//! rows need not be counted.
//!
//! Transaction IDs are assigned in sequence, but a snapshot covers only the IDs up to the last
//! completed transaction: a transaction with a higher ID may be active without being visible in the
//! snapshot. Each check therefore first assigns an ID to a transaction of its own and ends that
//! transaction. The snapshot that follows covers all transactions with lower IDs. If the IDs of two
//! checks are consecutive, no other transaction with an ID began in between.

use tokio_postgres::SimpleQueryMessage;

use crate::time::MICROSECONDS;

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Writers {
    /// The transaction ID of the check.
    number: u64,
    /// `true` if all transactions with a lower ID had ended.
    none: bool,
}

impl Writers {
    /// Returns the statement that assigns an ID. It also returns the time. The statement must be
    /// the last one of its message, so that its transaction has ended before the snapshot is taken.
    pub(crate) fn number() -> String {
        format!("SELECT pg_catalog.pg_current_xact_id(), {MICROSECONDS}")
    }

    /// The statement that returns the snapshot. It is sent as a message of its own, right after
    /// [`Self::number`].
    pub(crate) const SNAPSHOT: &str = "SELECT pg_catalog.pg_current_snapshot()";

    /// Creates the result of a check from the results of its statements. Returns `None` if they are
    /// incomplete.
    pub(crate) fn of(
        number: &[SimpleQueryMessage],
        snapshot: &[SimpleQueryMessage],
    ) -> Option<Self> {
        let first = |messages: &[SimpleQueryMessage]| {
            messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            })
        };
        Some(Self::parse(&first(number)?, &first(snapshot)?))
    }

    /// Parses an ID and a snapshot, `xmin:xmax:xip,…`.
    fn parse(number: &str, snapshot: &str) -> Self {
        let mut parts = snapshot.split(':');
        let none =
            matches!((parts.next(), parts.next()), (Some(oldest), Some(next)) if oldest == next);
        number.parse().map_or(Self { number: 0, none: false }, |number| Self { number, none })
    }

    /// Returns `true` if no other transaction with an ID was active between the checks `then` and
    /// `self`. `wrote` is `true` if a transaction of this reaper was assigned an ID between the two
    /// checks.
    pub(crate) fn alone_since(&self, then: &Self, wrote: bool) -> bool {
        then.none && self.number == then.number + 1 + u64::from(wrote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_requires_consecutive_transaction_ids() {
        let then = Writers::parse("99", "100:100:");
        let at = |number| Writers::parse(number, "200:200:");
        assert!(at("101").alone_since(&then, true));
        assert!(at("100").alone_since(&then, false));
        // Another transaction has an ID and may still be active.
        assert!(!at("102").alone_since(&then, true));
        assert!(!at("101").alone_since(&then, false));
        // Another transaction already had an ID at the first check and was active at that time.
        assert!(!at("101").alone_since(&Writers::parse("99", "98:100:98"), true));
        assert!(!at("1").alone_since(&Writers::parse("?", "?"), false));
    }
}
