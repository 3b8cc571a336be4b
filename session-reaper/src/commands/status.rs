//! `status`: prints the status once or repeatedly.

mod text;

use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use pg::connect::ConnectError;
use pg::error_text::chain;

use super::{print, printed};
use crate::clock;
use crate::config::Output;
use crate::short_queries::questions;
use crate::status::{Snapshot, Status, read};
use reaper::Exit;
use reaper::Stop;
use reaper::{BacklogSnapshot, Sweep, SweepError};

/// Minimum interval between two counts of the due rows with `--watch`. Counting is the expensive
/// part of a refresh.
const RECOUNT: Duration = Duration::from_secs(10);

/// The timeout for reading the tables that reapers share. Reading them takes milliseconds on a
/// responsive server.
const WITHIN: Duration = Duration::from_secs(10);

/// The escape sequence that moves the cursor to the top left. The screen is not cleared at once,
/// but line by line, which avoids flicker.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Prints the status.
pub async fn status(
    sweep: &Sweep,
    (last, interval): (i64, Option<Duration>),
    watch: Option<Duration>,
    output: Output,
    stop: &Stop,
) -> Exit {
    let mut backlog = Backlog { snapshots: Vec::new(), note: None, counted: None };
    let Some(refresh) = watch else {
        return tokio::select! {
            status = read_status(sweep, (last, interval), &mut backlog) => print_once(status, output),
            signal = stop.wait() => Exit::Stopped(signal),
        };
    };
    let redraws = stdout().is_terminal() && output == Output::Text;
    if redraws {
        print(&format!("{HOME}{CLEAR_BELOW}"));
    }
    let mut first = true;
    loop {
        // Exit with 0 on a signal, like watch(1).
        let status = tokio::select! {
            status = read_status(sweep, (last, interval), &mut backlog) => status,
            _ = stop.wait() => return Exit::Done,
        };
        let status = match status {
            Err(error) if first => return unreachable(&error),
            Err(error) => Status::new(
                &sweep.connect,
                Err(&error.to_string()),
                backlog.snapshots.clone(),
                clock::now(),
            ),
            Ok(status) => status,
        };
        first = false;
        let block = formatted(&status, output);
        let is_open = if redraws {
            let lines = block.replace('\n', &format!("{CLEAR_LINE}\n"));
            printed(&format!("{HOME}{lines}{CLEAR_BELOW}"))
        } else {
            let end = if output == Output::Text { "\n" } else { "" };
            printed(&format!("{block}{end}"))
        };
        if !is_open {
            return Exit::Done;
        }
        tokio::select! {
            () = tokio::time::sleep(refresh) => {}
            _ = stop.wait() => return Exit::Done,
        }
    }
}

fn print_once(status: Result<Status, ConnectError>, output: Output) -> Exit {
    match status {
        Ok(status) => {
            print(&formatted(&status, output));
            Exit::Done
        }
        Err(error) => unreachable(&error),
    }
}

fn formatted(status: &Status, output: Output) -> String {
    match output {
        Output::Text => text::text(status),
        // The status is serialized directly, because a `serde_json::Value` would sort the members.
        Output::Json => format!("{}\n", serde_json::to_string(status).unwrap_or_default()),
    }
}

fn unreachable(error: &ConnectError) -> Exit {
    tracing::error!(event = "status_failed", %error, "status not available");
    Exit::Unreachable
}

/// The last count of the backlog.
struct Backlog {
    snapshots: Vec<BacklogSnapshot>,
    note: Option<String>,
    counted: Option<Instant>,
}

async fn read_status(
    sweep: &Sweep,
    (last, interval): (i64, Option<Duration>),
    backlog: &mut Backlog,
) -> Result<Status, ConnectError> {
    let seen = shared(sweep, last).await?;
    if backlog.counted.is_none_or(|counted| counted.elapsed() >= RECOUNT) {
        // Boxed because the statements of a count make this future large.
        match Box::pin(sweep.backlog_snapshots()).await {
            Ok(snapshots) => (backlog.snapshots, backlog.note) = (snapshots, None),
            // The data in the shared tables is shown even if no targets apply to this database.
            Err(error @ SweepError::NotAuthApi(_)) => {
                (backlog.snapshots, backlog.note) =
                    (Vec::new(), Some(format!("the backlog was not counted: {error}")));
            }
            Err(error) => backlog.note = Some(format!("the backlog could not be counted: {error}")),
        }
        backlog.counted = Some(Instant::now());
    }
    let mut status = Status::new(&sweep.connect, Ok(&seen), backlog.snapshots.clone(), seen.at);
    status.notes.extend(backlog.note.clone());
    if let Some(interval) = interval {
        status.rhythm.replace_with(interval);
        status.conclude();
    }
    Ok(status)
}

async fn shared(sweep: &Sweep, last: i64) -> Result<Snapshot, ConnectError> {
    let client = questions(&sweep.connect).connect().await?;
    let read = async {
        let own = sweep.own_tables(&client).await?;
        read(&client, &own, last).await
    };
    match tokio::time::timeout(WITHIN, read).await {
        Ok(seen) => seen.map_err(|error| ConnectError::Connect(chain(&error))),
        Err(_) => Err(ConnectError::Timeout),
    }
}
