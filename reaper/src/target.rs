//! The definition of a target: a table, and the reasons why its rows are due.

pub(crate) mod auth_api;
pub(crate) mod catalog;
pub(crate) mod condition;
pub(crate) mod due;
pub(crate) mod literal;
pub(crate) mod name;
pub(crate) mod nearest;
pub(crate) mod wall;

use std::time::Duration;

use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::target::literal::Literal;
use crate::target::name::{Ident, TableName};

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

/// A reason why rows are due (may be deleted): the time in `column` was more than `keep` ago. A row
/// whose `column` is null is not due.
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
    /// An SQL condition on the row `t`. A row that does not satisfy it is not due for this reason.
    pub filter: Option<String>,
}

/// The order in which the rows of a table are scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Index order: follows the index on the due column, beginning at the oldest row. Reads only
    /// due rows.
    Index,
    /// Heap order: reads the table in ranges of blocks, each block once.
    Heap,
}

/// The meaning of a time before the year 2000 in a due column. Many applications store 0,
/// `0001-01-01` or `-infinity` for "never".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ancient {
    /// The meaning is not configured. The target is unsafe if such a time exists, and rows that get
    /// such a time during a run are not deleted.
    #[default]
    Refuse,
    /// The time means "never": such rows are not due, and no statement reads them.
    Keep,
    /// The time has no special meaning: such rows are due.
    Due,
}

/// What happens if the table of a target does not exist.
#[derive(Clone, Debug)]
pub enum Absent {
    /// The target fails. The text describes how to fix that.
    Fails(String),
    /// The target is skipped.
    LeftOut,
    /// The target is skipped, unless all tables of the preset with this name (the built-in targets
    /// of an application) are missing.
    LeftOutOf(String),
}

/// A table whose rows reference the table of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildTable {
    /// The table.
    pub table: TableName,
    /// The referencing columns: the columns of a foreign key or, if there is none, one column for
    /// each column of the primary key of the target's table, in the same order.
    pub columns: Vec<Ident>,
}

/// A column that gets a new value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetColumn {
    /// The column.
    pub column: Ident,
    /// The new value.
    pub value: Literal,
}

/// A table and the reasons for which its rows are due.
///
/// Each reason requires an index on its column, preferably followed by the primary key. The
/// statements that delete rows for this reason scan this index.
#[derive(Clone, Debug)]
pub struct Target {
    /// The name in reports and labels.
    pub name: String,
    /// The table that contains the rows.
    pub table: TableName,
    /// The reasons, in the order in which they are processed. A row that is due for several reasons
    /// is counted only for the first of these reasons.
    pub reasons: Vec<Reason>,
    /// An SQL condition on the row `t`. A row that does not satisfy it is not due for any reason.
    pub filter: Option<String>,
    /// A column whose value identifies a group of rows: they are deleted only when all of them are
    /// due. A row whose value is null forms a separate group.
    pub group: Option<Ident>,
    /// Tables whose rows reference this table. The rows of these tables are deleted first, and
    /// count as rows of a chunk (the rows that one transaction deletes).
    pub children: Vec<ChildTable>,
    /// Columns that are set instead of deleting the rows. A row is due only until each of these
    /// columns has its new value. Empty if the rows are deleted. Cannot be combined with `group` or
    /// `children`.
    pub set: Vec<SetColumn>,
    /// The meaning of a time before the year 2000.
    pub ancient: Ancient,
    /// The scan order; `None` if it is chosen automatically for each reason and table.
    pub order: Option<Order>,
    /// The maximum number of rows in a chunk; `None` if the maximum of the run applies.
    pub chunk: Option<u32>,
    /// Whether the configuration confirms that the first run may delete nearly the whole table.
    pub confirmed: bool,
    /// The location of the target in a configuration file, for errors that are detected only in the
    /// database.
    pub location: Option<String>,
    /// What happens if the table does not exist.
    pub absent: Absent,
    /// Whether this is the reaper's own run history, which does not affect the outcome of a run.
    pub is_own_history: bool,
}

impl Reason {
    /// Creates the reason `expired`: the time in `column` was more than `keep` ago.
    pub fn new(column: impl Into<String>, keep: Duration) -> Self {
        let (name, column) = ("expired".to_owned(), Ident::new(column));
        Self { name, column, keep, zone: None, unit: None, filter: None }
    }
}

impl Target {
    /// Creates a target with the name of its table and without further conditions.
    #[must_use]
    pub fn new(table: TableName, reasons: Vec<Reason>) -> Self {
        Self {
            name: table.name.as_str().to_owned(),
            table,
            reasons,
            filter: None,
            group: None,
            children: Vec::new(),
            set: Vec::new(),
            ancient: Ancient::default(),
            order: None,
            chunk: None,
            confirmed: false,
            location: None,
            absent: Absent::Fails("check the name and the search_path".to_owned()),
            is_own_history: false,
        }
    }

    /// Returns the conditions of the target and of its reasons.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = &String> {
        self.filter.iter().chain(self.reasons.iter().filter_map(|reason| reason.filter.as_ref()))
    }

    /// Returns whether the target keeps rows whose due time is past.
    pub(crate) fn keeps_rows(&self) -> bool {
        self.group.is_some() || self.conditions().next().is_some()
    }
}

/// Returns the target for the reaper's own history, whose rows are kept for `keep`.
#[must_use]
pub fn history(keep: Duration) -> Target {
    Target {
        // The reaper stores no time that means "never".
        ancient: Ancient::Due,
        // If no reaper has run for longer than `keep`, nearly the whole history is due.
        confirmed: true,
        absent: Absent::LeftOut,
        is_own_history: true,
        ..Target::new(TableName::new("reaper_runs"), vec![Reason::new("started_at", keep)])
    }
}
