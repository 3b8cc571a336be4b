//! The subcommands that have to be quick, whatever the size of the table. One that this build does
//! not have yet is left out.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::case::Layout;
use crate::measure::{Options, reaper_command};
use crate::process;
use crate::server::Server;

/// A subcommand, a table, a bound.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Of session-reaper.
    pub subcommand: &'static str,
    /// The table has so many rows when `--rows` is what it is by default, and else in proportion.
    pub rows: u64,
    /// How long it may take.
    pub at_most: Duration,
}

/// All of them.
pub const GATES: [Gate; 2] = [
    Gate { subcommand: "check", rows: 2_000_000, at_most: Duration::from_secs(1) },
    Gate { subcommand: "plan", rows: 10_000_000, at_most: Duration::from_secs(5) },
];

/// What [`Gate::rows`] is in proportion to.
const ROWS_BY_DEFAULT: u64 = 4_000_000;

/// A gate that was measured.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Which.
    pub gate: Gate,
    /// Rows of the table.
    pub rows: u64,
    /// Of all rounds, the median.
    pub elapsed: Duration,
}

pub(crate) async fn measure(
    options: &Options,
    server: &mut Server,
    program: &PathBuf,
) -> Result<Vec<Passed>> {
    let mut passed = Vec::new();
    for gate in GATES {
        let mut help = Command::new(program);
        help.args([gate.subcommand, "--help"]);
        if process::run(help).is_err() {
            eprintln!("session-reaper has no `{}` yet", gate.subcommand);
            continue;
        }
        let rows = (gate.rows * options.rows / ROWS_BY_DEFAULT).max(2);
        let (template, _) = server.template(Layout::Together, rows).await?;
        let configuration = tempfile::NamedTempFile::new()?;
        std::fs::write(&configuration, crate::measure::reaper_toml(""))?;
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            let copy = server.copy(&template).await?;
            let mut command = reaper_command(program, &copy.url);
            command.env("REAPER_CONFIG", configuration.path()).arg(gate.subcommand);
            times.push(tokio::task::spawn_blocking(move || process::run(command)).await??.elapsed);
            copy.drop(server).await?;
        }
        server.drop(&template).await?;
        times.sort();
        passed.push(Passed { gate, rows, elapsed: times[times.len() / 2] });
    }
    Ok(passed)
}
