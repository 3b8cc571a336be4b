//! The subcommands, one file each.

pub mod check;
pub mod completions;
pub mod config;
pub mod daemon;
pub mod discover;
pub mod init;
pub mod man;
pub mod migrate;
pub mod pause;
pub mod plan;
pub mod resume;
pub mod run;
pub mod status;

use std::io::Write as _;

use pg::connect::{ConnectError, ConnectOptions};
use pg::error_text::chain;
use pg::owners;
use reaper::store::own_tables::OwnTables;
use tokio_postgres::Client;

use reaper::Exit;

/// Prints to standard output. Errors are ignored: if a pipe has been closed, as by `| head`, its
/// reader needs no more output.
fn print(text: &str) {
    let _ = printed(text);
}

/// Prints to standard output like [`print`]. Returns `false` if standard output is closed.
fn printed(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Connects to the database for a few queries on the reaper's own tables. The connection and the
/// queries have timeouts.
async fn connected(connect: &ConnectOptions) -> Result<(Client, OwnTables), Exit> {
    let connect = connect.clone().set("statement_timeout", "5s").set("lock_timeout", "2s");
    let connected = async {
        let client = connect.connect().await?;
        let own =
            async { OwnTables::find(&client, &owners::read_trusted(&client, &[]).await?).await };
        let own = own.await.map_err(|error| ConnectError::Connect(chain(&error)))?;
        Ok((client, own))
    };
    let (client, own) = connected.await.map_err(|error: ConnectError| {
        tracing::error!(event = "run_not_started", %error, "run not started");
        Exit::Unreachable
    })?;
    if let Some(foreign) = own.foreign() {
        tracing::error!(event = "foreign_history", "run not started: {foreign}");
        return Err(Exit::Unsafe);
    }
    Ok((client, own))
}
