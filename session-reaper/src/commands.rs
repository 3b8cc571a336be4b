//! One file a subcommand.

pub mod check;
pub mod completions;
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

use schema::connect::ConnectOptions;
use tokio_postgres::Client;

use crate::exit::Exit;

/// Prints to standard output. Whoever closed it early (`| head`) does not want the rest.
fn print(text: &str) {
    let _ = printed(text);
}

/// The same; `false` when nobody reads it any more.
fn printed(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// A connection for a question or two, each of which is bounded.
async fn connected(connect: &ConnectOptions) -> Result<Client, Exit> {
    let connect = connect.clone().set("statement_timeout", "5s").set("lock_timeout", "2s");
    connect.connect().await.map_err(|error| {
        tracing::error!(%error, "nothing was done");
        Exit::Unreachable
    })
}
