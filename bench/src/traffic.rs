//! What those who use the table notice while rows are deleted from it: pgbench at a fixed rate, and
//! each way beside it.
//!
//! Each measurement is on a fresh copy: the traffic starts, and when it has warmed up the first
//! window begins, in which nothing is deleted. Then the way starts. The second window is the time
//! in which it deletes. Ratios are of the two windows of one measurement, so that a machine that
//! changes its speed from minute to minute does not matter much; how much is told by the way that
//! does nothing.
//!
//! ```text
//! rounds ─→ pgbench ─→ latency   the traffic, and how long it took in a window
//!    │ └──→ ways                 what deletes
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

/// How long the traffic goes as fast as it can, to know how far from that the rate is.
const FLAT_OUT: Duration = Duration::from_secs(3);

/// What was due in a window is to come to its end, whatever holds it up.
const TO_END: Duration = Duration::from_secs(1);

/// Of `session-reaper run`: all done, or its time was up.
const DONE: i32 = 0;
const PARTLY: i32 = 3;

/// Measures what traffic notices of session-reaper and of others, and prints tables in Markdown.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-traffic", version)]
pub struct Options {
    /// The server to measure on; databases named `bench_…` are made there
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// Rows of the table; half of them are due
    #[arg(long, default_value_t = 2_000_000)]
    pub rows: u64,
    /// Rows that the traffic goes to
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub live: u64,
    /// How often everything is measured; results are medians
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    /// Transactions a second, three look-ups to a rotation
    #[arg(long, default_value_t = 2_500)]
    pub rate: u32,
    /// Connections of the traffic
    #[arg(long, default_value_t = 16)]
    pub clients: u32,
    /// Seconds before those that count, for connections, statements and buffers
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    pub warm_up: u64,
    /// Seconds in which nothing is deleted
    #[arg(long, default_value_t = 8, value_name = "SECONDS")]
    pub before: u64,
    /// Seconds after which session-reaper is stopped
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    pub during: u64,
    /// Also session-reaper with these settings, any number of times
    #[arg(long, value_name = "NAME=VALUE …")]
    pub also: Vec<Settings>,
    /// Only this layout of the table (`together` or `scattered`), any number of times
    #[arg(long, value_name = "NAME")]
    pub layout: Vec<String>,
    /// Only ways of this name, any number of times
    #[arg(long, value_name = "NAME")]
    pub way: Vec<String>,
    /// The program to measure [default: session-reaper beside this program]
    #[arg(long, value_name = "PATH")]
    pub session_reaper: Option<PathBuf>,
    /// Another build of it to measure beside the first, any number of times
    #[arg(long, value_name = "NAME=PATH", value_parser = build)]
    pub against: Vec<(String, PathBuf)>,
    /// Also write the tables to bench/results/traffic-NAME.md
    #[arg(long, value_name = "NAME")]
    pub write: Option<String>,
    /// Where psql and pgbench are
    #[arg(long, env = "PG_BIN", value_name = "DIRECTORY")]
    pub pg_bin: Option<PathBuf>,
}

/// Measures all of it. What was made on the server is gone again afterwards, also when something
/// failed.
pub async fn measure(options: &Options) -> Result<Results> {
    ensure!(
        options.rows >= 2 && options.rows.is_multiple_of(2),
        "--rows: an even number, half of them are due"
    );
    ensure!(
        (1..=options.rows / 2).contains(&options.live),
        "--live: some of the half of the rows that are not due"
    );
    ensure!(options.rounds >= 1, "--rounds: at least one");
    ensure!(options.rate >= 1 && options.clients >= 1, "--rate and --clients: at least one");
    ensure!(options.before >= 1 && options.during >= 1, "--before and --during: at least a second");
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
    ensure!(!ways.is_empty() && !layouts.is_empty(), "--layout and --way leave nothing to measure");

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

/// Transactions a second, as many as there can be.
async fn flat_out(options: &Options, copy: &Copy, traffic: &Traffic) -> Result<f64> {
    copy.warm().await?;
    let running = traffic.start(&copy.url)?;
    tokio::time::sleep(Duration::from_secs(options.warm_up)).await;
    let window = pass(FLAT_OUT).await;
    let transactions = running.end(copy).await?;
    let latencies = Latencies::of(&transactions, &window).context("pgbench did nothing")?;
    Ok(float(latencies.count as u64) / FLAT_OUT.as_secs_f64())
}

/// One way, on a copy of its own.
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
    ensure!(kept == half, "{} rows that were not due are gone", half.saturating_sub(kept));
    Ok(Beside {
        layout,
        way: way.name.clone(),
        deleted: half - left,
        elapsed: during.end.duration_since(during.start)?,
        before: Latencies::of(&transactions, &before),
        during: Latencies::of(&transactions, &during),
    })
}

/// Lets it go on; from when to when that was.
async fn pass(time: Duration) -> Range<SystemTime> {
    let start = SystemTime::now();
    tokio::time::sleep(time).await;
    start..SystemTime::now()
}

/// Deletes; from when to when that was.
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
    let ran = tokio::task::spawn_blocking(move || process::run_accepting(command, &[DONE, PARTLY]))
        .await??;
    let end = SystemTime::now();
    if matches!(way.means, Means::Reaper(..)) {
        return chunks(&ran.stderr)
            .with_context(|| format!("session-reaper logged no chunk:\n{}", ran.stderr));
    }
    Ok(start..end)
}

/// From the beginning of the first chunk of a run to the end of its last, by its log.
fn chunks(log: &str) -> Option<Range<SystemTime>> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let chunks: Vec<Value> =
        lines.filter(|line| line["fields"]["event"] == "chunk_committed").collect();
    let ended = |line: &Value| {
        DateTime::<FixedOffset>::parse_from_rfc3339(line["timestamp"].as_str()?).ok()
    };
    let (first, last) = (chunks.first()?, chunks.last()?);
    let took = Duration::from_micros(first["fields"]["elapsed_us"].as_u64()?);
    Some(SystemTime::from(ended(first)?).checked_sub(took)?..ended(last)?.into())
}
