//! The latency of transactions, counted from their scheduled start.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::pgbench::ROTATION;
use crate::statistics::quantile;

/// A transaction, as logged by pgbench.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Transaction {
    /// Scheduled start, as the time since 1970.
    due: Duration,
    /// Time from the scheduled start to the end. It includes the wait for a free client, because a
    /// caller would also have to wait.
    took: Duration,
    rotation: bool,
}

/// Latencies of the transactions that were scheduled in one of the two measured periods, in
/// milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latencies {
    /// Number of transactions.
    pub count: usize,
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// 99th percentile of the look-ups.
    pub look_up_p99: f64,
    /// 99th percentile of the rotations.
    pub rotation_p99: f64,
}

impl Transaction {
    /// Parses `client number µs script seconds µs [lag]`. The fifth and sixth fields are the time
    /// at which the transaction ended.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let fields: Vec<u64> =
            line.split(' ').map(|field| field.parse().ok()).collect::<Option<_>>()?;
        let [_, _, took, script, seconds, micros, ..] = fields.as_slice() else { return None };
        let took = Duration::from_micros(*took);
        let due =
            (Duration::from_secs(*seconds) + Duration::from_micros(*micros)).checked_sub(took)?;
        Some(Self { due, took, rotation: *script == u64::from(ROTATION) })
    }
}

impl Latencies {
    /// Returns the latencies in a period, or `None` if nothing was scheduled in it.
    pub(super) fn of(transactions: &[Transaction], window: &Range<SystemTime>) -> Option<Self> {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).ok();
        let window = since(window.start)?..since(window.end)?;
        let took = |wanted: &dyn Fn(&Transaction) -> bool| {
            let mut took: Vec<f64> = transactions
                .iter()
                .filter(|one| window.contains(&one.due) && wanted(one))
                .map(|one| one.took.as_secs_f64() * 1e3)
                .collect();
            took.sort_by(f64::total_cmp);
            took
        };
        let (all, look_ups, rotations) =
            (took(&|_| true), took(&|one| !one.rotation), took(&|one| one.rotation));
        Some(Self {
            count: all.len(),
            p50: quantile(&all, 500)?,
            p99: quantile(&all, 990)?,
            p999: quantile(&all, 999)?,
            look_up_p99: quantile(&look_ups, 990)?,
            rotation_p99: quantile(&rotations, 990)?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn transaction_belongs_to_the_window_of_its_schedule() {
        // Scheduled at 99.5 s, ended at 101.5 s.
        let late = Transaction::parse("3 17 2000000 1 101 500000 1999000").unwrap();
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(Latencies::of(&[late], &(at(100)..at(102))), None);
        let quick = Transaction::parse("3 17 1000 0 100 0 0").unwrap();
        let both = Latencies::of(&[late, quick], &(at(99)..at(100))).unwrap();
        assert_eq!((both.count, both.p50, both.p99), (2, 1.0, 2_000.0));
        assert_eq!((both.look_up_p99, both.rotation_p99), (1.0, 2_000.0));
        assert_eq!(Transaction::parse("3 17 failed 0 100 0 0"), None);
    }
}
