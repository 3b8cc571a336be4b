//! What to reap, as data: a table, its key, and the reasons for which one of its rows is due.

use std::fmt;
use std::time::Duration;

/// A table or column. [`fmt::Display`] quotes it for SQL, so that no name can be anything but a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident(String);

impl Ident {
    /// The name as the catalog has it, unquoted.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name as the catalog has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

/// Why a row may go: the time in `column` is longer ago than `keep`. A row whose `column` is null is not due.
#[derive(Clone, Debug)]
pub struct Reason {
    /// In reports and labels.
    pub name: String,
    /// The time that counts.
    pub column: Ident,
    /// How long after that time the row is still needed.
    pub keep: Duration,
}

/// What it means when a target's table is not there.
#[derive(Clone, Debug)]
pub enum Absent {
    /// The target fails; the text says what to do about it.
    Fails(String),
    /// There is nothing to do.
    LeftOut,
}

/// A table with the reasons for which its rows are due, and the key that tells rows of one time apart.
///
/// Each reason needs an index on its column followed by the key, which the pass walks along.
#[derive(Clone, Debug)]
pub struct Target {
    /// In reports and labels.
    pub name: String,
    /// The table, found along the `search_path`.
    pub table: Ident,
    /// Unique and not null.
    pub key: Vec<Ident>,
    /// One pass each, in this order. A row that is due for several is counted under the first.
    pub reasons: Vec<Reason>,
    /// When there is no such table.
    pub absent: Absent,
}

/// How long rows of the built-in targets are kept once their time has passed.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Sessions after they expired.
    pub expired: Duration,
    /// Sessions after they were revoked.
    pub revoked: Duration,
    /// Consumed challenges after they expired.
    pub challenges: Duration,
    /// The reaper's own history.
    pub runs: Duration,
}

/// The tables of auth-api, and the reaper's own.
#[must_use]
pub fn built_in(keep: &Retention) -> Vec<Target> {
    let auth = || Absent::Fails("run `auth-api migrate` on this database, or name the right one".to_owned());
    let reason = |name: &str, column: &str, keep| Reason { name: name.to_owned(), column: Ident::new(column), keep };
    let target = |table: &str, key: &str, reasons, absent| Target {
        name: table.to_owned(),
        table: Ident::new(table),
        key: vec![Ident::new(key)],
        reasons,
        absent,
    };
    vec![
        // Each session takes its one token family along by ON DELETE CASCADE.
        target(
            "sessions",
            "id",
            vec![reason("expired", "expires_at", keep.expired), reason("revoked", "revoked_at", keep.revoked)],
            auth(),
        ),
        target("consumed_challenges", "nonce_hash", vec![reason("expired", "expires_at", keep.challenges)], auth()),
        target("reaper_runs", "id", vec![reason("expired", "started_at", keep.runs)], Absent::LeftOut),
    ]
}
