//! The pace of a pass: the number of rows in a chunk (the rows that one transaction deletes) and
//! the idle time after it. This module does no I/O and reads no clock: elapsed times are
//! parameters.

use crate::time::as_f64;
use std::collections::VecDeque;
use std::time::Duration;

/// The number of rows in the first chunk of a pass. Even if deleting a row takes fifty times as
/// long as in the benchmarks, such a chunk takes only a few milliseconds.
const FIRST_CHUNK: u32 = 100;

/// The number of blocks in the first chunk, if chunks are counted in blocks. A block contains a few
/// dozen rows.
const FIRST_BLOCKS: u32 = 2;

/// The minimum number of rows in a chunk, unless a chunk of this size takes too long.
const MIN_CHUNK: u32 = 100;

/// If a chunk of [`MIN_CHUNK`] rows would take at least this many times the desired duration,
/// chunks may be smaller than [`MIN_CHUNK`].
const TOO_LONG: u32 = 10;

/// The number of chunks after a timeout that may be smaller than [`MIN_CHUNK`].
const AFTER_TIMEOUT: u32 = 32;

/// If this number of consecutive chunks have the minimum size and are slow, the run logs a warning.
/// The first chunks of a pass are often slow, because their blocks are not in memory.
const SLOW: u32 = 16;

/// The weight of the newest chunk in the moving average of the cost per row. After three chunks,
/// the weight of all earlier chunks is about one half.
const NEWEST: f64 = 0.2;

/// One of this many chunks has only half of the rows, so that the fixed cost can be measured.
const MEASURED: u32 = 8;

/// The minimum ratio between the sizes of two consecutive chunks from which the fixed cost is
/// calculated.
const RATIO: f64 = 1.4;

/// The fixed cost is the median of this number of measurements.
const SAMPLES: usize = 5;

/// The maximum idle time after a chunk, regardless of the duration of the chunk and of the duty
/// cycle. If the idle time were longer, a run would appear to hang, and the server could end its
/// idle connection.
pub const LONGEST_REST: Duration = Duration::from_mins(1);

/// The limits for the size of chunks (transactions) and for the idle time between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PaceLimits {
    /// The desired duration of a chunk.
    pub chunk_time: Duration,
    /// The maximum number of rows in a chunk.
    pub max_chunk: u32,
    /// The duty cycle, which is the share of time in which the reaper works: greater than 0, at
    /// most 1.
    pub duty_cycle: f64,
}

/// The pace of one pass.
///
/// A chunk takes a fixed time, for its statements and round trips, plus a time per row. Only the
/// time for the rows is compared with the desired duration. Otherwise, if the fixed time alone were
/// longer than the desired duration, chunks would shrink to single rows, each of which would take
/// the fixed time.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    limits: PaceLimits,
    /// The minimum size, unless a chunk of this size takes too long.
    floor: u32,
    /// The size of a chunk whose rows take the desired duration.
    fitted: u32,
    /// The size of the next chunk: `fitted`, or less to measure the fixed cost.
    size: u32,
    /// The moving average of the cost of a row, in seconds.
    cost: Option<f64>,
    fixed: FixedCost,
    /// The number of chunks since the last measurement of the fixed cost.
    chunks: u32,
    /// The number of consecutive chunks of the minimum size that took longer than desired.
    slow: u32,
    just_slow: bool,
    /// The number of further chunks that may be smaller than the floor, because a timeout was
    /// reached.
    after_timeout: u32,
}

/// The fixed cost of a chunk, calculated from pairs of consecutive chunks of different sizes. Only
/// consecutive chunks are compared, because the cost of a row changes during a pass.
#[derive(Clone, Debug, Default)]
struct FixedCost {
    /// The size and the duration of the previous chunk.
    last: Option<(f64, f64)>,
    /// The last measurements, in seconds.
    samples: VecDeque<f64>,
}

impl FixedCost {
    fn chunk_done(&mut self, rows: f64, elapsed: f64) {
        let last = self.last.replace((rows, elapsed));
        let Some((last_rows, last_elapsed)) = last else { return };
        let ((small, short), (large, long)) = if rows < last_rows {
            ((rows, elapsed), (last_rows, last_elapsed))
        } else {
            ((last_rows, last_elapsed), (rows, elapsed))
        };
        if large < small * RATIO {
            return;
        }
        let row = ((long - short) / (large - small)).max(0.0);
        self.samples.push_back((short - row * small).clamp(0.0, short));
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Returns the median of the last measurements, in seconds.
    fn seconds(&self) -> f64 {
        let mut sorted: Vec<f64> = self.samples.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        // If the number of measurements is even, the lower of the two middle values is used,
        // because a fixed cost that is too high makes chunks too large.
        sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
    }
}

impl Pace {
    /// Creates a pace for a pass in index order, in which the size of a chunk is a number of rows.
    pub(crate) fn new(limits: PaceLimits) -> Self {
        Self::starting(limits, FIRST_CHUNK, MIN_CHUNK)
    }

    /// Creates a pace for a pass in heap order, in which the size of a chunk is a number of blocks.
    pub(crate) fn of_blocks(limits: PaceLimits) -> Self {
        Self::starting(limits, FIRST_BLOCKS, 1)
    }

    fn starting(limits: PaceLimits, size: u32, floor: u32) -> Self {
        let size = size.clamp(1, limits.max_chunk);
        Self {
            limits,
            floor: floor.clamp(1, limits.max_chunk),
            fitted: size,
            size,
            cost: None,
            fixed: FixedCost::default(),
            chunks: 0,
            slow: 0,
            just_slow: false,
            after_timeout: 0,
        }
    }

    /// Begins with `size`, which earlier passes found. If `size` is smaller than the default first
    /// size, begins with the default.
    pub(crate) fn starting_with(mut self, size: Option<u32>) -> Self {
        if let Some(size) = size {
            self.size = size.min(self.limits.max_chunk).max(self.size);
            self.fitted = self.size;
        }
        self
    }

    /// Replaces the limits. The next chunk has the size that fits the known cost of a row.
    pub(crate) fn set_limits(&mut self, limits: PaceLimits) {
        self.limits = limits;
        let fitting =
            self.cost.map_or(self.size, |cost| self.fitting(cost).max(self.floor_at(cost)));
        self.floor = self.floor.min(limits.max_chunk);
        self.size = fitting.min(self.size.saturating_mul(2)).clamp(1, limits.max_chunk);
        self.fitted = self.size;
    }

    /// Returns the size whose rows take the desired duration.
    pub(crate) fn fitted(&self) -> u32 {
        self.fitted
    }

    /// Returns the size of the next chunk.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// Returns `true` if several chunks in succession have just taken longer than desired, although
    /// they have the minimum size. Returns `true` only once for each such sequence.
    pub(crate) fn is_slow_at_the_floor(&mut self) -> bool {
        std::mem::take(&mut self.just_slow)
    }

    /// Records that a chunk of `rows` took `elapsed`. The next chunk gets the size whose rows are
    /// expected to take the desired duration, but at most twice the size of this chunk.
    pub(crate) fn chunk_done(&mut self, rows: u64, elapsed: Duration) {
        // The last chunk of a key range may be short. Such a chunk is ignored.
        if rows.saturating_mul(2) >= u64::from(self.size) {
            self.learn(rows, elapsed);
        }
    }

    /// Does the same as [`Pace::chunk_done`], which ignores chunks that are much smaller than
    /// intended, for a chunk of any size.
    pub(crate) fn learn(&mut self, rows: u64, elapsed: Duration) {
        if rows == 0 {
            return;
        }
        let (rows, elapsed) = (as_f64(rows), elapsed.as_secs_f64());
        self.fixed.chunk_done(rows, elapsed);
        let newest = (elapsed - self.fixed.seconds()).max(elapsed / 100.0) / rows;
        let cost = self.cost.map_or(newest, |cost| cost + NEWEST * (newest - cost));
        self.cost = Some(cost);
        self.after_timeout = self.after_timeout.saturating_sub(1);
        let most = self.size.saturating_mul(2).min(self.limits.max_chunk);
        self.fitted = self.fitting(cost).max(self.floor_at(cost)).clamp(1, most.max(1));
        let is_slow = self.fitted <= self.floor && elapsed > self.limits.chunk_time.as_secs_f64();
        self.slow = if is_slow { self.slow.saturating_add(1) } else { 0 };
        self.just_slow |= self.slow == SLOW;
        self.chunks += 1;
        let is_due = self.chunks >= MEASURED || (self.fixed.samples.is_empty() && self.chunks >= 2);
        // The fixed cost does not matter while the maximum number of rows takes less than desired.
        let measures = is_due && self.fitted < self.limits.max_chunk;
        self.size = if measures && self.fitted >= 4 {
            self.chunks = 0;
            self.fitted / 2
        } else {
            self.fitted
        };
    }

    /// Records that a chunk reached a timeout. Halves the size of the next chunk, and sets the cost
    /// per row to the value at which a chunk of the new size takes the desired duration.
    pub(crate) fn chunk_timed_out(&mut self) {
        self.fitted = (self.size / 2).max(1);
        self.size = self.fitted;
        self.cost = Some(self.limits.chunk_time.as_secs_f64() / f64::from(self.fitted));
        self.fixed = FixedCost::default();
        self.after_timeout = AFTER_TIMEOUT;
    }

    /// Returns the minimum size of a chunk if a row costs `cost` seconds.
    fn floor_at(&self, cost: f64) -> u32 {
        let elapsed = self.fixed.seconds() + cost * f64::from(self.floor);
        let most = (self.limits.chunk_time * TOO_LONG).as_secs_f64();
        if self.after_timeout == 0 && elapsed < most { self.floor } else { 1 }
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

/// The maximum number of rows in a chunk whose size is counted in blocks, or that contains a large
/// group. The maximum is halved if a chunk was too large, and doubles again with each completed
/// chunk, up to `limit`.
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
        assert!((950..=1_000).contains(&pace.fitted), "{}", pace.fitted);
    }

    #[test]
    fn fixed_cost_does_not_shrink_chunks() {
        for (fixed, expected) in [(2 * MS, 1_000), (8 * MS, 1_000), (40 * MS, 1_000)] {
            let mut pace = pace(10 * MS, 5_000, 0.2);
            settle(&mut pace, fixed, Duration::from_micros(10));
            let sizes = expected * 9 / 10..=expected * 11 / 10;
            assert!(sizes.contains(&pace.fitted), "{fixed:?}: {}", pace.fitted);
        }
    }

    #[test]
    fn fixed_cost_above_the_target_keeps_the_minimum_size() {
        let mut pace = pace(5 * MS, 5_000, 0.03);
        for _ in 0..100 {
            pace.chunk_done(
                u64::from(pace.size()),
                8 * MS + Duration::from_micros(45) * pace.size(),
            );
            assert!(pace.size() >= MIN_CHUNK / 2, "{}", pace.size());
        }
        assert!(pace.fitted >= MIN_CHUNK, "{}", pace.fitted);
    }

    #[test]
    fn slow_chunks_of_the_minimum_size_are_reported_once() {
        let mut pace = pace(5 * MS, 5_000, 0.03);
        let mut reports = 0;
        for _ in 0..100 {
            pace.chunk_done(u64::from(pace.size()), MS + Duration::from_micros(100) * pace.size());
            reports += u32::from(pace.is_slow_at_the_floor());
        }
        assert_eq!((pace.fitted, reports), (MIN_CHUNK, 1));
    }

    #[test]
    fn expensive_rows_shrink_chunks_below_the_minimum_size() {
        let mut pace = pace(5 * MS, 5_000, 0.03);
        settle(&mut pace, Duration::ZERO, 8 * MS);
        assert_eq!(pace.fitted, 1);
    }

    #[test]
    fn maximum_below_the_minimum_size_is_kept() {
        let mut pace = pace(5 * MS, 10, 0.03);
        settle(&mut pace, 8 * MS, Duration::from_micros(1));
        assert_eq!(pace.fitted, 10);
    }

    #[test]
    fn minimum_size_does_not_hold_after_a_timeout() {
        let mut pace = pace(5 * MS, 5_000, 0.03);
        for expected in [50, 25, 12, 6, 3, 1, 1] {
            pace.chunk_timed_out();
            assert_eq!(pace.size(), expected);
        }
    }

    #[test]
    fn noise_does_not_let_chunks_grow() {
        let mut pace = pace(10 * MS, 100_000, 0.2);
        let mut random = 1_u64;
        let mut took = Vec::new();
        for _ in 0..2_000 {
            // The cost of a row varies by a factor from 0.5 to 1.5. In about one of 32 chunks, the
            // cost is four times as high.
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let share = 0.5 + as_f64(random >> 40) / as_f64(1 << 24);
            let outlier = if random >> 59 == 0 { 4.0 } else { 1.0 };
            let row = Duration::from_secs_f64(1e-5 * share * outlier);
            let elapsed = MS + row * pace.size();
            took.push(elapsed);
            pace.chunk_done(u64::from(pace.size()), elapsed);
        }
        let mean = took.iter().skip(100).sum::<Duration>() / 1_900;
        assert!((7 * MS..16 * MS).contains(&mean), "{mean:?}");
    }

    #[test]
    fn one_slow_chunk_hardly_changes_the_size() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        let before = pace.fitted;
        pace.chunk_done(u64::from(before), 20 * MS);
        assert!(pace.fitted > before * 3 / 4, "{before} → {}", pace.fitted);
    }

    #[test]
    fn size_is_halved_after_a_timeout_and_recovers() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        let before = pace.size();
        pace.chunk_timed_out();
        assert_eq!(pace.size(), before / 2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        assert!(pace.fitted >= 900, "{}", pace.fitted);
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
