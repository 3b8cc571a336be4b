//! What `status` shows and the daemon's page is fed with: one object, from the tables that reapers
//! share.
//!
//! [`mod@read`] asks the database for what stands there; [`Status::new`] puts it together with the
//! backlogs, whoever counted them; [`mod@judge`] says in a word whether all is well. The backlog
//! and the tables come from two sides, so that each is shown where the other is missing.

mod judge;
mod read;
mod run;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::registration::Registration;
use crate::sweep::BacklogSnapshot;

pub use judge::Health;
pub use read::{Snapshot, read};
pub use run::RunStatus;
pub use schema::pause::Pause;

/// How things stand. The names and the order of its members are an interface.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether somebody has to look.
    pub health: Health,
    /// Why, in words.
    pub summary: String,
    /// When this was put together, by the database's clock; by this host's when the database was
    /// not reached.
    pub at: DateTime<Utc>,
    /// Whether the database answered.
    pub database: Database,
    /// Whether there is a history to be read.
    pub history: bool,
    /// The last runs, newest first; those under way among them.
    pub runs: Vec<RunStatus>,
    /// The backlog, in the order of the configuration.
    pub targets: Vec<BacklogSnapshot>,
    /// What runs under way wait for.
    pub waiting: Vec<Waiting>,
    /// Nobody is to delete.
    pub pause: Option<Pause>,
    /// Daemons, and when they run next.
    pub daemons: Vec<Daemon>,
    /// What could not be read, and what to do about it.
    pub notes: Vec<String>,
}

/// Whether the database answered.
#[derive(Clone, Debug, Serialize)]
pub struct Database {
    /// It did.
    pub reachable: bool,
    /// Why it did not.
    pub why: Option<String>,
    /// When it last did.
    pub seen_at: Option<DateTime<Utc>>,
}

/// A run under way that waits before it goes on.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// Which run.
    pub run_id: String,
    /// Of whom.
    pub instance: String,
    /// As in the metrics' label `cause`.
    pub cause: String,
    /// With what was seen.
    pub why: String,
    /// Since when, by the clock of the run's host.
    pub since: Option<DateTime<Utc>>,
}

/// A daemon.
#[derive(Clone, Debug, Serialize)]
pub struct Daemon {
    /// Which process on which host.
    pub instance: String,
    /// What it says of itself.
    #[serde(flatten)]
    pub registration: Registration,
}

impl Status {
    /// Puts it together. `seen` is what the database said, or why it did not.
    #[must_use]
    pub fn new(
        seen: Result<&Snapshot, &str>,
        targets: Vec<BacklogSnapshot>,
        now: DateTime<Utc>,
    ) -> Self {
        let database = match seen {
            Ok(seen) => Database { reachable: true, why: None, seen_at: Some(seen.at) },
            Err(why) => Database { reachable: false, why: Some(why.to_owned()), seen_at: None },
        };
        let mut status = Self {
            health: Health::Unknown,
            summary: String::new(),
            at: now,
            database,
            history: seen.is_ok_and(|seen| seen.history),
            runs: seen.map(|seen| seen.runs.clone()).unwrap_or_default(),
            targets,
            waiting: Vec::new(),
            pause: seen.ok().and_then(|seen| seen.pause.clone()),
            daemons: seen.map(|seen| seen.daemons.clone()).unwrap_or_default(),
            notes: seen.map(|seen| seen.notes.clone()).unwrap_or_default(),
        };
        status.conclude();
        status
    }

    /// Draws what follows from the rest, after that was changed.
    pub(crate) fn conclude(&mut self) {
        self.pause = self.pause.take().filter(|pause| pause.until > self.at);
        self.waiting = self.runs.iter().filter_map(RunStatus::waits).collect();
        (self.health, self.summary) = judge::judge(self);
    }
}

/// A text that may be missing.
fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
