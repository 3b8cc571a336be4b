//! Runs the rounds. Each round measures every way to delete rows in every state of the table, each
//! time on a new copy of the same table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use serde_json::Value;

use crate::case::{CASES, Case};
use crate::gate;
use crate::process::{self, Ran, program};
use crate::results::{ChunkTime, Measured, Results};
use crate::server::{Copy, Server};
use crate::way::{self, Means, Role, Way};

/// Compare session-reaper with SQL and print tables in Markdown
#[derive(Clone, Debug, Parser)]
#[command(version)]
pub struct Options {
    /// The server to measure; the benchmark creates databases named `bench_…` on it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// Number of rows in the table; half of them are due
    #[arg(long, default_value_t = 4_000_000)]
    pub rows: u64,
    /// Number of rounds; results are medians
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Number of rows that the way `key IN` deletes; of its results, only the rate is compared
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub key_in_rows: u64,
    /// The program to measure [default: session-reaper in the directory of this program]
    #[arg(long, value_name = "PATH")]
    pub session_reaper: Option<PathBuf>,
    /// Another build to compare; can be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = build)]
    pub against: Vec<(String, PathBuf)>,
    /// Measure only the case with this name; can be repeated
    #[arg(long, value_name = "NAME")]
    pub case: Vec<String>,
    /// Measure only ways of deleting rows whose name contains this text; can be repeated
    #[arg(long, value_name = "TEXT")]
    pub way: Vec<String>,
    /// Also write the table to bench/results/NAME.md
    #[arg(long, value_name = "NAME")]
    pub write: Option<String>,
    /// The directory of psql
    #[arg(long, env = "PG_BIN", value_name = "DIRECTORY")]
    pub pg_bin: Option<PathBuf>,
}

pub(crate) fn build(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) =
        text.split_once('=').ok_or("expected NAME=PATH, such as before=/tmp/session-reaper")?;
    Ok((name.to_owned(), path.into()))
}

/// Executes all measurements. Afterwards, drops all databases that it created on the server, even
/// if a measurement failed.
pub async fn measure(options: &Options) -> Result<Results> {
    ensure!(
        options.rows >= 2 && options.rows.is_multiple_of(2),
        "--rows: must be an even number of at least 2"
    );
    ensure!(options.rounds >= 1, "--rounds: must be at least 1");
    let mut server = Server::at(&options.database_url).await?;
    let results = rounds(options, &mut server).await;
    let cleared = server.clear().await;
    let results = results?;
    cleared?;
    Ok(results)
}

async fn rounds(options: &Options, server: &mut Server) -> Result<Results> {
    let cases: Vec<&Case> = CASES.iter().filter(|case| options.takes_case(case)).collect();
    let ways: Vec<Way> =
        way::all(&builds(options)?).into_iter().filter(|way| options.takes_way(way)).collect();
    ensure!(!ways.is_empty() && !cases.is_empty(), "no measurement matches --case and --way");

    let mut templates = HashMap::new();
    let mut table_bytes = 0;
    for case in &cases {
        if !templates.contains_key(case.layout.name()) {
            eprintln!("filling a table of {} rows, {}", options.rows, case.layout.name());
            let (template, bytes) = server.template(case.layout, options.rows).await?;
            table_bytes = bytes;
            templates.insert(case.layout.name(), template);
        }
    }
    let mut results = Results {
        settings: server.settings().await?,
        durable: server.is_durable().await?,
        rows: options.rows,
        rounds: options.rounds,
        table_bytes,
        cases: cases.iter().map(|case| case.name).collect(),
        ways: ways.clone(),
        measured: Vec::new(),
        gates: Vec::new(),
    };
    for round in 0..options.rounds {
        for case in &cases {
            for way in ways.iter().cycle().skip(round as usize).take(ways.len()) {
                let copy = server.copy(&templates[case.layout.name()]).await?;
                let one = one(options, &copy, case, way)
                    .await
                    .with_context(|| format!("{}, {}", case.name, way.name));
                copy.drop(server).await?;
                let one = one?;
                eprintln!(
                    "round {}, {}, {}: {:.0} thousand rows/s",
                    round + 1,
                    case.name,
                    way.name,
                    one.thousands()
                );
                results.measured.push(one);
            }
        }
    }
    drop(templates);
    if options.case.is_empty() && options.way.is_empty() {
        results.gates = gate::measure(
            options,
            server,
            &program(options.session_reaper.as_deref(), "session-reaper")?,
        )
        .await?;
    }
    Ok(results)
}

impl Options {
    fn takes_case(&self, case: &Case) -> bool {
        self.case.is_empty() || self.case.iter().any(|name| name == case.name)
    }

    fn takes_way(&self, way: &Way) -> bool {
        self.way.is_empty() || self.way.iter().any(|text| way.name.contains(text))
    }
}

fn builds(options: &Options) -> Result<Vec<(String, PathBuf)>> {
    let this = (String::new(), program(options.session_reaper.as_deref(), "session-reaper")?);
    Ok(std::iter::once(this).chain(options.against.clone()).collect())
}

/// Measures one way of deleting rows, on its own copy of the table.
async fn one(options: &Options, copy: &Copy, case: &Case, way: &Way) -> Result<Measured> {
    let (due, live) = (options.rows / 2, options.rows / 2);
    let most = if way.role == Role::KeyIn { options.key_in_rows.min(due) } else { due };
    let configuration = tempfile::NamedTempFile::new()?;
    let command = match &way.means {
        Means::Reaper { program, target, env } => {
            std::fs::write(&configuration, reaper_toml(target))?;
            let mut command = reaper_command(program, &copy.url);
            command
                .env("REAPER_CONFIG", configuration.path())
                .env("DUTY_CYCLE", "1")
                .envs(env.iter().copied())
                .args(["run", "--output", "json"]);
            command
        }
        Means::Loop { sql, chunk } => {
            copy.client.batch_execute(sql).await?;
            psql(
                options.pg_bin.as_deref(),
                &copy.url,
                &format!("CALL reap(now() - interval '1 day', {chunk}, {most})"),
            )
        }
    };
    let snapshot = if case.old_snapshot { Some(copy.old_snapshot().await?) } else { None };
    let wal_before = copy.wal_position().await?;
    let ran = tokio::task::spawn_blocking(move || process::run(command)).await??;
    let wal_bytes = copy.wal_position().await? - wal_before;
    drop(snapshot);

    let (left, kept) = copy.rows().await?;
    ensure!(kept == live, "{} rows that were not due were deleted", live.saturating_sub(kept));
    let deleted = due - left;
    // If a way deletes only part of the due rows, its last chunk may exceed the requested number of
    // rows.
    ensure!(
        if most < due { deleted >= most } else { left == 0 },
        "{left} due rows were not deleted"
    );
    let is_ours = way.role == Role::Reaper;
    Ok(Measured {
        case: case.name,
        way: way.name.clone(),
        deleted,
        elapsed: ran.elapsed,
        wal_bytes,
        peak_kib: ran.peak_kib.filter(|_| is_ours),
        chunks: if is_ours { chunks(&ran)? } else { Vec::new() },
    })
}

/// Returns a reaper.toml with the same definition of due rows as in the loops.
pub(crate) fn reaper_toml(target: &str) -> String {
    format!(
        "[[target]]\ntable = \"sessions\"\ndue = [{{ reason = \"expired\", column = \"expires_at\", keep = \"1d\" }}]\n{target}\n"
    )
}

/// Returns a command that does not inherit environment variables.
pub(crate) fn reaper_command(program: &PathBuf, url: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("DATABASE_URL", url).env("LOG_FORMAT", "json");
    command.env("RUST_LOG", "warn,session_reaper=debug");
    command
}

/// Returns a psql command that calls a procedure. As in session-reaper, commits do not wait for the
/// disk: if a crash undoes a delete, the row is still due. This setting speeds up the loops more
/// than any other change, so they use it too.
pub(crate) fn psql(pg_bin: Option<&Path>, url: &str, call: &str) -> Command {
    let program = pg_bin.map_or_else(|| PathBuf::from("psql"), |directory| directory.join("psql"));
    let mut command = Command::new(program);
    command.args([
        "-XqAt",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url,
        "-c",
        "SET synchronous_commit = off",
        "-c",
        call,
    ]);
    command
}

/// Reads the chunks of a run (the transactions that delete rows) from the run's log.
fn chunks(ran: &Ran) -> Result<Vec<ChunkTime>> {
    let lines = ran.stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let chunks: Vec<ChunkTime> = lines
        .filter(|line| crate::process::is_chunk(&line["fields"]))
        .filter_map(|line| {
            let fields = &line["fields"];
            let micros = fields["elapsed_us"].as_u64()?;
            Some(ChunkTime {
                rows: fields["rows"].as_u64()?,
                elapsed: Duration::from_micros(micros),
            })
        })
        .collect();
    if chunks.is_empty() {
        bail!("session-reaper logged no chunks:\n{}{}", ran.stdout, ran.stderr);
    }
    Ok(chunks)
}
