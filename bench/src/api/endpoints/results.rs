//! What was measured, and the table that shows it. Each value is a median over the rounds.

use std::fmt;
use std::time::Duration;

use super::{Endpoint, Options, Side};
use crate::statistics::{cell, float, median};

/// One endpoint of one program in one round.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Which program.
    pub side: Side,
    /// Which endpoint.
    pub endpoint: Endpoint,
    /// Answers a second.
    pub rate: f64,
    /// Processor time of auth-api for one, in microseconds.
    pub busy: f64,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Results {
    /// How it was measured.
    pub options: Options,
    /// How often each endpoint was measured.
    pub rounds: u32,
    /// In order.
    pub measured: Vec<Measured>,
}

impl Measured {
    /// `None` of nothing.
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
    "a second, before",
    "since",
    "ratio",
    "auth-api's processor time µs, before",
    "since",
    "ratio",
];

impl Results {
    /// The median of one program; `None`: it was not measured.
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

    /// The median of the ratios of each round: what slows a machine down for a while slows both
    /// programs.
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
            "{endpoint_connections} connections, each of which asks again as soon as it is answered; {endpoint_seconds} s each, \
             in turns; medians of {} rounds, ratios within each.\n",
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
