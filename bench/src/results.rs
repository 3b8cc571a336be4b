//! The results and their tables. Each ratio is the median of the ratios within the rounds.

use std::fmt;
use std::time::Duration;

use crate::gate::Passed;
use crate::goals;
use crate::statistics::{cell, float, median};
use crate::way::{LockWait, Role, Way};

/// A chunk of session-reaper: one transaction that deletes rows.
#[derive(Clone, Copy, Debug)]
pub struct ChunkTime {
    /// Number of examined rows.
    pub rows: u64,
    /// Time from the search for the end of the chunk to the commit of the chunk.
    pub elapsed: Duration,
}

/// A measurement of one way of deleting rows, in one case and one round.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Name of the case.
    pub case: &'static str,
    /// Name of the way of deleting rows.
    pub way: String,
    /// Number of deleted rows.
    pub deleted: u64,
    /// Time from the start of the process to its end.
    pub elapsed: Duration,
    /// Bytes of WAL that the server wrote in the elapsed time.
    pub wal_bytes: u64,
    /// Peak resident memory of session-reaper.
    pub peak_kib: Option<u64>,
    /// Chunks of session-reaper.
    pub chunks: Vec<ChunkTime>,
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
    /// Size of the table without its indexes.
    pub table_bytes: i64,
    /// Names of the cases, in order.
    pub cases: Vec<&'static str>,
    /// The ways of deleting rows, in order.
    pub ways: Vec<Way>,
    /// Measurements, in the order in which they were made.
    pub measured: Vec<Measured>,
    /// Results of the subcommands with a time limit; see [`crate::gate`].
    pub gates: Vec<Passed>,
}

/// The columns of the results table of each case.
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

/// How many chunks at the beginning and at the end of a run are compared with each other.
const AT_EACH_END: usize = 20;

impl Measured {
    /// Returns the speed in thousand rows per second.
    #[must_use]
    pub fn thousands(&self) -> f64 {
        float(self.deleted) / self.elapsed.as_secs_f64() / 1e3
    }

    fn wal_a_row(&self) -> f64 {
        float(self.wal_bytes) / float(self.deleted.max(1))
    }

    /// Returns the cost per row in the last chunks, divided by the cost per row in the first
    /// chunks. Both are medians. Chunks that are smaller than half of the median chunk are ignored,
    /// because chunks grow at the beginning and the last chunk is short.
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

    /// Returns the speed of one way divided by the speed of another.
    fn ratio(&self, case: &str, way: &str, to: Option<&Way>) -> Option<f64> {
        let pairs = self.of(case, way).zip(self.of(case, &to?.name));
        median(pairs.map(|(one, other)| one.thousands() / other.thousands()))
    }

    /// Returns the fastest of the ways that match.
    fn best(&self, case: &str, matches: impl Fn(&Way) -> bool) -> Option<&Way> {
        let speed = |way: &&Way| self.speed(case, &way.name).unwrap_or(0.0);
        self.ways
            .iter()
            .filter(|way| matches(way))
            .max_by(|one, other| speed(one).total_cmp(&speed(other)))
    }

    pub(crate) fn to_best_loop_like_ours(&self, case: &str, way: &str) -> Option<f64> {
        let best = self
            .best(case, |way| way.role == Role::BestLoop && way.lock_wait == LockWait::SkipLocked);
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
                "**This server is not durable. Do not use these numbers as measurements.**\n"
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
