//! What to reap, as data: a table, and the reasons for which one of its rows is due.

use std::time::Duration;

use chrono_tz::Tz;

use super::name::{Ident, TableName};

/// What an integer column counts since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// Why a row may go: the time in `column` is longer ago than `keep`. A row whose `column` is null
/// is not due.
#[derive(Clone, Debug)]
pub struct Reason {
    /// In reports and labels.
    pub name: String,
    /// The time that counts.
    pub column: Ident,
    /// How long after that time the row is still needed.
    pub keep: Duration,
    /// Whose time a column without time zone is in; of no matter to one with it.
    pub zone: Option<Tz>,
    /// What an integer column counts.
    pub unit: Option<Unit>,
}

/// In which order a pass comes to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Along the index on the due column, from the oldest: reads what is due and nothing else.
    Index,
    /// Along the table, a range of its blocks at a time: reads all of it, and each block once.
    Heap,
}

/// What a time before the year 2000 in a due column means. Many applications write 0, `0001-01-01`
/// or `-infinity` for "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ancient {
    /// Nobody has said: the target is unsafe when there is such a time, and rows that get one
    /// during a run stay.
    #[default]
    Refuse,
    /// "Never": such rows are not due, and no statement reads them.
    Keep,
    /// A time like any other: such rows are due.
    Due,
}

/// What it means when a target's table is not there.
#[derive(Clone, Debug)]
pub enum Absent {
    /// The target fails; the text says what to do about it.
    Fails(String),
    /// There is nothing to do.
    LeftOut,
    /// There is nothing to do, unless all tables of this preset are missing.
    LeftOutOf(String),
}

/// A table with the reasons for which its rows are due.
///
/// Each reason needs an index on its column, best followed by the primary key, which the pass walks
/// along.
#[derive(Clone, Debug)]
pub struct Target {
    /// In reports and labels.
    pub name: String,
    /// Where its rows are.
    pub table: TableName,
    /// One pass each, in this order. A row that is due for several is counted under the first.
    pub reasons: Vec<Reason>,
    /// A condition in SQL on the row `t`: one that does not meet it is not due.
    pub filter: Option<String>,
    /// Rows that are alike in it go when all of them are due; where it is null, a row is by
    /// itself.
    pub group: Option<Ident>,
    /// Tables whose rows refer to this one's, and the columns that do: they go first, and count as
    /// rows of a chunk.
    pub children: Vec<(TableName, Ident)>,
    /// What a time before the year 2000 means.
    pub ancient: Ancient,
    /// In which order rows are come to; `None` when that is for each pass to choose.
    pub order: Option<Order>,
    /// Rows in a chunk at the most, where it is not what the run has.
    pub chunk: Option<u32>,
    /// Somebody said that nearly all of the table may go the first time.
    pub confirmed: bool,
    /// Where a file says so, for what only the database can tell is wrong with it.
    pub location: Option<String>,
    /// When there is no such table.
    pub absent: Absent,
}

/// The reaper's own table, with its rows kept for so long.
#[must_use]
pub fn history(keep: Duration) -> Target {
    let reason = Reason {
        name: "expired".to_owned(),
        column: Ident::new("started_at"),
        keep,
        zone: None,
        unit: None,
    };
    Target {
        name: "reaper_runs".to_owned(),
        table: TableName { schema: None, name: Ident::new("reaper_runs") },
        reasons: vec![reason],
        filter: None,
        group: None,
        children: Vec::new(),
        // The reaper writes no time that means "never".
        ancient: Ancient::Due,
        order: None,
        chunk: None,
        // A reaper that was stopped for longer than that finds nearly all of its history due.
        confirmed: true,
        location: None,
        absent: Absent::LeftOut,
    }
}
