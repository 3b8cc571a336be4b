//! A randomized concurrent checker of session-reaper. Reapers delete rows while writers write and
//! faults (*nemeses*) are injected. Afterwards, the complete history is checked. docs/chaos.md
//! explains it.
//!
//! Read [`plan`] first (the operations of a round), then [`round`] (its execution), [`history`]
//! (what is recorded), and [`invariants`] and [`quiet`] (what must hold).

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the report is printed")]

mod decode;
mod history;
mod invariants;
mod nemeses;
mod plan;
mod quiet;
mod reapers;
mod round;
mod tables;
mod trace;
mod writers;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use clap::Parser;
use testkit::Server;

use crate::nemeses::Done;
use crate::plan::Plan;

type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Check session-reaper with concurrent writers and faults
#[derive(Parser)]
struct Options {
    /// The seed of the first round; each following round uses the next number [default: taken from
    /// the clock]
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
    /// The number of rounds [default: as many as --minutes allows]
    #[arg(long)]
    rounds: Option<u64>,
    /// Start no more rounds after this many minutes
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Multiply the number of operations and faults of each round by this factor
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The program to check [default: session-reaper in the directory of this program]
    #[arg(long, env = "REAPER_BIN")]
    reaper: Option<PathBuf>,
    /// The directory for the histories of rounds that violated an invariant
    #[arg(long, default_value = "target/chaos")]
    traces: PathBuf,
    /// Run all rounds, even after a violation
    #[arg(long)]
    keep_going: bool,
}

/// Totals of all rounds.
#[derive(Default)]
struct Totals {
    rounds: u64,
    operations: u64,
    runs: u64,
    deleted: u64,
    transactions: u64,
    done: Done,
    /// For each code, the number of violations and the seeds of the rounds with these violations.
    violations: BTreeMap<&'static str, (u64, Vec<u64>)>,
}

/// The settings of the server. Logical decoding provides the commit order. The short timeout
/// resolves deadlocks between writers and reapers quickly.
const SETTINGS: [(&str, &str); 3] =
    [("wal_level", "logical"), ("max_connections", "100"), ("deadlock_timeout", "200ms")];

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let mut totals = Totals::default();
    // Dropping the future stops the servers and programs that it has started.
    let checked = tokio::select! {
        checked = check(&options, &mut totals) => Some(checked),
        _ = tokio::signal::ctrl_c() => None,
    };
    totals.print();
    let Some(checked) = checked else { return ExitCode::from(130) };
    match checked {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

/// Performs the rounds. Returns `true` if no invariant was violated.
async fn check(options: &Options, totals: &mut Totals) -> Result<bool> {
    let beside = std::env::current_exe()?.with_file_name("session-reaper");
    let reaper = options.reaper.clone().unwrap_or(beside);
    if !reaper.exists() {
        return Err(format!("{} does not exist", reaper.display()).into());
    }
    let until = Instant::now() + Duration::from_secs_f64(options.minutes * 60.0);
    let mut server = Server::start(&SETTINGS).await;
    let first = options.seed.unwrap_or_else(|| {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(1, |since| since.as_secs())
    });
    let seeds = first..first.saturating_add(options.rounds.unwrap_or(u64::MAX));
    for seed in seeds {
        if options.rounds.is_none() && Instant::now() >= until {
            break;
        }
        let (plan, began) = (Plan::draw(seed, options.scale), Instant::now());
        let outcome =
            round::play(&mut server, &plan, &reaper, &options.traces).await.map_err(|error| {
                format!(
                    "could not play the round of seed {seed}: {}",
                    pg::error_text::chain(&*error)
                )
            })?;
        println!(
            "seed {seed}: {plan}\n  {} operations, {} runs, {} rows deleted, {} violations, {:.1} s",
            outcome.operations,
            outcome.runs,
            outcome.deleted,
            outcome.violations.len(),
            began.elapsed().as_secs_f64()
        );
        let clean = outcome.violations.is_empty();
        totals.add(seed, &outcome);
        if !clean {
            let mut shown: BTreeMap<&str, u32> = BTreeMap::new();
            for violation in &outcome.violations {
                let shown = shown.entry(violation.code).or_default();
                *shown += 1;
                if *shown <= 3 {
                    println!("  {violation}");
                }
            }
            println!(
                "  to repeat this round: make chaos SEED={seed}; its history: {}/{seed}.txt",
                options.traces.display()
            );
            if !options.keep_going {
                break;
            }
        }
    }
    Ok(totals.violations.is_empty())
}

impl Totals {
    fn add(&mut self, seed: u64, outcome: &round::Outcome) {
        self.rounds += 1;
        self.operations += outcome.operations;
        self.runs += outcome.runs;
        self.deleted += outcome.deleted;
        self.transactions += outcome.transactions;
        self.done.add(&outcome.done);
        for violation in &outcome.violations {
            let (count, seeds) = self.violations.entry(violation.code).or_default();
            *count += 1;
            if seeds.last() != Some(&seed) {
                seeds.push(seed);
            }
        }
    }

    fn print(&self) {
        let Self { rounds, operations, runs, deleted, transactions, done, violations } = self;
        println!(
            "\n{rounds} rounds: {operations} operations of writers, {transactions} transactions, {runs} runs, {deleted} rows \
             deleted by reapers\n{} reapers killed, {} frozen, {} of their backends terminated, {} cuts, {} stalls, {} tables \
             swapped, {} columns replaced, {} partitions detached, {} restarts",
            done.kills,
            done.freezes,
            done.terminated,
            done.cuts,
            done.stalls,
            done.swaps,
            done.replaced,
            done.detached,
            done.restarts
        );
        if violations.is_empty() {
            println!("no invariant violated");
        }
        for (code, (count, seeds)) in violations {
            println!("{code}: {count} violations, seeds {seeds:?}");
        }
    }
}
