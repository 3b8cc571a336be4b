//! Computes the number of rows in a chunk and the idle time after it. This module does no I/O and
//! reads no clock: elapsed times are parameters.

use crate::time::as_f64;
use std::time::Duration;

/// The number of rows in the first chunk of a pass. Such a chunk takes a few milliseconds even if a
/// row costs fifty times as much as in the benchmarks.
const FIRST_CHUNK: u32 = 100;

/// The size of the first chunk if chunks are counted in blocks, each with a few dozen rows.
const FIRST_BLOCKS: u32 = 2;

/// The weight of the newest chunk in the smoothed cost per row. After three chunks, the weight of
/// all earlier chunks is about one half.
const NEWEST: f64 = 0.2;

/// The maximum rest, however long the chunk took and however small the duty cycle is. During a
/// longer rest, a run would appear to hang, and the server could end its idle connection.
pub const LONGEST_REST: Duration = Duration::from_mins(1);

/// The limits that determine the pace.
#[derive(Clone, Copy, Debug)]
pub struct PaceLimits {
    /// The desired duration of a chunk.
    pub chunk_time: Duration,
    /// The maximum number of rows in a chunk.
    pub max_chunk: u32,
    /// The share of time in which the reaper works: greater than 0, at most 1.
    pub duty_cycle: f64,
}

/// The pace of one pass.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    limits: PaceLimits,
    size: u32,
    /// The smoothed cost of a row, in seconds.
    cost: Option<f64>,
}

impl Pace {
    /// Creates a pace that counts chunks in rows.
    pub(crate) fn new(limits: PaceLimits) -> Self {
        Self { limits, size: FIRST_CHUNK.clamp(1, limits.max_chunk), cost: None }
    }

    /// Creates a pace that counts chunks in blocks.
    pub(crate) fn of_blocks(limits: PaceLimits) -> Self {
        Self { size: FIRST_BLOCKS.clamp(1, limits.max_chunk), ..Self::new(limits) }
    }

    /// Returns the size of the next chunk.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Records that a chunk of `rows` took `elapsed`. The next chunk gets the size that is expected
    /// to take the desired duration, but at most twice the size of this chunk.
    pub(crate) fn chunk_done(&mut self, rows: u64, elapsed: Duration) {
        // The cost of a short chunk is mostly its round trips, so it is a poor estimate of the cost
        // of a row.
        if rows.saturating_mul(2) >= u64::from(self.size) {
            self.learn(rows, elapsed);
        }
    }

    /// Does the same as [`Pace::chunk_done`], regardless of the size of the chunk.
    pub(crate) fn learn(&mut self, rows: u64, elapsed: Duration) {
        if rows == 0 {
            return;
        }
        let newest = elapsed.as_secs_f64() / as_f64(rows);
        let cost = self.cost.map_or(newest, |cost| cost + NEWEST * (newest - cost));
        self.cost = Some(cost);
        self.size =
            self.fitting(cost).min(self.size.saturating_mul(2)).clamp(1, self.limits.max_chunk);
    }

    /// Records that a chunk reached a timeout. Halves the size, and sets the cost per row to the
    /// value for which that size takes the desired duration.
    pub(crate) fn chunk_timed_out(&mut self) {
        self.size = (self.size / 2).max(1);
        self.cost = Some(self.limits.chunk_time.as_secs_f64() / f64::from(self.size));
    }

    /// Returns the idle time that must follow `elapsed` of work to stay within the duty cycle.
    pub(crate) fn rest(&self, elapsed: Duration) -> Duration {
        let duty_cycle = self.limits.duty_cycle;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - duty_cycle) / duty_cycle)
            .unwrap_or(LONGEST_REST)
            .min(LONGEST_REST)
    }

    fn fitting(&self, cost: f64) -> u32 {
        let rows = self.limits.chunk_time.as_secs_f64() / cost;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, as intended; both operands are positive"
        )]
        let rows = rows as u32;
        rows
    }
}

/// The maximum number of rows in a chunk whose size is not counted in rows. The maximum is halved
/// when a chunk with that many rows was too large, and doubles again after each chunk that
/// completes.
#[derive(Clone, Debug)]
pub(crate) struct Most {
    limit: u32,
    rows: u32,
}

impl Most {
    pub(crate) fn new(limit: u32) -> Self {
        Self { limit, rows: limit }
    }

    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    pub(crate) fn halve(&mut self) {
        self.rows = (self.rows / 2).max(1);
    }

    pub(crate) fn chunk_done(&mut self) {
        self.rows = self.rows.saturating_mul(2).min(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(chunk_time: Duration, max_chunk: u32, duty_cycle: f64) -> Pace {
        Pace::new(PaceLimits { chunk_time, max_chunk, duty_cycle })
    }

    /// Records chunks that cost `fixed` plus `row` per row, until the size is stable.
    fn settle(pace: &mut Pace, fixed: Duration, row: Duration) {
        for _ in 0..200 {
            let size = pace.size();
            pace.chunk_done(u64::from(size), fixed + row * size);
        }
    }

    #[test]
    fn chunk_converges_to_the_target_duration() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        assert!((950..=1_000).contains(&pace.size()), "{}", pace.size());
    }

    #[test]
    fn chunk_with_a_fixed_cost_converges_to_the_target_duration() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, 2 * MS, Duration::from_micros(10));
        assert!((750..=800).contains(&pace.size()), "{}", pace.size());
    }

    #[test]
    fn one_slow_chunk_hardly_changes_the_size() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        let before = pace.size();
        pace.chunk_done(u64::from(before), 20 * MS);
        assert!(pace.size() > before * 3 / 4, "{before} → {}", pace.size());
    }

    #[test]
    fn size_is_halved_after_a_timeout_and_recovers() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        let before = pace.size();
        pace.chunk_timed_out();
        assert_eq!(pace.size(), before / 2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        assert!(pace.size() >= before * 9 / 10, "{}", pace.size());
    }

    #[test]
    fn short_last_chunk_does_not_change_the_size() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        pace.chunk_done(1, 5 * MS);
        assert_eq!(pace.size(), FIRST_CHUNK);
    }

    #[test]
    fn rest_follows_from_the_duty_cycle() {
        assert_eq!(pace(MS, 1, 0.2).rest(10 * MS), 40 * MS);
        assert_eq!(pace(MS, 1, 0.5).rest(10 * MS), 10 * MS);
        assert_eq!(pace(MS, 1, 1.0).rest(10 * MS), Duration::ZERO);
        assert_eq!(pace(MS, 1, 0.001).rest(10_000 * MS), LONGEST_REST);
    }

    #[test]
    fn size_follows_a_drifting_cost() {
        let mut pace = pace(10 * MS, 100_000, 0.2);
        let mut took = Vec::new();
        for n in 0..2_000 {
            // The cost varies by ±70 % over two hundred chunks.
            let row = 10.0 * (1.0 + 0.7 * (f64::from(n) * std::f64::consts::TAU / 200.0).sin());
            let elapsed = Duration::from_secs_f64(row * 1e-6 * f64::from(pace.size()));
            took.push(elapsed);
            pace.chunk_done(u64::from(pace.size()), elapsed);
        }
        let mean = took.iter().skip(200).sum::<Duration>() / 1_800;
        assert!((9 * MS..11 * MS).contains(&mean), "{mean:?}");
    }

    proptest! {
        #[test]
        fn size_stays_within_its_limits_and_at_most_doubles(
            max_chunk in 1_u32..100_000,
            chunk_time in 1_u64..10_000,
            events in prop::collection::vec((any::<bool>(), 0_u64..200_000, 0_u64..100_000_000), 1..50),
        ) {
            let mut pace = pace(Duration::from_millis(chunk_time), max_chunk, 0.2);
            prop_assert!((1..=max_chunk).contains(&pace.size()));
            for (timed_out, rows, micros) in events {
                let before = pace.size();
                if timed_out {
                    pace.chunk_timed_out();
                } else {
                    pace.chunk_done(rows, Duration::from_micros(micros));
                }
                prop_assert!((1..=max_chunk).contains(&pace.size()));
                prop_assert!(pace.size() <= before.saturating_mul(2));
            }
        }
    }
}
