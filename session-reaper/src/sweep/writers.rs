//! Whether anybody else was writing while we were. Whoever holds a row holds it by a transaction
//! that has a number (a lock on a row is written into the row); where no such transaction was under
//! way, no row was passed over, and none has to be counted.
//!
//! Numbers are given out in turn, but a snapshot knows of those that were given out only up to the
//! last that has ended: beyond it somebody may be at work unseen. So a look first takes a number of
//! its own, and ends; the snapshot after it knows of everybody who had one before. Between two
//! looks whose numbers follow on each other nobody came.

use tokio_postgres::Row;

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writers {
    /// The look's own number.
    number: u64,
    /// Nobody with a lower one was still at work.
    none: bool,
}

impl Writers {
    /// Takes a number, as a transaction by itself.
    pub(super) const NUMBER: &str = "SELECT pg_catalog.pg_current_xact_id()::pg_catalog.text";

    /// Right after it.
    pub(super) const SNAPSHOT: &str = "SELECT pg_catalog.pg_current_snapshot()::pg_catalog.text";

    pub(super) fn of(number: &Row, snapshot: &Row) -> Self {
        Self::parse(number.get(0), snapshot.get(0))
    }

    /// Reads a number, and `xmin:xmax:xip,…`.
    fn parse(number: &str, snapshot: &str) -> Self {
        let mut parts = snapshot.split(':');
        let none =
            matches!((parts.next(), parts.next()), (Some(oldest), Some(next)) if oldest == next);
        number.parse().map_or(Self { number: 0, none: false }, |number| Self { number, none })
    }

    /// Nobody but one transaction of ours, if it `wrote`, was at work with a number from then to
    /// now.
    pub(super) fn alone_since(&self, then: &Self, wrote: bool) -> bool {
        then.none && self.number == then.number + 1 + u64::from(wrote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_who_has_the_only_number_given_out() {
        let then = Writers::parse("99", "100:100:");
        let at = |number| Writers::parse(number, "200:200:");
        assert!(at("101").alone_since(&then, true));
        assert!(at("100").alone_since(&then, false));
        // Somebody else has one, and may still be at work.
        assert!(!at("102").alone_since(&then, true));
        assert!(!at("101").alone_since(&then, false));
        // Somebody had one before, and was at work then.
        assert!(!at("101").alone_since(&Writers::parse("99", "98:100:98"), true));
        assert!(!at("1").alone_since(&Writers::parse("?", "?"), false));
    }
}
