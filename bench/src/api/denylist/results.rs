//! What was measured, the table that shows it, and whether it is good enough. Each value is a
//! median over the rounds.

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Options;
use super::pace::Taken;
use super::redis_benchmark::Commands;
use crate::statistics::{cell, median, quantile};

/// What 99 % and 99.9 % of the look-ups are to stay under, in milliseconds, and the 99 % beside
/// redis-benchmark's.
const P99_UNDER: f64 = 1.0;
const P999_UNDER: f64 = 5.0;
const RATIO_AT_MOST: f64 = 2.0;

/// What calls took; in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// Half of them took no longer.
    pub p50: f64,
    /// 99 % took no longer.
    pub p99: f64,
    /// 99.9 % took no longer.
    pub p999: f64,
}

impl Latencies {
    /// Of those that began in a window.
    pub(super) fn of(all: &[Taken], window: &Range<Instant>) -> Result<Self> {
        let within = all.iter().filter(|one| window.contains(&one.since));
        let mut took: Vec<f64> = within.map(|one| one.milliseconds).collect();
        took.sort_by(f64::total_cmp);
        let quantile = |thousandths| {
            quantile(&took, thousandths).context("nothing began in the time that counts")
        };
        Ok(Self {
            count: took.len() as u64,
            p50: quantile(500)?,
            p99: quantile(990)?,
            p999: quantile(999)?,
        })
    }
}

/// The seconds of a round.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// Look-ups, by auth-api's histogram.
    pub auth_api: Latencies,
    /// Those for which it had to ask PostgreSQL: among them as if they had taken for ever.
    pub fell_back: u64,
    /// Look-ups in this process.
    pub in_process: Latencies,
    /// GET /auth/session, as its client sees it.
    pub requests: Latencies,
    /// Logins, challenge and signature included.
    pub logins: Latencies,
}

/// One round.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Before the traffic, and after it.
    pub redis: [Commands; 2],
    /// Between them.
    pub traffic: Traffic,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Results {
    /// How it was measured.
    pub options: Options,
    /// In order.
    pub rounds: Vec<Round>,
}

/// A line of the table.
struct Line {
    name: &'static str,
    latencies: fn(&Traffic) -> &Latencies,
    /// It is a look-up, and to be set beside redis-benchmark.
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

/// In one line, for whoever waits.
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
        write!(f, "redis-benchmark {p50:.3}, {p99:.3}; {} asked PostgreSQL", self.traffic.fell_back)
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
            let judged = [
                ("p99 under 1 ms", of(|one| one.p99), P99_UNDER),
                ("p99.9 under 5 ms", of(|one| one.p999), P999_UNDER),
                ("p99 at most 2 × redis-benchmark's", ratio, RATIO_AT_MOST),
            ];
            for (what, value, bound) in judged {
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
            "{rounds} round(s) of {seconds} s, medians: {rate} × GET /auth/session a second on {connections} connections, {logins} logins \
             and {look_ups} look-ups in this process a second; redis-benchmark with {connections} connections and {requests} commands \
             before and after each.\n"
        )?;
        writeln!(f, "| {} |\n|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()))?;
        for line in &LINES {
            writeln!(f, "| {} |", self.line(line).join(" | "))?;
        }
        writeln!(f, "| {} |\n", self.redis_line().join(" | "))?;
        let look_ups: u64 = self.rounds.iter().map(|round| round.traffic.auth_api.count).sum();
        let fell_back: u64 = self.rounds.iter().map(|round| round.traffic.fell_back).sum();
        writeln!(f, "Of {look_ups} look-ups in auth-api {fell_back} had to ask PostgreSQL.\n")?;
        self.goals(f)
    }
}
