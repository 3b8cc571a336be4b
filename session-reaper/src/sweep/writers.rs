//! Whether anybody else was writing while we were. Whoever holds a row holds it by a transaction that has a number; where no
//! such transaction was under way, before, after or in between, no row was passed over, and none has to be counted.

use tokio_postgres::Row;

/// The transactions with a number, at one moment (`pg_current_snapshot`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writers {
    /// The next number.
    next: u64,
    /// None of the numbers given out is still at work.
    none: bool,
}

impl Writers {
    pub(super) const SQL: &str = "SELECT pg_current_snapshot()::text";

    pub(super) fn of(row: &Row) -> Self {
        Self::parse(row.get(0))
    }

    /// Reads `xmin:xmax:xip,…`.
    fn parse(snapshot: &str) -> Self {
        let mut parts = snapshot.split(':');
        let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok());
        match (number(), number()) {
            (Some(oldest), Some(next)) => Self { next, none: oldest == next },
            _ => Self { next: 0, none: false },
        }
    }

    /// Nobody but one transaction of ours, if it `wrote`, had a number from then to now.
    pub(super) fn alone_since(&self, then: &Self, wrote: bool) -> bool {
        self.none && then.none && then.next != 0 && self.next == then.next + u64::from(wrote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alone_is_who_has_the_only_number_given_out() {
        let at = Writers::parse;
        assert!(at("100:100:").alone_since(&at("99:99:"), true));
        assert!(at("99:99:").alone_since(&at("99:99:"), false));
        // Somebody came and went.
        assert!(!at("101:101:").alone_since(&at("99:99:"), true));
        assert!(!at("100:100:").alone_since(&at("99:99:"), false));
        // Somebody is still there, or was when we began.
        assert!(!at("99:101:99").alone_since(&at("99:99:"), true));
        assert!(!at("100:100:").alone_since(&at("98:99:98"), true));
        assert!(!at("?").alone_since(&at("?"), false));
    }
}
