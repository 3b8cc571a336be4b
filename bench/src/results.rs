//! What was measured, and the tables that show it. Ratios are of the same round, and the median
//! over the rounds.

use std::fmt;
use std::time::Duration;

use crate::gate::Passed;
use crate::goals;
use crate::statistics::{cell, float, median};
use crate::way::{Manners, Role, Way};

/// One chunk of session-reaper.
#[derive(Clone, Copy, Debug)]
pub struct ChunkTime {
    /// Examined.
    pub rows: u64,
    /// From asking where it ends to its commit.
    pub elapsed: Duration,
}

/// One way in one case in one round.
#[derive(Clone, Debug)]
pub struct Measured {
    /// By name.
    pub case: &'static str,
    /// By name.
    pub way: String,
    /// Rows.
    pub deleted: u64,
    /// From the start of the process to its end.
    pub elapsed: Duration,
    /// That the server wrote meanwhile.
    pub wal_bytes: u64,
    /// Of session-reaper's resident memory.
    pub peak_kib: Option<u64>,
    /// Of session-reaper.
    pub chunks: Vec<ChunkTime>,
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
    /// Of the table alone.
    pub table_bytes: i64,
    /// In order.
    pub cases: Vec<&'static str>,
    /// In order.
    pub ways: Vec<Way>,
    /// In the order in which it was measured.
    pub measured: Vec<Measured>,
    /// See [`crate::gate`].
    pub gates: Vec<Passed>,
}

/// The columns of a case's table.
pub const COLUMNS: [&str; 9] = [
    "",
    "thousand rows/s",
    "÷ best loop that skips locked rows",
    "÷ best loop of all",
    "÷ key IN",
    "÷ one DELETE",
    "last ÷ first chunk",
    "peak MiB",
    "WAL bytes a row",
];

/// How many chunks at each end are compared.
const AT_EACH_END: usize = 20;

impl Measured {
    /// Thousand rows a second.
    #[must_use]
    pub fn thousands(&self) -> f64 {
        float(self.deleted) / self.elapsed.as_secs_f64() / 1e3
    }

    fn wal_a_row(&self) -> f64 {
        float(self.wal_bytes) / float(self.deleted.max(1))
    }

    /// What a row cost in the last chunks, over what it cost in the first: medians of those of full
    /// size, which are at least half as large as most are (they grow at the beginning, and the
    /// end of a pass is a short one).
    fn last_over_first(&self) -> Option<f64> {
        let usual = median(self.chunks.iter().map(|chunk| float(chunk.rows)))?;
        let full: Vec<f64> = self
            .chunks
            .iter()
            .filter(|chunk| 2.0 * float(chunk.rows) >= usual)
            .map(|chunk| chunk.elapsed.as_secs_f64() / float(chunk.rows.max(1)))
            .collect();
        let count = AT_EACH_END.min(full.len() / 2);
        Some(
            median(full[full.len() - count..].iter().copied())?
                / median(full[..count].iter().copied())?,
        )
    }
}

impl Results {
    fn of<'a>(&'a self, case: &'a str, way: &'a str) -> impl Iterator<Item = &'a Measured> {
        self.measured.iter().filter(move |one| one.case == case && one.way == way)
    }

    fn median(
        &self,
        case: &str,
        way: &str,
        value: impl Fn(&Measured) -> Option<f64>,
    ) -> Option<f64> {
        median(self.of(case, way).filter_map(value))
    }

    fn speed(&self, case: &str, way: &str) -> Option<f64> {
        self.median(case, way, |one| Some(one.thousands()))
    }

    /// Of one way's speed to another's.
    fn ratio(&self, case: &str, way: &str, to: Option<&Way>) -> Option<f64> {
        let pairs = self.of(case, way).zip(self.of(case, &to?.name));
        median(pairs.map(|(one, other)| one.thousands() / other.thousands()))
    }

    /// The fastest of those that are wanted.
    fn best(&self, case: &str, wanted: impl Fn(&Way) -> bool) -> Option<&Way> {
        let speed = |way: &&Way| self.speed(case, &way.name).unwrap_or(0.0);
        self.ways
            .iter()
            .filter(|way| wanted(way))
            .max_by(|one, other| speed(one).total_cmp(&speed(other)))
    }

    pub(crate) fn to_best_loop_like_ours(&self, case: &str, way: &str) -> Option<f64> {
        let best = self
            .best(case, |way| way.role == Role::BestLoop && way.manners == Manners::SkipsLocked);
        self.ratio(case, way, best)
    }

    fn to_best_loop(&self, case: &str, way: &str) -> Option<f64> {
        self.ratio(case, way, self.best(case, |way| way.role == Role::BestLoop))
    }

    pub(crate) fn to_key_in(&self, case: &str, way: &str) -> Option<f64> {
        self.ratio(case, way, self.best(case, |way| way.role == Role::KeyIn))
    }

    fn to_one_delete(&self, case: &str, way: &str) -> Option<f64> {
        self.ratio(case, way, self.best(case, |way| way.role == Role::OneDelete))
    }

    pub(crate) fn last_over_first(&self, case: &str, way: &str) -> Option<f64> {
        self.median(case, way, Measured::last_over_first)
    }

    pub(crate) fn peak_mib(&self, case: &str, way: &str) -> Option<f64> {
        self.median(case, way, |one| one.peak_kib.map(|kib| float(kib) / 1024.0))
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, rounds, settings, .. } = self;
        let bytes = self.table_bytes / i64::try_from(*rows).unwrap_or(1).max(1);
        writeln!(
            f,
            "{rows} rows of {bytes} bytes, half of them due; {rounds} round(s), medians. {settings}.\n"
        )?;
        if !self.durable {
            writeln!(
                f,
                "**This server is not durable: what is written here is no measurement.**\n"
            )?;
        }
        for case in &self.cases {
            writeln!(
                f,
                "## {case}\n\n| {} |\n|{}",
                COLUMNS.join(" | "),
                "---|".repeat(COLUMNS.len())
            )?;
            for Way { name: way, .. } in &self.ways {
                let cells = [
                    way.clone(),
                    cell(self.speed(case, way), 0),
                    cell(self.to_best_loop_like_ours(case, way), 2),
                    cell(self.to_best_loop(case, way), 2),
                    cell(self.to_key_in(case, way), 1),
                    cell(self.to_one_delete(case, way), 2),
                    cell(self.last_over_first(case, way), 2),
                    cell(self.peak_mib(case, way), 1),
                    cell(self.median(case, way, |one| Some(one.wal_a_row())), 0),
                ];
                writeln!(f, "| {} |", cells.join(" | "))?;
            }
            writeln!(f)?;
        }
        goals::write(self, f)
    }
}
