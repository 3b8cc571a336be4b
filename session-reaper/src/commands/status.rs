//! `status`: how things stand, once or again and again.

mod text;

use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use schema::connect::{ConnectError, chain};

use super::{print, printed};
use crate::clock;
use crate::config::Output;
use crate::exit::Exit;
use crate::ops::questions;
use crate::status::{Snapshot, Status, read};
use crate::stop::Stop;
use crate::sweep::{BacklogSnapshot, Sweep, SweepError};

/// While watching, the backlog is counted no more often: it moves with the runs, and its count is
/// the dear part.
const RECOUNT: Duration = Duration::from_secs(10);

/// What reapers share is read in milliseconds; a server that takes this long does not answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Up to the top left, and what was there is cleared line by line: nothing flickers.
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Shows how things stand.
pub async fn status(
    sweep: &Sweep,
    last: i64,
    watch: Option<Duration>,
    output: Output,
    stop: &Stop,
) -> Exit {
    let mut backlog = Backlog { standings: Vec::new(), note: None, counted: None };
    let Some(interval) = watch else {
        return tokio::select! {
            looked = look(sweep, last, &mut backlog) => told_once(looked, output),
            signal = stop.wait() => Exit::Stopped(signal),
        };
    };
    let redraws = stdout().is_terminal() && output == Output::Text;
    if redraws {
        print(&format!("{HOME}{CLEAR_BELOW}"));
    }
    let mut first = true;
    loop {
        // As `watch` does: who has seen enough has not been failed.
        let looked = tokio::select! {
            looked = look(sweep, last, &mut backlog) => looked,
            _ = stop.wait() => return Exit::Done,
        };
        let status = match looked {
            Err(error) if first => return unreachable(&error),
            Err(error) => {
                Status::new(Err(&error.to_string()), backlog.standings.clone(), clock::now())
            }
            Ok(status) => status,
        };
        first = false;
        let block = told(&status, output);
        let read = if redraws {
            let lines = block.replace('\n', &format!("{CLEAR_LINE}\n"));
            printed(&format!("{HOME}{lines}{CLEAR_BELOW}"))
        } else {
            let end = if output == Output::Text { "\n" } else { "" };
            printed(&format!("{block}{end}"))
        };
        if !read {
            return Exit::Done;
        }
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = stop.wait() => return Exit::Done,
        }
    }
}

fn told_once(looked: Result<Status, ConnectError>, output: Output) -> Exit {
    match looked {
        Ok(status) => {
            print(&told(&status, output));
            Exit::Done
        }
        Err(error) => unreachable(&error),
    }
}

fn told(status: &Status, output: Output) -> String {
    match output {
        Output::Text => text::text(status),
        // From the value itself: a `Value` in between would sort its members.
        Output::Json => format!("{}\n", serde_json::to_string(status).unwrap_or_default()),
    }
}

fn unreachable(error: &ConnectError) -> Exit {
    tracing::error!(event = "status_failed", %error, "status not available");
    Exit::Unreachable
}

/// The backlog, as it was last counted.
struct Backlog {
    standings: Vec<BacklogSnapshot>,
    note: Option<String>,
    counted: Option<Instant>,
}

async fn look(sweep: &Sweep, last: i64, backlog: &mut Backlog) -> Result<Status, ConnectError> {
    let seen = shared(sweep, last).await?;
    if backlog.counted.is_none_or(|counted| counted.elapsed() >= RECOUNT) {
        match sweep.standings().await {
            Ok(standings) => (backlog.standings, backlog.note) = (standings, None),
            // What reapers share is shown without a configuration, too.
            Err(error @ SweepError::NotAuthApi(_)) => {
                (backlog.standings, backlog.note) =
                    (Vec::new(), Some(format!("no backlog was counted: {error}")));
            }
            Err(error) => backlog.note = Some(format!("the backlog could not be counted: {error}")),
        }
        backlog.counted = Some(Instant::now());
    }
    let mut status = Status::new(Ok(&seen), backlog.standings.clone(), seen.at);
    status.notes.extend(backlog.note.clone());
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
