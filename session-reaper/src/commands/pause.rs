//! `pause`: stops all reapers of a database for a limited time.

use std::time::Duration;

use pg::connect::ConnectOptions;
use pg::error_text::chain;
use reaper::pause;
use tokio_postgres::Error;

use super::{connected, print};
use crate::config::Output;
use reaper::Exit;

/// Sets a pause and prints when it ends.
pub async fn pause(
    connect: &ConnectOptions,
    length: Duration,
    why: Option<&str>,
    by: &str,
    output: Output,
) -> Exit {
    let (client, own) = match connected(connect).await {
        Ok(connected) => connected,
        Err(exit) => return exit,
    };
    let pause = match pause::set(&client, &own, length, why, by).await {
        Ok(pause) => pause,
        Err(error) => return not_kept(&error),
    };
    match output {
        Output::Text => {
            let until = reaper::time::text(pause.until);
            print(&format!(
                "paused until {until}; `session-reaper resume` ends the pause earlier\n"
            ));
        }
        Output::Json => print(&format!("{}\n", serde_json::to_string(&pause).unwrap_or_default())),
    }
    Exit::Done
}

/// Logs that `reaper_state` could not be read or written, because the table is missing or because
/// of another error.
pub(super) fn not_kept(error: &Error) -> Exit {
    if reaper::runs::is_absent(error) {
        tracing::error!(
            event = "state_table_missing",
            "no table reaper_state to store a pause in; create it with `session-reaper migrate`"
        );
    } else {
        tracing::error!(
            event = "state_access_failed",
            error = chain(error),
            "reaper_state cannot be read or written"
        );
    }
    Exit::Failed
}
