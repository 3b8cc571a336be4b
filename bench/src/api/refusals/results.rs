//! The results: a table for each kind of credential, and whether the response time reveals the
//! reason for the rejection.

use std::fmt;

use super::noise::noise;
use super::tries::Took;
use super::{Carrier, Options, Reason};
use crate::statistics::{cell, quantile};

/// The rejections of one kind of credential.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The kind of credential.
    pub carrier: Carrier,
    /// The rejections for each reason.
    pub lines: Vec<Line>,
}

/// The rejections for one reason, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// The reason.
    pub reason: Reason,
    /// Number of rejections.
    pub count: usize,
    /// The quartiles of the response times.
    pub quartiles: [f64; 3],
    /// How much the medians of two random halves of the response times differ by chance.
    pub noise: f64,
}

/// All results.
#[derive(Clone, Debug)]
pub struct Results {
    /// Options of the measurement.
    pub options: Options,
    /// The rejections of each kind of credential.
    pub refused: Vec<Refused>,
}

/// The columns of a table.
const COLUMNS: [&str; 6] =
    ["", "refusals", "median µs", "lower quartile", "upper quartile", "noise µs"];

impl Refused {
    pub(super) fn of(carrier: Carrier, took: Took) -> Self {
        let line = |(reason, mut took): (Reason, Vec<f64>)| {
            let noise = noise(&took)?;
            took.sort_by(f64::total_cmp);
            let quartiles = [quantile(&took, 250)?, quantile(&took, 500)?, quantile(&took, 750)?];
            Some(Line { reason, count: took.len(), quartiles, noise })
        };
        Self { carrier, lines: took.into_iter().filter_map(line).collect() }
    }

    /// Among the reasons that must not be distinguishable, returns the two reasons whose medians
    /// differ most, the difference between these medians, and the larger noise of the two reasons.
    #[must_use]
    pub fn furthest(&self) -> Option<(Reason, Reason, f64, f64)> {
        let secret = || self.lines.iter().filter(|line| line.reason.is_secret());
        let quickest = secret().min_by(|one, other| one.median().total_cmp(&other.median()))?;
        let slowest = secret().max_by(|one, other| one.median().total_cmp(&other.median()))?;
        let apart = slowest.median() - quickest.median();
        Some((quickest.reason, slowest.reason, apart, quickest.noise.max(slowest.noise)))
    }
}

impl Line {
    fn median(&self) -> f64 {
        self.quartiles[1]
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "### {}\n\n| {} |\n|{}",
            self.carrier.name(),
            COLUMNS.join(" | "),
            "---|".repeat(COLUMNS.len())
        )?;
        for Line { reason, count, quartiles: [lower, median, upper], noise } in &self.lines {
            let cells =
                [*median, *lower, *upper, *noise].map(|value| cell(Some(value), 1)).join(" | ");
            writeln!(f, "| {} | {count} | {cells} |", reason.name())?;
        }
        let Some((quickest, slowest, apart, noise)) = self.furthest() else { return Ok(()) };
        let met = if apart < noise { "met" } else { "MISSED" };
        writeln!(
            f,
            "\n- {}: medians differ by less than the noise: {} and {} by {apart:.1} µs, the noise is {noise:.1} µs, {met}\n",
            self.carrier.name(),
            quickest.name(),
            slowest.name()
        )
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { tries, credentials, others } = self.options;
        writeln!(f, "## Refusals\n")?;
        writeln!(
            f,
            "{tries} rejections for each kind of credential and each reason, with {credentials} credentials in rotation, in random order over one \
             connection; {others} sessions of other accounts.\n"
        )?;
        self.refused.iter().try_for_each(|refused| write!(f, "{refused}"))
    }
}
