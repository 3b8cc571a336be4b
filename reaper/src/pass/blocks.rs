//! Computes the ranges of blocks for a scan in *heap order*, which reads every block of a table
//! once. This module does no I/O.

use crate::sql::query::Text;
use crate::sql::{Cursor, KeyRange};
use crate::time::as_f64;

/// The extent of a scan in heap order, and the density of due rows in its blocks.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    /// The number of blocks of the table when the scan began. The scan ignores blocks that are
    /// added later, because their rows are not due yet.
    end: u64,
    /// A moving average of the number of due rows per block.
    density: f64,
    /// The number of rows per block, due or not, according to the statistics. `None` if the table
    /// has no statistics.
    rows: Option<f64>,
    /// The highest number of due rows per block in any key range so far.
    densest: f64,
}

/// A margin for ranges of blocks with more due rows per block than the average.
const HEADROOM: f64 = 1.25;

/// The weight of the newest key range in the moving average. It applies if the density of this
/// range is lower than the average.
const NEWEST: f64 = 0.3;

impl Blocks {
    pub(crate) fn new(end: u64, rows: Option<f64>) -> Self {
        Self { end, density: 0.0, rows, densest: 0.0 }
    }

    /// Returns how many blocks are expected to contain at most `rows` rows, due or not. A statement
    /// on so many blocks needs no LIMIT. Returns `None` if the number of rows per block is unknown.
    pub(crate) fn without_limit(&self, rows: u32) -> Option<u32> {
        let fitting = f64::from(rows) / (self.rows?.max(self.densest) * HEADROOM);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        let blocks = fitting as u32;
        Some(blocks).filter(|blocks| *blocks > 0)
    }

    /// Returns the key range of the whole table.
    pub(crate) fn whole(&self) -> KeyRange {
        KeyRange { low: Some(cursor(0)), high: Some(cursor(self.end)) }
    }

    /// Returns the end of the next key range, and the number of blocks in this range. The range has
    /// `blocks` blocks, or fewer if these are expected to contain more than `rows` due rows. If the
    /// end is `None`, the range extends to the end of `ahead`.
    pub(crate) fn reach(&self, ahead: &KeyRange, blocks: u32, rows: u64) -> (Option<Cursor>, u64) {
        let fitting = as_f64(rows) / self.density;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, as intended; with a density of 0, any number fits"
        )]
        let blocks = u64::from(blocks).min(fitting as u64).max(1);
        let low = ahead.low.as_ref().map_or(0, block);
        let high = ahead.high.as_ref().map_or(self.end, block);
        let left = high.saturating_sub(low);
        if blocks < left { (Some(cursor(low + blocks)), blocks) } else { (None, left) }
    }

    /// Records that `blocks` blocks had `rows` due rows, or more than `rows` if `full` is `true`.
    pub(crate) fn seen(&mut self, blocks: u64, rows: u64, full: bool) {
        let newest = as_f64(rows) / as_f64(blocks.max(1)) * if full { 2.0 } else { 1.0 };
        self.densest = self.densest.max(newest);
        let smoothed = self.density + NEWEST * (newest - self.density);
        // A higher density takes effect at once, so that the next key range does not again contain
        // more due rows than a chunk may have.
        self.density = smoothed.max(newest);
    }

    /// Returns the number of due rows that are expected in `blocks` blocks.
    pub(crate) fn rows(&self, blocks: u32) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        let rows = (f64::from(blocks) * self.density).ceil() as u32;
        rows
    }
}

/// Returns a cursor at the beginning of a block.
fn cursor(block: u64) -> Cursor {
    vec![Text(format!("({block},0)"))]
}

fn block(cursor: &Cursor) -> u64 {
    let number = |text: &Text| text.0.strip_prefix('(')?.split(',').next()?.parse().ok();
    cursor.first().and_then(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Scans blocks with the given numbers of due rows. Returns the number of due rows in each key
    /// range.
    fn walk(rows: &[u64], blocks: u32, most: u64) -> Vec<u64> {
        let mut scan_order = Blocks::new(rows.len() as u64, None);
        let (mut ahead, mut from, mut chunks) = (scan_order.whole(), 0, Vec::new());
        loop {
            let (reached, taken) = scan_order.reach(&ahead, blocks, most);
            let to = from + usize::try_from(taken).unwrap();
            let due = rows[from..to].iter().sum();
            chunks.push(due);
            scan_order.seen(taken, due, false);
            match reached {
                Some(cursor) => ahead.low = Some(cursor),
                None => return chunks,
            }
            from = to;
        }
    }

    proptest! {
        #[test]
        fn scan_visits_each_block_once(rows in prop::collection::vec(0_u64..200, 0..500), blocks in 1_u32..100, most in 1_u64..1000) {
            prop_assert_eq!(walk(&rows, blocks, most).iter().sum::<u64>(), rows.iter().sum::<u64>());
        }
    }

    #[test]
    fn key_ranges_shrink_where_blocks_are_dense() {
        let chunks = walk(&[50; 200], 100, 500);
        // The density is unknown for the first key range.
        assert_eq!(chunks[0], 5_000);
        assert!(chunks[1..].iter().all(|due| *due <= 500), "{chunks:?}");
    }

    #[test]
    fn without_limit_all_rows_count_as_due() {
        assert_eq!(Blocks::new(100, None).without_limit(5_000), None);
        let mut scan_order = Blocks::new(100, Some(20.0));
        scan_order.seen(10, 20, false);
        assert_eq!(scan_order.without_limit(5_000), Some(200));
        scan_order.seen(10, 400, false);
        assert_eq!(scan_order.without_limit(5_000), Some(100));
        assert_eq!(scan_order.without_limit(10), None, "one block already exceeds the limit");
    }

    #[test]
    fn full_key_range_is_retried_shorter() {
        let mut scan_order = Blocks::new(100, None);
        scan_order.seen(10, 500, true);
        assert_eq!(scan_order.reach(&scan_order.whole(), 100, 500), (Some(cursor(5)), 5));
    }
}
