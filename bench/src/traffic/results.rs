//! What was measured, and the tables that show it.

use std::fmt;
use std::time::Duration;

use super::latency::Latencies;
use super::ways::Way;
use crate::case::Layout;
use crate::statistics::{cell, float, median};

/// What session-reaper is to stay under, and to reach at the same time.
const RATIO_AT_MOST: f64 = 1.25;
const ROWS_AT_LEAST: f64 = 20_000.0;

/// One way in one layout in one round.
#[derive(Clone, Debug)]
pub struct Beside {
    /// Of the table.
    pub layout: Layout,
    /// By name.
    pub way: String,
    /// Rows.
    pub deleted: u64,
    /// The time in which they were.
    pub elapsed: Duration,
    /// What the traffic had just before; `None` where there was none.
    pub before: Option<Latencies>,
    /// And meanwhile.
    pub during: Option<Latencies>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Results {
    /// Of the server.
    pub settings: String,
    /// The server survives a crash with what it has committed.
    pub durable: bool,
    /// Of a table; half of them are due.
    pub rows: u64,
    /// Of all.
    pub rounds: u32,
    /// Transactions a second.
    pub rate: u32,
    /// The same where nothing holds them back.
    pub flat_out: f64,
    /// Of the traffic.
    pub clients: u32,
    /// In order.
    pub layouts: Vec<Layout>,
    /// In order.
    pub ways: Vec<Way>,
    /// In the order in which it was measured.
    pub measured: Vec<Beside>,
}

/// The columns of a layout's table.
pub const COLUMNS: [&str; 9] = [
    "beside the traffic",
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

/// In one line, for whoever waits.
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
        write!(f, "of look-ups {:.2} → {:.2}, ", before.look_up_p99, during.look_up_p99)?;
        write!(f, "of rotations {:.2} → {:.2}, ", before.rotation_p99, during.rotation_p99)?;
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

    /// The least and the greatest of the rounds' ratios.
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
            "Traffic: {rate} transactions a second on {clients} connections, three look-ups to a rotation; flat out it makes {flat_out:.0}.\n"
        )?;
        if !self.durable {
            writeln!(
                f,
                "**This server is not durable: what is written here is no measurement.**\n"
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
