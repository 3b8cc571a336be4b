//! The states of the table that are measured.

/// How due rows lie in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In a row: the table was filled in the order of their times.
    Together,
    /// On every page, beside rows that are not due: lifetimes are mixed.
    Scattered,
}

impl Layout {
    /// All.
    pub const ALL: [Self; 2] = [Self::Together, Self::Scattered];

    /// In names.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Together => "together",
            Self::Scattered => "scattered",
        }
    }

    /// In SQL, the place among all expiries of row `n`, of `{rows}`.
    pub(crate) fn place(self) -> &'static str {
        match self {
            Self::Together => "n",
            // A permutation: each place once.
            Self::Scattered => "row_number() OVER (ORDER BY hashint8extended(n, 7), n) - 1",
        }
    }
}

/// A state of the table, and of the server beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// In results.
    pub name: &'static str,
    /// Of the due rows.
    pub layout: Layout,
    /// A transaction that began before holds a snapshot all the while, so that no dead row or
    /// index entry can be passed over as dead to everybody.
    pub old_snapshot: bool,
}

/// All of them.
pub const CASES: [Case; 4] = [
    Case { name: "together", layout: Layout::Together, old_snapshot: false },
    Case { name: "together, old snapshot", layout: Layout::Together, old_snapshot: true },
    Case { name: "scattered", layout: Layout::Scattered, old_snapshot: false },
    Case { name: "scattered, old snapshot", layout: Layout::Scattered, old_snapshot: true },
];
