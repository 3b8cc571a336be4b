//! Measures how much a run slows down other queries on the same table: pgbench runs at a fixed rate
//! while rows are deleted in each of several ways.
//!
//! Each measurement uses a new copy of the table. The traffic starts and warms up. Then the first
//! window begins, in which nothing is deleted. Then the deletion starts, and the second window is
//! the time that the deletion takes. Each ratio compares the two windows of one measurement, so
//! that it hardly changes if the speed of the machine varies from minute to minute. One of the ways
//! deletes nothing: its ratio shows how large this influence is.
//!
//! ```text
//! rounds ─→ pgbench ─→ latency   the traffic, and its latency in a window
//!    │ └──→ ways                 what deletes rows
//!    └────→ results              tables and goals
//! ```

mod latency;
mod pgbench;
mod results;
mod ways;

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, FixedOffset};
use clap::Parser;
use serde_json::Value;

use crate::case::Layout;
use crate::measure::{build, psql, reaper_command, reaper_toml};
use crate::process::{self, program};
use crate::server::{Copy, Server};
use crate::statistics::float;
pub use latency::Latencies;
use pgbench::Traffic;
pub use results::{Beside, COLUMNS, Results};
use ways::Means;
pub use ways::{Settings, Way};

const LIVE: &str = include_str!("../sql/traffic/live.sql");

/// How long the traffic runs at its maximum rate, which is compared with the fixed rate.
const FLAT_OUT: Duration = Duration::from_secs(3);

/// Extra time for the transactions of a window to finish, even if they are delayed.
const TO_END: Duration = Duration::from_secs(1);

/// The exit code of `session-reaper run` if all rows were deleted. The next constant is the exit
/// code if the time limit was reached.
const DONE: i32 = 0;
const UNFINISHED: i32 = 75;
/// Earlier builds exit with this code if the time limit was reached.
const PARTLY: i32 = 3;

/// Measure how much session-reaper slows down other queries, and print tables in Markdown
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-traffic", version)]
pub struct Options {
    /// The server to measure; the benchmark creates databases named `bench_…` on it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// Number of rows in the table; half of them are due
    #[arg(long, default_value_t = 2_000_000)]
    pub rows: u64,
    /// Number of rows that the traffic uses
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub live: u64,
    /// Number of rounds; results are medians
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    /// Transactions per second; three of four are look-ups, and the others are rotations
    #[arg(long, default_value_t = 2_500)]
    pub rate: u32,
    /// Number of connections of the traffic
    #[arg(long, default_value_t = 16)]
    pub clients: u32,
    /// Warm-up time, for connections, statements and buffers
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub warm_up: u64,
    /// Duration of the window in which nothing is deleted
    #[arg(long, default_value_t = 8, value_name = "SECONDS")]
    pub before: u64,
    /// Time after which session-reaper is stopped
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub during: u64,
    /// Also measure session-reaper with these settings; can be repeated
    #[arg(long, value_name = "NAME=VALUE …")]
    pub also: Vec<Settings>,
    /// Measure only this layout of the table (`together` or `scattered`); can be repeated
    #[arg(long, value_name = "NAME")]
    pub layout: Vec<String>,
    /// Measure only the way of deleting rows with this name; can be repeated
    #[arg(long, value_name = "NAME")]
    pub way: Vec<String>,
    /// The program to measure [default: session-reaper in the directory of this program]
    #[arg(long, value_name = "PATH")]
    pub session_reaper: Option<PathBuf>,
    /// Another build to compare; can be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = build)]
    pub against: Vec<(String, PathBuf)>,
    /// Also write the tables to bench/results/traffic-NAME.md
    #[arg(long, value_name = "NAME")]
    pub write: Option<String>,
    /// The directory of psql and pgbench
    #[arg(long, env = "PG_BIN", value_name = "DIRECTORY")]
    pub pg_bin: Option<PathBuf>,
}

/// Executes all measurements. Afterwards, drops all databases that it created on the server, even
/// if a measurement failed.
pub async fn measure(options: &Options) -> Result<Results> {
    ensure!(
        options.rows >= 2 && options.rows.is_multiple_of(2),
        "--rows: must be an even number of at least 2"
    );
    ensure!(
        (1..=options.rows / 2).contains(&options.live),
        "--live: must be from 1 to half of --rows"
    );
    ensure!(options.rounds >= 1, "--rounds: must be at least 1");
    ensure!(options.rate >= 1 && options.clients >= 1, "--rate and --clients: must be at least 1");
    ensure!(
        options.before >= 1 && options.during >= 1,
        "--before and --during: must be at least 1"
    );
    let mut server = Server::at(&options.database_url).await?;
    let results = rounds(options, &mut server).await;
    let cleared = server.clear().await;
    let results = results?;
    cleared?;
    Ok(results)
}

async fn rounds(options: &Options, server: &mut Server) -> Result<Results> {
    let this = (String::new(), program(options.session_reaper.as_deref(), "session-reaper")?);
    let builds: Vec<_> = std::iter::once(this).chain(options.against.clone()).collect();
    let wanted =
        |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
    let ways: Vec<Way> = ways::all(&builds, &options.also)
        .into_iter()
        .filter(|way| wanted(&options.way, &way.name))
        .collect();
    let layouts: Vec<Layout> =
        Layout::ALL.into_iter().filter(|layout| wanted(&options.layout, layout.name())).collect();
    ensure!(!ways.is_empty() && !layouts.is_empty(), "no measurement matches --layout and --way");

    let mut traffic = Traffic {
        pg_bin: options.pg_bin.clone(),
        clients: options.clients,
        rate: None,
        live: options.live,
    };
    let mut templates = Vec::new();
    for layout in &layouts {
        eprintln!("filling a table of {} rows, {}", options.rows, layout.name());
        let (template, _) = server.template(*layout, options.rows).await?;
        server.prepare(&template, &LIVE.replace("{rows}", &options.live.to_string())).await?;
        templates.push(template);
    }
    let copy = server.copy(&templates[0]).await?;
    let flat_out = flat_out(options, &copy, &traffic).await;
    copy.drop(server).await?;
    traffic.rate = Some(options.rate);

    let mut results = Results {
        settings: server.settings().await?,
        durable: server.is_durable().await?,
        rows: options.rows,
        rounds: options.rounds,
        rate: options.rate,
        flat_out: flat_out?,
        clients: options.clients,
        layouts: layouts.clone(),
        ways: ways.clone(),
        measured: Vec::new(),
    };
    for round in 0..options.rounds {
        for (layout, template) in layouts.iter().zip(&templates) {
            for way in ways.iter().cycle().skip(round as usize).take(ways.len()) {
                let copy = server.copy(template).await?;
                let one = one(options, &traffic, *layout, &copy, way).await;
                copy.drop(server).await?;
                let one = one.with_context(|| format!("{}, {}", layout.name(), way.name))?;
                eprintln!("round {}, {}, {}: {one}", round + 1, layout.name(), way.name);
                results.measured.push(one);
            }
        }
    }
    Ok(results)
}

/// Returns the maximum number of transactions per second.
async fn flat_out(options: &Options, copy: &Copy, traffic: &Traffic) -> Result<f64> {
    copy.warm().await?;
    let running = traffic.start(&copy.url)?;
    tokio::time::sleep(Duration::from_secs(options.warm_up)).await;
    let window = pass(FLAT_OUT).await;
    let transactions = running.end(copy).await?;
    let latencies =
        Latencies::of(&transactions, &window).context("pgbench executed no transactions")?;
    Ok(float(latencies.count as u64) / FLAT_OUT.as_secs_f64())
}

/// Measures one way of deleting rows, on its own copy of the table.
async fn one(
    options: &Options,
    traffic: &Traffic,
    layout: Layout,
    copy: &Copy,
    way: &Way,
) -> Result<Beside> {
    copy.warm().await?;
    let running = traffic.start(&copy.url)?;
    tokio::time::sleep(Duration::from_secs(options.warm_up)).await;
    let before = pass(Duration::from_secs(options.before)).await;
    let during = work(options, copy, way).await?;
    tokio::time::sleep(TO_END).await;
    let transactions = running.end(copy).await?;

    let (left, kept) = copy.rows().await?;
    let half = options.rows / 2;
    ensure!(kept == half, "{} rows that were not due were deleted", half.saturating_sub(kept));
    Ok(Beside {
        layout,
        way: way.name.clone(),
        deleted: half - left,
        elapsed: during.end.duration_since(during.start)?,
        before: Latencies::of(&transactions, &before),
        during: Latencies::of(&transactions, &during),
    })
}

/// Waits for this long, and returns when the wait started and ended.
async fn pass(time: Duration) -> Range<SystemTime> {
    let start = SystemTime::now();
    tokio::time::sleep(time).await;
    start..SystemTime::now()
}

/// Deletes rows and returns the start and end of the deletion.
async fn work(options: &Options, copy: &Copy, way: &Way) -> Result<Range<SystemTime>> {
    let configuration = tempfile::NamedTempFile::new()?;
    let command = match &way.means {
        Means::Nothing => return Ok(pass(Duration::from_secs(options.during)).await),
        Means::Reaper(program, settings) => {
            std::fs::write(&configuration, reaper_toml(""))?;
            let mut command = reaper_command(program, &copy.url);
            command
                .env("REAPER_CONFIG", configuration.path())
                .env("MAX_RUNTIME", format!("{}s", options.during));
            command.envs(settings.0.iter().cloned()).args(["run", "--output", "json"]);
            command
        }
        Means::Loop(sql, chunk) => {
            copy.client.batch_execute(sql).await?;
            let call =
                format!("CALL reap(now() - interval '1 day', {chunk}, {})", options.rows / 2);
            psql(options.pg_bin.as_deref(), &copy.url, &call)
        }
    };
    let start = SystemTime::now();
    let ran = tokio::task::spawn_blocking(move || {
        process::run_accepting(command, &[DONE, UNFINISHED, PARTLY])
    })
    .await??;
    let end = SystemTime::now();
    if matches!(way.means, Means::Reaper(..)) {
        return chunks(&ran.stderr)
            .with_context(|| format!("session-reaper logged no chunks:\n{}", ran.stderr));
    }
    Ok(start..end)
}

/// Returns the time from the start of the first chunk (transaction) of a run to the end of the last
/// one, according to the log of the run.
fn chunks(log: &str) -> Option<Range<SystemTime>> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let chunks: Vec<Value> =
        lines.filter(|line| crate::process::is_chunk(&line["fields"])).collect();
    let ended = |line: &Value| {
        DateTime::<FixedOffset>::parse_from_rfc3339(line["timestamp"].as_str()?).ok()
    };
    let (first, last) = (chunks.first()?, chunks.last()?);
    let took = Duration::from_micros(first["fields"]["elapsed_us"].as_u64()?);
    Some(SystemTime::from(ended(first)?).checked_sub(took)?..ended(last)?.into())
}
