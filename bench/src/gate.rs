//! Gates: time limits that some subcommands must meet, whatever the size of the table. Subcommands
//! that a build does not have are skipped.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::case::Layout;
use crate::measure::{Options, reaper_command};
use crate::process;
use crate::server::Server;

/// A subcommand, a table size, and a time limit.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Subcommand of session-reaper.
    pub subcommand: &'static str,
    /// Number of rows if `--rows` has its default value. With another value of `--rows`, this
    /// number changes proportionally.
    pub rows: u64,
    /// Time limit.
    pub at_most: Duration,
}

/// All gates.
pub const GATES: [Gate; 2] = [
    Gate { subcommand: "check", rows: 2_000_000, at_most: Duration::from_secs(1) },
    Gate { subcommand: "plan", rows: 10_000_000, at_most: Duration::from_secs(5) },
];

/// The value of `--rows` for which [`Gate::rows`] applies.
const ROWS_BY_DEFAULT: u64 = 4_000_000;

/// The result of a subcommand with a time limit.
#[derive(Clone, Debug)]
pub struct Passed {
    /// The gate.
    pub gate: Gate,
    /// Number of rows in the table.
    pub rows: u64,
    /// Median over all rounds.
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
            eprintln!("this build of session-reaper has no subcommand `{}`", gate.subcommand);
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
