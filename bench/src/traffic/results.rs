//! The results and their tables.

use std::fmt;
use std::time::Duration;

use super::latency::Latencies;
use super::ways::Way;
use crate::case::Layout;
use crate::statistics::{cell, float, median};

/// The goals of session-reaper: the maximum ratio of the latencies during the deletion to the
/// latencies before it, and the minimum number of rows per second that are deleted.
const RATIO_AT_MOST: f64 = 1.25;
const ROWS_AT_LEAST: f64 = 20_000.0;

/// A measurement of one way of deleting rows, in one layout and one round.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Layout of the table.
    pub layout: Layout,
    /// Name of the way of deleting rows.
    pub way: String,
    /// Number of deleted rows.
    pub deleted: u64,
    /// Duration of the deletion.
    pub elapsed: Duration,
    /// Latencies of the traffic before the deletion, or `None` if there was no traffic.
    pub before: Option<Latencies>,
    /// Latencies of the traffic during the deletion.
    pub during: Option<Latencies>,
}

/// All results.
#[derive(Clone, Debug)]
pub struct Results {
    /// Settings of the server.
    pub settings: String,
    /// Whether committed data survives a crash of the server.
    pub durable: bool,
    /// Number of rows in a table; half of them are due.
    pub rows: u64,
    /// Number of rounds.
    pub rounds: u32,
    /// Transactions per second.
    pub rate: u32,
    /// Transactions per second at the maximum rate.
    pub flat_out: f64,
    /// Number of connections of the traffic.
    pub clients: u32,
    /// The layouts, in order.
    pub layouts: Vec<Layout>,
    /// The ways of deleting rows, in order.
    pub ways: Vec<Way>,
    /// Measurements, in the order in which they were made.
    pub measured: Vec<Beside>,
}

/// The columns of the results table of each layout.
pub const COLUMNS: [&str; 9] = [
    "way",
    "thousand rows/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "p99 ms before",
    "p99 ÷ before",
    "from – to",
    "p99.9 ÷ before",
];

impl Beside {
    fn thousands(&self) -> f64 {
        float(self.deleted) / self.elapsed.as_secs_f64() / 1e3
    }

    fn p99(&self) -> Option<f64> {
        Some(self.during?.p99 / self.before?.p99)
    }

    fn p999(&self) -> Option<f64> {
        Some(self.during?.p999 / self.before?.p999)
    }
}

/// Formats the measurement on one line, as progress output.
impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} thousand rows/s", self.thousands())?;
        let (Some(before), Some(during)) = (self.before, self.during) else { return Ok(()) };
        write!(f, "; p50 {:.2} → {:.2}, ", before.p50, during.p50)?;
        write!(
            f,
            "p99 {:.2} → {:.2} ({:.2} ×), ",
            before.p99,
            during.p99,
            during.p99 / before.p99
        )?;
        write!(f, "look-ups {:.2} → {:.2}, ", before.look_up_p99, during.look_up_p99)?;
        write!(f, "rotations {:.2} → {:.2}, ", before.rotation_p99, during.rotation_p99)?;
        write!(f, "p99.9 {:.2} → {:.2} ms", before.p999, during.p999)
    }
}

impl Results {
    fn of(&self, layout: Layout, way: &str) -> impl Iterator<Item = &Beside> {
        self.measured.iter().filter(move |one| one.layout == layout && one.way == way)
    }

    fn median(
        &self,
        layout: Layout,
        way: &str,
        value: impl Fn(&Beside) -> Option<f64>,
    ) -> Option<f64> {
        median(self.of(layout, way).filter_map(value))
    }

    /// Returns the minimum and the maximum of the ratios of the rounds.
    fn spread(&self, layout: Layout, way: &str) -> String {
        let ratios = || self.of(layout, way).filter_map(Beside::p99);
        let (least, most) = (ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max));
        if most > 0.0 { format!("{least:.2} – {most:.2}") } else { String::new() }
    }

    fn goals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## Goals\n")?;
        for way in self.ways.iter().filter(|way| way.has_goals) {
            for &layout in &self.layouts {
                let ratio = self.median(layout, &way.name, Beside::p99);
                let rows = self.median(layout, &way.name, |one| Some(one.thousands() * 1e3));
                let (Some(ratio), Some(rows)) = (ratio, rows) else { continue };
                let met =
                    if ratio <= RATIO_AT_MOST && rows >= ROWS_AT_LEAST { "met" } else { "MISSED" };
                writeln!(
                    f,
                    "- {}, {}: p99 at most {RATIO_AT_MOST} × at {ROWS_AT_LEAST} rows/s or more: {ratio:.2} × at {rows:.0}, {met}",
                    way.name,
                    layout.name()
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, rounds, settings, rate, clients, flat_out, .. } = self;
        writeln!(f, "{rows} rows, half of them due; {rounds} round(s), medians. {settings}.\n")?;
        writeln!(
            f,
            "Traffic: {rate} transactions per second on {clients} connections, three look-ups for each rotation. The maximum rate is {flat_out:.0} per second.\n"
        )?;
        if !self.durable {
            writeln!(
                f,
                "**This server is not durable. Do not use these numbers as measurements.**\n"
            )?;
        }
        for &layout in &self.layouts {
            writeln!(
                f,
                "## {}\n\n| {} |\n|{}",
                layout.name(),
                COLUMNS.join(" | "),
                "---|".repeat(COLUMNS.len())
            )?;
            for Way { name: way, .. } in &self.ways {
                let cells = [
                    way.clone(),
                    cell(self.median(layout, way, |one| Some(one.thousands())), 1),
                    cell(self.median(layout, way, |one| Some(one.during?.p50)), 2),
                    cell(self.median(layout, way, |one| Some(one.during?.p99)), 2),
                    cell(self.median(layout, way, |one| Some(one.during?.p999)), 2),
                    cell(self.median(layout, way, |one| Some(one.before?.p99)), 2),
                    cell(self.median(layout, way, Beside::p99), 2),
                    self.spread(layout, way),
                    cell(self.median(layout, way, Beside::p999), 2),
                ];
                writeln!(f, "| {} |", cells.join(" | "))?;
            }
            writeln!(f)?;
        }
        self.goals(f)
    }
}
