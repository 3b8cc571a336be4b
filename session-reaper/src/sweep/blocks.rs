//! The order of the heap: a range of blocks at a time. Pure.

use super::query::Text;
use super::sql::{Cursor, KeyRange};

/// How far a walk in the heap's order goes, and how many due rows a block of it has.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    /// The table's blocks when the walk began: rows that come later are not due yet.
    end: u64,
    /// Due rows a block, of late.
    density: f64,
    /// Rows a block, due or not, by the statistics; `None` when there are none.
    rows: Option<f64>,
    /// The most due rows a block of any stretch.
    densest: f64,
}

/// Room for stretches that are denser than the average.
const HEADROOM: f64 = 1.25;

/// The weight of the newest stretch in the density, when it has fewer due rows than those before.
const NEWEST: f64 = 0.3;

impl Blocks {
    pub(super) fn new(end: u64, rows: Option<f64>) -> Self {
        Self { end, density: 0.0, rows, densest: 0.0 }
    }

    /// As many blocks as should have no more than so many rows, all of them due: what a statement
    /// without a LIMIT may be given. `None` when it is not known what a block has.
    pub(super) fn without_limit(&self, rows: u32) -> Option<u32> {
        let fitting = f64::from(rows) / (self.rows?.max(self.densest) * HEADROOM);
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        let blocks = fitting as u32;
        Some(blocks).filter(|blocks| *blocks > 0)
    }

    /// All of them.
    pub(super) fn whole(&self) -> KeyRange {
        KeyRange { low: Some(mark(0)), high: Some(mark(self.end)) }
    }

    /// Where a stretch of so many blocks ends, or of fewer when they would have more due rows than
    /// `rows`; and how many they are. Without an end it reaches to the end of what lies ahead.
    pub(super) fn reach(&self, ahead: &KeyRange, blocks: u32, rows: u64) -> (Option<Cursor>, u64) {
        let fitting = as_f64(rows) / self.density;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, which is what is meant; a density of 0 lets any number fit"
        )]
        let blocks = u64::from(blocks).min(fitting as u64).max(1);
        let low = ahead.low.as_ref().map_or(0, block);
        let high = ahead.high.as_ref().map_or(self.end, block);
        let left = high.saturating_sub(low);
        if blocks < left { (Some(mark(low + blocks)), blocks) } else { (None, left) }
    }

    /// So many blocks had so many due rows; at least, when `full`.
    pub(super) fn seen(&mut self, blocks: u64, rows: u64, full: bool) {
        let newest = as_f64(rows) / as_f64(blocks.max(1)) * if full { 2.0 } else { 1.0 };
        self.densest = self.densest.max(newest);
        let smoothed = self.density + NEWEST * (newest - self.density);
        // Denser than expected counts at once: the next stretch is not to have more than a chunk
        // again.
        self.density = smoothed.max(newest);
    }

    /// Due rows that so many blocks should have.
    pub(super) fn rows(&self, blocks: u32) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates"
        )]
        let rows = (f64::from(blocks) * self.density).ceil() as u32;
        rows
    }
}

/// The beginning of a block.
fn mark(block: u64) -> Cursor {
    vec![Text(format!("({block},0)"))]
}

fn block(mark: &Cursor) -> u64 {
    let number = |text: &Text| text.0.strip_prefix('(')?.split(',').next()?.parse().ok();
    mark.first().and_then(number).unwrap_or(0)
}

#[allow(clippy::cast_precision_loss, reason = "blocks and rows of a chunk, far below 2^53")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Walks over blocks that have so many due rows each; returns what each stretch had.
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
                Some(mark) => ahead.low = Some(mark),
                None => return chunks,
            }
            from = to;
        }
    }

    proptest! {
        #[test]
        fn a_walk_comes_to_each_block_once_and_ends(rows in prop::collection::vec(0_u64..200, 0..500), blocks in 1_u32..100, most in 1_u64..1000) {
            prop_assert_eq!(walk(&rows, blocks, most).iter().sum::<u64>(), rows.iter().sum::<u64>());
        }
    }

    #[test]
    fn stretches_get_shorter_where_blocks_are_full_of_due_rows() {
        let chunks = walk(&[50; 200], 100, 500);
        // The first cannot know.
        assert_eq!(chunks[0], 5_000);
        assert!(chunks[1..].iter().all(|due| *due <= 500), "{chunks:?}");
    }

    #[test]
    fn without_a_limit_blocks_are_taken_as_if_all_of_their_rows_were_due() {
        assert_eq!(Blocks::new(100, None).without_limit(5_000), None);
        let mut scan_order = Blocks::new(100, Some(20.0));
        scan_order.seen(10, 20, false);
        assert_eq!(scan_order.without_limit(5_000), Some(200));
        scan_order.seen(10, 400, false);
        assert_eq!(scan_order.without_limit(5_000), Some(100));
        assert_eq!(scan_order.without_limit(10), None, "not even one");
    }

    #[test]
    fn a_stretch_that_was_full_is_tried_again_shorter() {
        let mut scan_order = Blocks::new(100, None);
        scan_order.seen(10, 500, true);
        assert_eq!(scan_order.reach(&scan_order.whole(), 100, 500), (Some(mark(5)), 5));
    }
}
