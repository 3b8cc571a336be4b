//! The status: one object, derived from the tables that reapers share. The subcommand `status` and
//! the daemon's page show it.
//!
//! [`mod@read`] reads the shared tables. [`Status::new`] combines them with counts of due rows
//! (backlogs) that were made elsewhere, and [`mod@judge`] summarizes the health. If some of the
//! data is not available, the rest of the status is still shown.

mod judge;
mod read;
mod rhythm;
mod run;

use chrono::{DateTime, Utc};
use pg::connect::ConnectOptions;
use serde::Serialize;

use crate::output::database::Members;
use crate::registration::Registration;
use reaper::{BacklogSnapshot, Outcome};

pub use judge::Health;
pub use read::{Snapshot, read};
pub use reaper::pause::Pause;
pub use rhythm::Rhythm;
pub use run::RunStatus;

/// The status. The names and the order of its members are a public interface.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether an operator has to act.
    pub health: Health,
    /// The reason, as a sentence.
    pub summary: String,
    /// When the status was assembled. This is the time on the clock of the database, or on the
    /// clock of this host if the database was not reached.
    pub at: DateTime<Utc>,
    /// The database, and whether it responded.
    pub database: Database,
    /// Whether the run history could be read.
    pub history: bool,
    /// The last runs, including active ones, newest first.
    pub runs: Vec<RunStatus>,
    /// The due rows of each target, in the order of the configuration.
    pub targets: Vec<BacklogSnapshot>,
    /// When a run last succeeded; `None` if this is not known.
    pub last_success_at: Option<DateTime<Utc>>,
    /// The time by which the next run should have succeeded; `None` if no schedule is known, or if
    /// no run has succeeded.
    pub expected_by: Option<DateTime<Utc>>,
    /// The targets with rows that an earlier run should have deleted.
    pub late: Vec<String>,
    /// The active runs that are throttled.
    pub waiting: Vec<Waiting>,
    /// The pause, if one is set.
    pub pause: Option<Pause>,
    /// The daemons and their next runs.
    pub daemons: Vec<Daemon>,
    /// Notes on data that could not be read, each with the remedy.
    pub notes: Vec<String>,
    /// The times at which runs are expected.
    #[serde(skip)]
    pub rhythm: Rhythm,
}

/// The database, and whether it responded.
#[derive(Clone, Debug, Serialize)]
pub struct Database {
    /// The name, the host and the port.
    #[serde(flatten)]
    pub(crate) address: Members,
    /// `true` if the database responded.
    pub reachable: bool,
    /// Why the database did not respond; `None` if it responded.
    pub why: Option<String>,
    /// When the database last responded; `None` if this is not known.
    pub seen_at: Option<DateTime<Utc>>,
    /// Whether the server is a replica; `None` if this is not known.
    pub replica: Option<bool>,
}

/// An active run that is throttled.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// The ID of the run.
    pub run_id: String,
    /// The host and process of the run.
    pub instance: String,
    /// The cause of the wait, a value of the metric label `cause`.
    pub cause: String,
    /// A description with the measured values.
    pub why: String,
    /// The start of the wait, by the clock of the run's host.
    pub since: Option<DateTime<Utc>>,
}

/// A daemon.
#[derive(Clone, Debug, Serialize)]
pub struct Daemon {
    /// The host and process of the daemon.
    pub instance: String,
    /// The registration of the daemon.
    #[serde(flatten)]
    pub registration: Registration,
}

impl Status {
    /// Assembles the status. `seen` is the data in the database, or the reason why it was not read.
    #[must_use]
    pub fn new(
        connect: &ConnectOptions,
        seen: Result<&Snapshot, &str>,
        targets: Vec<BacklogSnapshot>,
        now: DateTime<Utc>,
    ) -> Self {
        let address = Members::of(connect);
        let database = match seen {
            Ok(seen) => Database {
                address,
                reachable: true,
                why: None,
                seen_at: Some(seen.at),
                replica: Some(seen.replica),
            },
            Err(why) => Database {
                address,
                reachable: false,
                why: Some(why.to_owned()),
                seen_at: None,
                replica: None,
            },
        };
        let mut status = Self {
            health: Health::Unknown,
            summary: String::new(),
            at: now,
            database,
            history: seen.is_ok_and(|seen| seen.history),
            runs: seen.map(|seen| seen.runs.clone()).unwrap_or_default(),
            targets,
            last_success_at: seen.ok().and_then(|seen| seen.last_success_at),
            expected_by: None,
            late: Vec::new(),
            waiting: Vec::new(),
            pause: seen.ok().and_then(|seen| seen.pause.clone()),
            daemons: seen.map(|seen| seen.daemons.clone()).unwrap_or_default(),
            notes: seen.map(|seen| seen.notes.clone()).unwrap_or_default(),
            rhythm: seen.map(|seen| seen.rhythm.clone()).unwrap_or_default(),
        };
        status.conclude();
        status
    }

    /// Updates the members that are derived from other members. Must be called after the other
    /// members have changed.
    pub(crate) fn conclude(&mut self) {
        self.pause = self.pause.take().filter(|pause| pause.until > self.at);
        self.waiting = self.runs.iter().filter_map(RunStatus::waits).collect();
        // This process may know of a run that the database does not contain.
        let successes = self.runs.iter().filter(|run| run.outcome == Outcome::Success);
        let newest = successes.filter_map(|run| run.finished_at).max();
        self.last_success_at = self.last_success_at.max(newest);
        self.expected_by = self.last_success_at.and_then(|at| self.rhythm.expected_by(at));
        self.late = judge::late(self);
        (self.health, self.summary) = judge::judge(self);
    }
}
