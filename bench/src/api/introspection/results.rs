//! The results and their table. Each value is a median over the rounds.

use std::fmt;
use std::time::Duration;

use super::{Options, Step};
use crate::statistics::{cell, float, median, quantile};

/// A measurement of one step in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The step.
    pub step: Step,
    /// Requests per second.
    pub rate: f64,
    /// Median, in milliseconds.
    pub p50: f64,
    /// 99th percentile, in milliseconds.
    pub p99: f64,
    /// Processor time of auth-api for each request, in microseconds.
    pub busy: f64,
}

/// All results.
#[derive(Clone, Debug)]
pub struct Results {
    /// Options of the measurement.
    pub options: Options,
    /// Number of rounds.
    pub rounds: u32,
    /// Measurements, in order.
    pub measured: Vec<Measured>,
    /// Median time to check a client secret that is not cached, in milliseconds.
    pub check: f64,
}

impl Measured {
    /// Summarizes the response times `took`, in milliseconds. Returns `None` if `took` is empty.
    pub(super) fn of(
        step: Step,
        mut took: Vec<f64>,
        busy: Duration,
        time: Duration,
    ) -> Option<Self> {
        took.sort_by(f64::total_cmp);
        let count = float(took.len() as u64);
        Some(Self {
            step,
            rate: count / time.as_secs_f64(),
            p50: quantile(&took, 500)?,
            p99: quantile(&took, 990)?,
            busy: busy.as_secs_f64() * 1e6 / count,
        })
    }
}

/// The columns of the table.
const COLUMNS: [&str; 7] =
    ["", "per second", "p50 ms", "p99 ms", "auth-api's processor time µs", "more by µs", "for"];

impl Results {
    fn median(&self, step: Step, value: impl Fn(&Measured) -> f64) -> Option<f64> {
        median(self.measured.iter().filter(|one| one.step == step).map(value))
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { introspection_seconds, introspection_connections } = self.options;
        writeln!(f, "## Introspection\n")?;
        writeln!(
            f,
            "{introspection_connections} connections, each of which sends its next request as soon as it receives a response; \
             {introspection_seconds} s for each measurement, medians of {} rounds.\n",
            self.rounds
        )?;
        writeln!(f, "| {} |", COLUMNS.join(" | "))?;
        writeln!(f, "|---|{}---|", "---:|".repeat(COLUMNS.len() - 2))?;
        for (step, beside) in Step::ALL {
            let busy = |step| self.median(step, |one| one.busy);
            let more = beside.and_then(|beside| Some(busy(step)? - busy(beside)?));
            let cells = [
                step.name().to_owned(),
                cell(self.median(step, |one| one.rate), 0),
                cell(self.median(step, |one| one.p50), 2),
                cell(self.median(step, |one| one.p99), 2),
                cell(busy(step), 1),
                cell(more, 1),
                step.adds().to_owned(),
            ];
            writeln!(f, "| {} |", cells.join(" | "))?;
        }
        writeln!(
            f,
            "\nFor a client whose secret is not cached, hashing the secret takes {:.1} ms.",
            self.check
        )
    }
}
