//! The results and their table. Each value is a median over the rounds.

use std::fmt;
use std::time::Duration;

use super::{Endpoint, Options, Side};
use crate::statistics::{cell, float, median};

/// A measurement of one endpoint of one program in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The program.
    pub side: Side,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Requests per second.
    pub rate: f64,
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
}

impl Measured {
    /// Calculates the measurement from `count` requests, the processor time `busy`, and the elapsed
    /// time. Returns `None` if there were no requests.
    pub(super) fn of(
        (side, endpoint): (Side, Endpoint),
        count: u64,
        busy: Duration,
        time: Duration,
    ) -> Option<Self> {
        let (rate, busy) =
            (float(count) / time.as_secs_f64(), busy.as_secs_f64() * 1e6 / float(count));
        (count > 0).then_some(Self { side, endpoint, rate, busy })
    }
}

/// The columns of the table.
const COLUMNS: [&str; 7] = [
    "",
    "per second, before",
    "since",
    "ratio",
    "auth-api's processor time µs, before",
    "since",
    "ratio",
];

impl Results {
    /// Returns the median of one program. Returns `None` if the program was not measured.
    #[must_use]
    pub fn median(
        &self,
        side: Side,
        endpoint: Endpoint,
        value: impl Fn(&Measured) -> f64,
    ) -> Option<f64> {
        median(
            self.measured
                .iter()
                .filter(|one| one.side == side && one.endpoint == endpoint)
                .map(value),
        )
    }

    /// Returns the median of the ratios within each round. A temporary slowdown of the machine
    /// affects both programs in the same round, so it hardly changes the ratio.
    #[must_use]
    pub fn ratio(&self, endpoint: Endpoint, value: impl Fn(&Measured) -> f64) -> Option<f64> {
        let of = |side| {
            self.measured.iter().filter(move |one| one.side == side && one.endpoint == endpoint)
        };
        median(
            of(Side::Since)
                .zip(of(Side::Before))
                .map(|(since, before)| value(since) / value(before)),
        )
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { endpoint_seconds, endpoint_connections, .. } = self.options;
        writeln!(f, "## Endpoints\n")?;
        writeln!(
            f,
            "{endpoint_connections} connections, each of which sends its next request as soon as it receives a response; {endpoint_seconds} s for each \
             measurement, one after another; medians of {} rounds, and of the ratios within each round.\n",
            self.rounds
        )?;
        writeln!(f, "| {} |", COLUMNS.join(" | "))?;
        writeln!(f, "|---|{}", "---:|".repeat(COLUMNS.len() - 1))?;
        for endpoint in self.options.endpoints() {
            let rate = |side| self.median(side, endpoint, |one| one.rate);
            let busy = |side| self.median(side, endpoint, |one| one.busy);
            let cells = [
                endpoint.name().to_owned(),
                cell(rate(Side::Before), 0),
                cell(rate(Side::Since), 0),
                cell(self.ratio(endpoint, |one| one.rate), 2),
                cell(busy(Side::Before), 0),
                cell(busy(Side::Since), 0),
                cell(self.ratio(endpoint, |one| one.busy), 2),
            ];
            writeln!(f, "| {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}
