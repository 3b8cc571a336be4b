//! How many rows a chunk takes, and how long the database is left alone after it. Pure: time comes
//! in as a parameter.

use std::time::Duration;

/// The first chunk of a pass: a few milliseconds even where a row costs fifty times as much as
/// here.
const FIRST_CHUNK: u32 = 100;

/// The same where chunks are counted in blocks: of some dozen rows each.
const FIRST_BLOCKS: u32 = 2;

/// The weight of the newest chunk in the smoothed cost of a row: three chunks forget half of what
/// was before.
const NEWEST: f64 = 0.2;

/// However long a chunk took and however small the duty cycle: a run that rests longer looks hung,
/// and comes near the server's bound on idle connections.
pub(crate) const LONGEST_REST: Duration = Duration::from_mins(1);

/// What the pace follows.
#[derive(Clone, Copy, Debug)]
pub struct PaceLimits {
    /// How long a chunk should take.
    pub chunk_time: Duration,
    /// Rows in a chunk at the most.
    pub max_chunk: u32,
    /// The share of time in which the reaper works: over 0, up to 1.
    pub duty_cycle: f64,
}

/// The pace of one pass.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    limits: PaceLimits,
    size: u32,
    /// Seconds a row, smoothed.
    cost: Option<f64>,
}

impl Pace {
    /// In rows.
    pub(super) fn new(limits: PaceLimits) -> Self {
        Self { limits, size: FIRST_CHUNK.clamp(1, limits.max_chunk), cost: None }
    }

    /// In blocks.
    pub(super) fn of_blocks(limits: PaceLimits) -> Self {
        Self { size: FIRST_BLOCKS.clamp(1, limits.max_chunk), ..Self::new(limits) }
    }

    /// Rows that the next chunk should take.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// A chunk of `rows` took `elapsed`: the next has the size that should take the wanted time, at
    /// most twice this one's.
    pub(super) fn chunk_done(&mut self, rows: u64, elapsed: Duration) {
        // What a short chunk costs is mostly its round trips; it says little about rows.
        if rows.saturating_mul(2) >= u64::from(self.size) {
            self.learn(rows, elapsed);
        }
    }

    /// As [`Pace::chunk_done`], whatever the size of the chunk.
    pub(super) fn learn(&mut self, rows: u64, elapsed: Duration) {
        if rows == 0 {
            return;
        }
        let newest = elapsed.as_secs_f64() / as_f64(rows);
        let cost = self.cost.map_or(newest, |cost| cost + NEWEST * (newest - cost));
        self.cost = Some(cost);
        self.size =
            self.fitting(cost).min(self.size.saturating_mul(2)).clamp(1, self.limits.max_chunk);
    }

    /// A chunk hit a time bound: half of it, and from there on as if a row cost what would make
    /// that the right size.
    pub(super) fn chunk_timed_out(&mut self) {
        self.size = (self.size / 2).max(1);
        self.cost = Some(self.limits.chunk_time.as_secs_f64() / f64::from(self.size));
    }

    /// How long to leave the database alone after work of `elapsed`, so that work takes its share
    /// of the time.
    pub(super) fn rest(&self, elapsed: Duration) -> Duration {
        let table_share = self.limits.duty_cycle;
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - table_share) / table_share)
            .unwrap_or(LONGEST_REST)
            .min(LONGEST_REST)
    }

    fn fitting(&self, cost: f64) -> u32 {
        let rows = self.limits.chunk_time.as_secs_f64() / cost;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, which is what is meant; both operands are positive"
        )]
        let rows = rows as u32;
        rows
    }
}

/// Rows in a chunk at the most, where its size is not in rows: fewer for a while when even so few
/// were too many.
#[derive(Clone, Debug)]
pub(super) struct Most {
    limit: u32,
    rows: u32,
}

impl Most {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, rows: limit }
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    pub(super) fn halve(&mut self) {
        self.rows = (self.rows / 2).max(1);
    }

    pub(super) fn chunk_done(&mut self) {
        self.rows = self.rows.saturating_mul(2).min(self.limit);
    }
}

#[allow(clippy::cast_precision_loss, reason = "rows of one chunk, far below 2^53")]
fn as_f64(rows: u64) -> f64 {
    rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(chunk_time: Duration, max_chunk: u32, duty_cycle: f64) -> Pace {
        Pace::new(PaceLimits { chunk_time, max_chunk, duty_cycle })
    }

    /// Feeds chunks that cost `fixed` and `row` each until the size has settled.
    fn settle(pace: &mut Pace, fixed: Duration, row: Duration) {
        for _ in 0..200 {
            let size = pace.size();
            pace.chunk_done(u64::from(size), fixed + row * size);
        }
    }

    #[test]
    fn a_chunk_settles_at_the_wanted_time() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        assert!((950..=1_000).contains(&pace.size()), "{}", pace.size());
    }

    #[test]
    fn a_chunk_settles_at_the_wanted_time_with_a_fixed_cost_in_it() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, 2 * MS, Duration::from_micros(10));
        assert!((750..=800).contains(&pace.size()), "{}", pace.size());
    }

    #[test]
    fn one_slow_chunk_does_not_throw_it_off() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        let before = pace.size();
        pace.chunk_done(u64::from(before), 20 * MS);
        assert!(pace.size() > before * 3 / 4, "{before} → {}", pace.size());
    }

    #[test]
    fn a_timeout_halves_and_good_chunks_recover() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        let before = pace.size();
        pace.chunk_timed_out();
        assert_eq!(pace.size(), before / 2);
        settle(&mut pace, Duration::ZERO, Duration::from_micros(10));
        assert!(pace.size() >= before * 9 / 10, "{}", pace.size());
    }

    #[test]
    fn a_short_chunk_at_the_end_says_nothing_about_the_size() {
        let mut pace = pace(10 * MS, 5_000, 0.2);
        pace.chunk_done(1, 5 * MS);
        assert_eq!(pace.size(), FIRST_CHUNK);
    }

    #[test]
    fn the_rest_makes_the_duty_cycle_true() {
        assert_eq!(pace(MS, 1, 0.2).rest(10 * MS), 40 * MS);
        assert_eq!(pace(MS, 1, 0.5).rest(10 * MS), 10 * MS);
        assert_eq!(pace(MS, 1, 1.0).rest(10 * MS), Duration::ZERO);
        assert_eq!(pace(MS, 1, 0.001).rest(10_000 * MS), LONGEST_REST);
    }

    #[test]
    fn a_cost_that_drifts_is_followed() {
        let mut pace = pace(10 * MS, 100_000, 0.2);
        let mut took = Vec::new();
        for n in 0..2_000 {
            // Up and down by 70 % in two hundred chunks.
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
        fn the_size_stays_in_its_bounds_and_at_most_doubles(
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
