//! The definition of a target: a table, and the reasons for which its rows are due.

use std::time::Duration;

use chrono_tz::Tz;

use super::name::{Ident, TableName};

/// The unit of an integer column that contains the time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
}

/// A reason for deleting a row: the time in `column` was more than `keep` ago. A row whose `column`
/// is null is not due.
#[derive(Clone, Debug)]
pub struct Reason {
    /// The name in reports and labels.
    pub name: String,
    /// The column with the due time.
    pub column: Ident,
    /// How long the row is kept after that time.
    pub keep: Duration,
    /// The time zone of a `timestamp` or `date` column. It is ignored for a `timestamptz` column.
    pub zone: Option<Tz>,
    /// The unit of an integer column.
    pub unit: Option<Unit>,
}

/// The scan order of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Follows the index on the due column, beginning at the oldest row. Reads only due rows.
    Index,
    /// Follows the heap, one range of blocks at a time. Reads the whole table, and each block once.
    Heap,
}

/// The meaning of a time before the year 2000 in a due column. Many applications store 0,
/// `0001-01-01` or `-infinity` for "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ancient {
    /// Not configured. The target is unsafe if such a time exists, and rows that get such a time
    /// during a run are kept.
    #[default]
    Refuse,
    /// The time means "never": such rows are not due, and no statement reads them.
    Keep,
    /// The time has no special meaning: such rows are due.
    Due,
}

/// The effect if the table of a target does not exist.
#[derive(Clone, Debug)]
pub enum Absent {
    /// The target fails. The text describes how to fix that.
    Fails(String),
    /// The target is skipped.
    LeftOut,
    /// The target is skipped, unless all tables of this preset are missing.
    LeftOutOf(String),
}

/// A table and the reasons for which its rows are due.
///
/// Each reason requires an index on its column, preferably followed by the primary key. The pass
/// follows this index.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name in reports and labels.
    pub name: String,
    /// The table with the rows.
    pub table: TableName,
    /// The reasons, each with one pass, in this order. A row that is due for several reasons is
    /// counted for the first one.
    pub reasons: Vec<Reason>,
    /// An SQL condition on the row `t`. A row that does not satisfy it is not due.
    pub filter: Option<String>,
    /// A column that groups rows: rows with the same value are deleted only when all of them are
    /// due. A row whose value is null forms a separate group.
    pub group: Option<Ident>,
    /// Tables whose rows reference this table, and the referencing columns. Their rows are deleted
    /// first and count as rows of a chunk.
    pub children: Vec<(TableName, Ident)>,
    /// The meaning of a time before the year 2000.
    pub ancient: Ancient,
    /// The scan order; `None` if each pass chooses it.
    pub order: Option<Order>,
    /// The maximum number of rows in a chunk; `None` for the maximum of the run.
    pub chunk: Option<u32>,
    /// Whether the configuration confirms that the first run may delete nearly the whole table.
    pub confirmed: bool,
    /// The location of the target in a configuration file, for errors that are detected only in the
    /// database.
    pub location: Option<String>,
    /// What happens if the table does not exist.
    pub absent: Absent,
}

/// Returns the target for the reaper's own history, whose rows are kept for `keep`.
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
        // The reaper stores no time that means "never".
        ancient: Ancient::Due,
        order: None,
        chunk: None,
        // For a reaper that was stopped for longer than `keep`, nearly the whole history is due.
        confirmed: true,
        location: None,
        absent: Absent::LeftOut,
    }
}
