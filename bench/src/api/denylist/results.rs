//! The results, their table, and the goals. Each value is a median over the rounds.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Options;
use super::pace::Taken;
use super::redis_benchmark::Commands;
use crate::statistics::{cell, median, quantile};

/// The goal for the 99th percentile of the look-ups: a maximum in milliseconds. The next constants
/// are the goal for the 99.9th percentile, and the maximum ratio of the 99th percentile to that of
/// redis-benchmark.
const P99_UNDER: f64 = 1.0;
const P999_UNDER: f64 = 5.0;
const RATIO_AT_MOST: f64 = 2.0;

/// Latencies of calls, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    /// Number of calls.
    pub count: u64,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
}

impl Latencies {
    /// Returns the latencies of the calls that began in a window.
    pub(super) fn of(all: &[Taken], window: &Range<Instant>) -> Result<Self> {
        let within = all.iter().filter(|one| window.contains(&one.since));
        let mut took: Vec<f64> = within.map(|one| one.milliseconds).collect();
        took.sort_by(f64::total_cmp);
        let quantile = |thousandths| {
            quantile(&took, thousandths).context("no call began in the measured time")
        };
        Ok(Self {
            count: took.len() as u64,
            p50: quantile(500)?,
            p99: quantile(990)?,
            p999: quantile(999)?,
        })
    }
}

/// The traffic of a round.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Look-ups, according to the histogram of auth-api.
    pub auth_api: Latencies,
    /// Number of look-ups that fell back to PostgreSQL. They count as infinitely slow.
    pub fell_back: u64,
    /// Look-ups in this process.
    pub in_process: Latencies,
    /// GET /auth/session, as measured by the client.
    pub requests: Latencies,
    /// Logins, including the challenge and the signature.
    pub logins: Latencies,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Results of redis-benchmark before and after the traffic.
    pub redis: [Commands; 2],
    /// The traffic between these two measurements.
    pub traffic: Traffic,
}

/// All results.
#[derive(Clone, Debug)]
pub struct Results {
    /// Options of the measurement.
    pub options: Options,
    /// The rounds, in order.
    pub rounds: Vec<Round>,
}

/// A row of the table.
struct Line {
    name: &'static str,
    latencies: fn(&Traffic) -> &Latencies,
    /// Whether the row shows look-ups, which are compared with redis-benchmark.
    looks_up: bool,
}

const LINES: [Line; 4] = [
    Line { name: "look-up in auth-api", latencies: |traffic| &traffic.auth_api, looks_up: true },
    Line { name: "look-up in process", latencies: |traffic| &traffic.in_process, looks_up: true },
    Line { name: "GET /auth/session", latencies: |traffic| &traffic.requests, looks_up: false },
    Line { name: "login", latencies: |traffic| &traffic.logins, looks_up: false },
];

/// The columns of the table.
const COLUMNS: [&str; 7] =
    ["", "p50 ms", "p99 ms", "p99.9 ms", "p50 ÷ redis-benchmark", "p99 ÷", "from – to"];

impl Round {
    fn redis(&self, value: impl Fn(&Commands) -> f64) -> f64 {
        f64::midpoint(value(&self.redis[0]), value(&self.redis[1]))
    }

    fn p50_ratio(&self, latencies: &Latencies) -> f64 {
        latencies.p50 / self.redis(|commands| commands.p50)
    }

    fn p99_ratio(&self, latencies: &Latencies) -> f64 {
        latencies.p99 / self.redis(|commands| commands.p99)
    }
}

/// Formats the round on one line, as progress output.
impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &LINES {
            let latencies = (line.latencies)(&self.traffic);
            write!(
                f,
                "{} {:.3}, {:.3}, {:.3}; ",
                line.name, latencies.p50, latencies.p99, latencies.p999
            )?;
        }
        let (p50, p99) = (self.redis(|commands| commands.p50), self.redis(|commands| commands.p99));
        write!(
            f,
            "redis-benchmark {p50:.3}, {p99:.3}; {} fell back to PostgreSQL",
            self.traffic.fell_back
        )
    }
}

impl Results {
    fn median(&self, value: impl Fn(&Round) -> f64) -> Option<f64> {
        median(self.rounds.iter().map(value))
    }

    fn line(&self, line: &Line) -> [String; COLUMNS.len()] {
        let of = |value: fn(&Latencies) -> f64| {
            cell(self.median(|round| value((line.latencies)(&round.traffic))), 3)
        };
        let ratios =
            || self.rounds.iter().map(|round| round.p99_ratio((line.latencies)(&round.traffic)));
        let (least, most) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
        let beside = |text: String| if line.looks_up { text } else { String::new() };
        [
            line.name.to_owned(),
            of(|latencies| latencies.p50),
            of(|latencies| latencies.p99),
            of(|latencies| latencies.p999),
            beside(cell(self.median(|round| round.p50_ratio((line.latencies)(&round.traffic))), 2)),
            beside(cell(self.median(|round| round.p99_ratio((line.latencies)(&round.traffic))), 2)),
            beside(format!("{least:.2} – {most:.2}")),
        ]
    }

    fn redis_line(&self) -> [String; COLUMNS.len()] {
        let of = |value: fn(&Commands) -> f64| cell(self.median(|round| round.redis(value)), 3);
        let empty = String::new;
        [
            "redis-benchmark".into(),
            of(|one| one.p50),
            of(|one| one.p99),
            empty(),
            "1".into(),
            "1".into(),
            empty(),
        ]
    }

    fn goals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### Goals\n")?;
        for line in LINES.iter().filter(|line| line.looks_up) {
            let of = |value: fn(&Latencies) -> f64| {
                self.median(|round| value((line.latencies)(&round.traffic)))
            };
            let ratio = self.median(|round| round.p99_ratio((line.latencies)(&round.traffic)));
            let goals = [
                ("p99 under 1 ms", of(|one| one.p99), P99_UNDER),
                ("p99.9 under 5 ms", of(|one| one.p999), P999_UNDER),
                ("p99 at most 2 × redis-benchmark's", ratio, RATIO_AT_MOST),
            ];
            for (what, value, bound) in goals {
                let value = value.unwrap_or(f64::INFINITY);
                let met = if value <= bound { "met" } else { "MISSED" };
                writeln!(f, "- {}: {what}: {value:.3}, {met}", line.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { seconds, connections, rate, logins, look_ups, requests, .. } = &self.options;
        let rounds = self.rounds.len();
        writeln!(f, "## Look-up in the denylist\n")?;
        writeln!(
            f,
            "{rounds} round(s) of {seconds} s, medians. Per second: {rate} × GET /auth/session on {connections} connections, {logins} logins, \
             and {look_ups} look-ups in this process. Before and after each round: redis-benchmark with {connections} connections \
             and {requests} commands.\n"
        )?;
        writeln!(f, "| {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()))?;
        for line in &LINES {
            writeln!(f, "| {} |", self.line(line).join(" | "))?;
        }
        writeln!(f, "| {} |\n", self.redis_line().join(" | "))?;
        let look_ups: u64 = self.rounds.iter().map(|round| round.traffic.auth_api.count).sum();
        let fell_back: u64 = self.rounds.iter().map(|round| round.traffic.fell_back).sum();
        writeln!(f, "{fell_back} of {look_ups} look-ups in auth-api fell back to PostgreSQL.\n")?;
        self.goals(f)
    }
}
