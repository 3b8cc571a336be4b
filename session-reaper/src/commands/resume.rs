//! `resume`: ends a pause.

use pg::connect::ConnectOptions;
use reaper::pause;

use super::pause::not_kept;
use super::{connected, print};
use crate::config::Output;
use reaper::Exit;

/// Ends the pause, if there is one.
pub async fn resume(connect: &ConnectOptions, output: Output) -> Exit {
    let (client, own) = match connected(connect).await {
        Ok(connected) => connected,
        Err(exit) => return exit,
    };
    let was_paused = match pause::clear(&client, &own).await {
        Ok(was_paused) => was_paused,
        Err(error) => return not_kept(&error),
    };
    match output {
        Output::Text if was_paused => print("the pause is over\n"),
        Output::Text => print("there was no pause\n"),
        Output::Json => print(&format!("{}\n", serde_json::json!({"was_paused": was_paused}))),
    }
    Exit::Done
}
