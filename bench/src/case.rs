//! The cases: the states of the table in which session-reaper is measured.

/// The layout of the due rows in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The due rows are adjacent, because the table was filled in the order of the expiry times.
    Together,
    /// The due rows are on every page, next to rows that are not due, because lifetimes are mixed.
    Scattered,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 2] = [Self::Together, Self::Scattered];

    /// Returns the name, as used in names of databases and cases.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Scattered => "scattered",
        }
    }

    /// Returns the SQL expression for the position of row `n` among all expiry times, in a table of
    /// `{rows}` rows.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Together => "n",
            // A permutation: each position occurs once.
            Self::Scattered => "row_number() OVER (ORDER BY hashint8extended(n, 7), n) - 1",
        }
    }
}

/// A state of the table and of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name in the results.
    pub name: &'static str,
    /// Layout of the due rows.
    pub layout: Layout,
    /// Whether an earlier transaction holds a snapshot during the measurement. The snapshot
    /// prevents PostgreSQL from removing dead rows and dead index entries.
    pub old_snapshot: bool,
}

/// All cases.
pub const CASES: [Case; 4] = [
    Case { name: "together", layout: Layout::Together, old_snapshot: false },
    Case { name: "together, old snapshot", layout: Layout::Together, old_snapshot: true },
    Case { name: "scattered", layout: Layout::Scattered, old_snapshot: false },
    Case { name: "scattered, old snapshot", layout: Layout::Scattered, old_snapshot: true },
];
