//! Reads the tables that reapers share. A note is added for each table that is missing or cannot be
//! read.

use chrono::{DateTime, TimeDelta, Utc};
use pg::error_text::chain;
use reaper::store::own_tables::OwnTables;
use reaper::{pause, runs, state};
use serde_json::Value;
use tokio_postgres::{Client, Error};

use super::{Daemon, Pause, Rhythm, RunStatus};
use crate::registration::{OVERDUE, PREFIX, Registration, SILENT};

/// The maximum number of daemons that are read. No database has as many.
const DAEMONS: i64 = 50;

/// The note that is shown if the server is a replica.
const ON_A_REPLICA: &str = "the server is a replica: the data may be old, and a run without a recent heartbeat may be active; \
     connect to the primary for the current status";

/// The data in the database.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The time, by the clock of the database.
    pub at: DateTime<Utc>,
    /// Whether the server is a replica.
    pub replica: bool,
    /// Whether `reaper_runs` could be read.
    pub history: bool,
    /// The last runs, newest first.
    pub runs: Vec<RunStatus>,
    /// When a run last succeeded.
    pub last_success_at: Option<DateTime<Utc>>,
    /// When runs are expected to succeed.
    pub rhythm: Rhythm,
    /// The pause that is set. It may end before the next read.
    pub pause: Option<Pause>,
    /// The daemons that are alive.
    pub daemons: Vec<Daemon>,
    /// Notes on data that could not be read.
    pub notes: Vec<String>,
}

/// Reads the data, with the last `count` runs. Returns an error if the connection fails.
pub async fn read(client: &Client, own: &OwnTables, count: i64) -> Result<Snapshot, Error> {
    let row = client
        .query_one("SELECT pg_catalog.clock_timestamp(), pg_catalog.pg_is_in_recovery()", &[])
        .await?;
    let (at, replica): (DateTime<Utc>, bool) = (row.try_get(0)?, row.try_get(1)?);
    let mut notes: Vec<String> = own.foreign().iter().map(ToString::to_string).collect();
    if replica {
        notes.push(ON_A_REPLICA.to_owned());
    }
    let runs = or_note("reaper_runs", runs::last(client, own, count).await, &mut notes)?;
    let history = runs.is_some();
    let runs: Vec<RunStatus> =
        runs.unwrap_or_default().iter().map(|run| RunStatus::of(run, at)).collect();
    let successes = if history {
        or_note("reaper_runs", runs::successes(client, own).await, &mut notes)?.unwrap_or_default()
    } else {
        Vec::new()
    };
    let last_success_at = successes.iter().map(|(_, finished_at)| *finished_at).max();
    let pause = or_note("reaper_state", pause::get(client, own).await, &mut notes)?;
    let daemons = match pause {
        Some(_) => {
            or_note("reaper_state", state::all(client, own, PREFIX, DAEMONS).await, &mut notes)?
        }
        None => None,
    };
    let pause = match pause {
        Some(pause::PauseLookup::Pause(pause)) => Some(pause),
        Some(pause::PauseLookup::Unreadable(error)) => {
            notes.push(format!(
                "the pause in reaper_state is invalid and blocks every run: {error}"
            ));
            None
        }
        Some(pause::PauseLookup::None) | None => None,
    };
    let is_running =
        |instance: &str| runs.iter().any(|run| run.is_running() && run.instance == instance);
    let registered = |(key, value, renewed_at): (String, Value, DateTime<Utc>)| {
        let instance = key.strip_prefix(PREFIX)?.to_owned();
        let registration: Registration = serde_json::from_value(value).ok()?;
        Some((Daemon { instance, registration }, renewed_at))
    };
    let registered: Vec<(Daemon, DateTime<Utc>)> =
        daemons.unwrap_or_default().into_iter().filter_map(registered).collect();
    let is_alive = |(daemon, renewed_at): &&(Daemon, DateTime<Utc>)| {
        // If the sum is out of range, the time is far in the future.
        let is_after = |time: DateTime<Utc>, margin| {
            time.checked_add_signed(margin).is_none_or(|end| end > at)
        };
        is_after(*renewed_at, SILENT)
            && (is_after(daemon.registration.next_at, OVERDUE) || is_running(&daemon.instance))
    };
    let mut daemons: Vec<Daemon> =
        registered.iter().filter(is_alive).map(|(daemon, _)| daemon.clone()).collect();
    daemons.sort_by_key(|daemon| daemon.registration.next_at);
    // If no daemon is alive, its runs are still expected by the schedule of the last one.
    let last = registered.iter().max_by_key(|(_, renewed_at)| *renewed_at);
    let last = last.filter(|_| daemons.is_empty()).map(|(daemon, _)| daemon);
    let registrations = daemons.iter().chain(last).map(|daemon| &daemon.registration);
    let rhythm = Rhythm::registered(registrations, usual(&successes));
    Ok(Snapshot { at, replica, history, runs, last_success_at, rhythm, pause, daemons, notes })
}

/// Returns the median duration of successful runs.
fn usual(successes: &[(DateTime<Utc>, DateTime<Utc>)]) -> TimeDelta {
    let durations = successes.iter().map(|(started_at, finished_at)| *finished_at - *started_at);
    let mut durations: Vec<TimeDelta> = durations.collect();
    durations.sort_unstable();
    durations.get(durations.len() / 2).copied().unwrap_or_default().max(TimeDelta::zero())
}

/// If the server rejects the query, adds a note and returns `None`. If the server is unreachable,
/// returns an error.
fn or_note<T>(
    table: &str,
    result: Result<T, Error>,
    notes: &mut Vec<String>,
) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if runs::is_absent(&error) => {
            notes.push(format!("there is no table {table}: `session-reaper migrate` creates it"));
            Ok(None)
        }
        Err(error) if error.code().is_some() && !error.is_closed() => {
            notes.push(format!("{table} cannot be read: {}", chain(&error)));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
