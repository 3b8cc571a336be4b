//! The look-up histogram of auth-api, as the difference between two readings of auth-api's metrics.

use anyhow::{Context as _, Result, ensure};

use super::Latencies;
use crate::statistics::float;

const NAME: &str = "auth_api_denylist_lookup_duration_seconds";

/// Buckets in ascending order. The counts are cumulative.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram(Vec<Bucket>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    /// Upper bound in seconds; infinite for the last bucket.
    at_most: f64,
    count: u64,
}

impl Histogram {
    /// Returns the histogram of the look-ups with this source between two readings.
    pub(super) fn between(before: &str, after: &str, source: &str) -> Result<Self> {
        let (before, after) = (Self::read(before, source)?, Self::read(after, source)?);
        ensure!(before.0.len() == after.0.len(), "the buckets of the histogram have changed");
        let difference = |(before, after): (&Bucket, &Bucket)| Bucket {
            at_most: after.at_most,
            count: after.count.saturating_sub(before.count),
        };
        Ok(Self(before.0.iter().zip(&after.0).map(difference).collect()))
    }

    /// Parses the Prometheus text format.
    fn read(metrics: &str, source: &str) -> Result<Self> {
        let (name, source) = (format!("{NAME}_bucket{{"), format!("source=\"{source}\""));
        let bucket = |line: &str| {
            let (labels, count) = line.strip_prefix(&name)?.split_once("} ")?;
            labels.split(',').find(|label| *label == source)?;
            let bound = labels
                .split(',')
                .find_map(|label| label.strip_prefix("le=\"")?.strip_suffix('"'))?;
            Some(Bucket { at_most: bound.parse().ok()?, count: count.parse().ok()? })
        };
        let buckets: Vec<Bucket> = metrics.lines().filter_map(bucket).collect();
        ensure!(
            buckets.last().is_some_and(|last| last.at_most.is_infinite()),
            "the metrics contain no {NAME} with {source}"
        );
        Ok(Self(buckets))
    }

    pub(super) fn count(&self) -> u64 {
        self.0.last().map_or(0, |last| last.count)
    }

    /// Adds look-ups that are slower than every finite bucket.
    pub(super) fn and_slower(mut self, count: u64) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.count += count;
        }
        self
    }

    pub(super) fn latencies(&self) -> Result<Latencies> {
        let quantile =
            |thousandths| self.quantile(thousandths).context("auth-api executed no look-ups");
        Ok(Latencies {
            count: self.count(),
            p50: quantile(500)?,
            p99: quantile(990)?,
            p999: quantile(999)?,
        })
    }

    /// Returns a quantile in milliseconds, interpolated linearly within a bucket as in Prometheus.
    /// The result is exact at the bounds of buckets.
    fn quantile(&self, thousandths: u64) -> Option<f64> {
        let rank = float(self.count()) * float(thousandths) / 1e3;
        let at =
            self.0.iter().position(|bucket| bucket.count > 0 && float(bucket.count) >= rank)?;
        let lower =
            at.checked_sub(1).map_or(Bucket { at_most: 0.0, count: 0 }, |before| self.0[before]);
        let within = self.0[at].count - lower.count;
        let share = (rank - float(lower.count)) / float(within);
        Some((lower.at_most + (self.0[at].at_most - lower.at_most) * share) * 1e3)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn metrics(counts: [u64; 4]) -> String {
        let bounds = ["0.0005", "0.001", "0.05", "+Inf"];
        let lines = |source| {
            bounds.iter().zip(counts).map(move |(bound, count)| {
                format!("{NAME}_bucket{{source=\"{source}\",le=\"{bound}\"}} {count}\n")
            })
        };
        lines("redis").collect::<String>() + &metrics_of_others()
    }

    fn metrics_of_others() -> String {
        format!(
            "{NAME}_bucket{{source=\"postgres\",le=\"+Inf\"}} 7\n{NAME}_sum{{source=\"redis\"}} 1\n"
        )
    }

    #[test]
    fn earlier_look_ups_do_not_count() {
        let (before, after) =
            (metrics([100, 100, 100, 100]), metrics([1_080, 1_090, 1_099, 1_100]));
        let latencies = Histogram::between(&before, &after, "redis").unwrap().latencies().unwrap();
        assert_eq!(latencies.count, 1_000);
        // 990 of the 1,000 look-ups took at most a millisecond, which is a bucket bound.
        assert_eq!((latencies.p99, latencies.p999), (1.0, 50.0));
        assert_eq!(Histogram::between(&before, &after, "postgres").unwrap().count(), 0);
        assert!(Histogram::between(&before, &after, "nowhere").is_err());
    }

    #[test]
    fn look_ups_that_fell_back_are_the_slowest() {
        let histogram = Histogram::read(&metrics([990, 990, 990, 990]), "redis").unwrap();
        assert!(histogram.latencies().unwrap().p999 <= 0.5);
        let latencies = histogram.and_slower(10).latencies().unwrap();
        assert_eq!((latencies.p99, latencies.p999), (0.5, f64::INFINITY));
    }
}
