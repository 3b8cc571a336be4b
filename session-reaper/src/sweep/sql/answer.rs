//! What the statements answer: counts, one row whatever the chunk.

use tokio_postgres::Row;

/// What [`super::PassSql::delete`] did.
pub(in crate::sweep) struct Deleted {
    pub(in crate::sweep) rows: u64,
    /// Rows of the target's children.
    pub(in crate::sweep) children: u64,
    /// Whose server process it was.
    pub(in crate::sweep) pid: i32,
    /// There may be more in the stretch: as many went as were allowed, of rows or of some child's.
    pub(in crate::sweep) full: bool,
    /// What there was, where it was counted by the way: fresh, and all.
    pub(in crate::sweep) seen: Option<(u64, u64)>,
}

/// What [`super::PassSql::count`] found.
pub(in crate::sweep) struct Counted {
    /// Due and free to go, and not due by an earlier pass.
    pub(in crate::sweep) fresh: u64,
    /// Due and free to go.
    pub(in crate::sweep) all: u64,
    /// Looked at.
    pub(in crate::sweep) seen: u64,
    /// Of `all`, in seconds since 1970.
    pub(in crate::sweep) oldest: Option<f64>,
}

impl Deleted {
    /// `most` is what the statement was given; it bounds rows in the heap's order, and each child's in any.
    pub(in crate::sweep) fn of(row: &Row, most: u64) -> Self {
        let counts = |name: &str| row.try_get::<_, Vec<i64>>(name).unwrap_or_default();
        let (rows, children, seen) = (unsigned(row.get(0)), counts("children"), counts("seen"));
        let seen = match seen.as_slice() {
            [fresh, all] => Some((unsigned(*fresh), unsigned(*all))),
            _ => None,
        };
        let full = (seen.is_some() && rows >= most) || children.iter().any(|count| unsigned(*count) >= most);
        Self { rows, children: children.into_iter().map(unsigned).sum(), pid: row.get(1), full, seen }
    }
}

impl Counted {
    pub(in crate::sweep) fn of(row: &Row) -> Self {
        let seen = row.get(1);
        // Without a filter all that was seen is free to go.
        let all = if row.len() > 3 { row.get(3) } else { seen };
        Self { fresh: unsigned(row.get(0)), all: unsigned(all), seen: unsigned(seen), oldest: row.get(2) }
    }
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
