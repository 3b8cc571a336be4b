//! A pass: one target, one reason, from the oldest row to the cutoff, stretch by stretch.
//!
//! For each stretch the index is asked where it ends (the *probe*), then what is due in it and not
//! locked is deleted by one statement, which is one transaction. The watermark advances to what was
//! examined, deleted or not, so that the cost of a chunk does not grow with what went before it.
//! Measured on 300,000 sessions in chunks of 1,000: 500 to 510 thousand rows a second; the same
//! with one statement that materialises the stretch 410 to 440; a `LIMIT` inside the locking select
//! 500 to 550, but it examines without a bound where many rows are locked.
//!
//! In the order of the heap a stretch is a range of blocks, and nobody has to be asked where it
//! ends.
//!
//! Rows that were locked are counted, and their stretches looked at once more when the pass has
//! come to its end.

use std::time::{Duration, Instant};

use super::backoff;
use super::blocks::Blocks;
use super::db_error::{Bound, DbError};
use super::pace::{Most, Pace, PaceLimits};
use super::refused::Refused;
use super::report::milliseconds;
use super::scan_order::{self, TableStatistics};
use super::sql::{Around, Cursor, KeyRange, LockWait, PassSql};
use super::stop_reason::StopReason;
use super::target::Order;
use super::worker::Worker;
use super::writers::Writers;
use crate::metrics::{self, ChunkOutcome};

/// Stretches with locked rows that are remembered one by one. Beyond that the last one is made
/// longer: memory does not grow with the backlog, and the second look examines more than it would
/// have to.
const REMEMBERED: usize = 64;

/// How often a single row is tried whose deletion waits for a lock, and how many such rows in a row
/// are passed over: more of them are a lock on a whole table.
const ROW_TRIES: u32 = 3;
const ROWS_SKIPPED: u32 = 5;

/// What a pass has done; right also when it was cut short.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) deleted: u64,
    /// Rows of the target's children.
    pub(super) children: u64,
    pub(super) chunks: u64,
    /// Of all chunks together, and of the longest, as the metrics have it.
    pub(super) chunk_time: Duration,
    pub(super) longest_chunk: Duration,
    pub(super) skipped_locked: u64,
    /// Due rows that were still held, or there, at the second look.
    pub(super) left: u64,
    /// Rows may have moved out of the way: what remains has to be counted.
    pub(super) uncertain: bool,
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.children += other.children;
        self.chunks += other.chunks;
        self.chunk_time += other.chunk_time;
        self.longest_chunk = self.longest_chunk.max(other.longest_chunk);
        self.skipped_locked += other.skipped_locked;
        self.left += other.left;
        self.uncertain |= other.uncertain;
    }
}

/// How a pass treats rows that others hold, and what it has seen of them so far.
pub(super) struct LockStrategy {
    /// Locked rows are skipped from the start or since a chunk waited in vain for one.
    pub(super) skips_locked: bool,
    /// A trigger or a rule may keep rows: that nobody held one does not prove that all were deleted.
    pub(super) trigger: bool,
    /// Who was writing after the last chunk.
    pub(super) writers: Option<Writers>,
    /// Rows in a row that were left because something that depends on them is locked.
    pub(super) skipped_in_a_row: u32,
    /// Rows that have the same due time as the last one of the chunk before.
    pub(super) at_one_time: u32,
}

/// One target, one reason, one table.
pub(super) struct Pass<'p, 'w> {
    pub(super) target: &'p str,
    pub(super) reason: &'p str,
    pub(super) sql: PassSql,
    /// The blocks of a pass in heap order; `None` in index order.
    pub(super) blocks: Option<Blocks>,
    /// Whether the pass may continue in heap order if too many rows have the same due time.
    pub(super) may_shift: bool,
    pub(super) limits: PaceLimits,
    /// The size of a chunk: in rows, and in heap order in blocks.
    pub(super) pace: Pace,
    /// The largest number of rows in a chunk of blocks.
    pub(super) most: Most,
    pub(super) worker: &'p mut Worker<'w>,
    pub(super) tally: Tally,
    /// Blocks that the server reads to find the first row in index order; `None` if that was not
    /// measured.
    pub(super) blocks_to_first_row: Option<u64>,
    pub(super) locks: LockStrategy,
    /// The statements around each chunk.
    pub(super) around: Around,
    /// Groups with a row that somebody held. They are not tried again.
    pub(super) refused: Refused,
    /// A group of the last key range is too large to be locked row by row.
    pub(super) large_group: bool,
}

/// What is known of a pass before it begins.
pub(super) struct PassPlan<'p> {
    pub(super) target: &'p str,
    pub(super) reason: &'p str,
    /// In the order in which the pass goes.
    pub(super) sql: PassSql,
    pub(super) statistics: TableStatistics,
    /// Whether the index identifies each row.
    pub(super) has_key: bool,
    /// The configuration demands this order.
    pub(super) fixed_order: bool,
    pub(super) limits: PaceLimits,
    pub(super) blocks_to_first_row: Option<u64>,
}

impl<'p, 'w> Pass<'p, 'w> {
    pub(super) fn new(plan: PassPlan<'p>, worker: &'p mut Worker<'w>) -> Self {
        let PassPlan { target, reason, sql, statistics, has_key, fixed_order, limits, .. } = plan;
        let in_heap_order = sql.order == Order::Heap;
        let blocks =
            in_heap_order.then(|| Blocks::new(statistics.blocks, statistics.rows_a_block()));
        let locks = LockStrategy {
            // A condition that looks at other rows would be evaluated before the wait for a row, and
            // rows of one time without a key cannot be told apart.
            skips_locked: sql.only.is_some() || statistics.trigger || !(in_heap_order || has_key),
            trigger: statistics.trigger,
            writers: None,
            skipped_in_a_row: 0,
            at_one_time: 0,
        };
        Self {
            target,
            reason,
            around: sql.around(),
            may_shift: !(fixed_order || in_heap_order) && (!has_key || statistics.ties),
            sql,
            blocks,
            limits,
            pace: if in_heap_order { Pace::of_blocks(limits) } else { Pace::new(limits) },
            most: Most::new(limits.max_chunk),
            worker,
            tally: Tally::default(),
            blocks_to_first_row: plan.blocks_to_first_row,
            locks,
            refused: Refused::none(),
            large_group: false,
        }
    }
}

/// A chunk that was committed.
pub(super) struct Chunk {
    /// Where its stretch began.
    pub(super) low: Option<Cursor>,
    pub(super) next: Next,
    /// Rows are due in it that were not deleted.
    pub(super) left_some: bool,
}

/// What comes after a chunk.
pub(super) enum Next {
    /// What lies behind its end.
    After(Cursor),
    /// More of the same stretch.
    Same,
    /// Nothing.
    End,
    /// The same from the beginning, in the order of the heap.
    Shift,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Initial,
    Retry,
}

impl Pass<'_, '_> {
    /// Works until nothing is left to examine.
    pub(super) async fn work(&mut self) -> Result<(), StopReason> {
        self.locks.writers = Some(self.worker.connection.look().await?);
        let mut skipped = self.walk(self.whole(), Attempt::Initial).await?;
        if skipped.is_none() {
            self.shift().await?;
            skipped = self.walk(self.whole(), Attempt::Initial).await?;
        }
        for range in skipped.unwrap_or_default() {
            self.walk(range, Attempt::Retry).await?;
        }
        Ok(())
    }

    fn whole(&self) -> KeyRange {
        self.blocks.as_ref().map(Blocks::whole).unwrap_or_default()
    }

    /// From the order of the index into that of the heap.
    async fn shift(&mut self) -> Result<(), StopReason> {
        tracing::info!(
            event = "heap_order_started",
            target_table = self.target,
            reason = self.reason,
            "more rows share one timestamp than fit in a chunk; continuing in heap order"
        );
        let connection = &self.worker.connection;
        let blocks = scan_order::blocks(&connection.client, self.sql.oid);
        let blocks = connection.deadline.with(1, blocks).await?;
        self.blocks = Some(Blocks::new(blocks, None));
        self.pace = Pace::of_blocks(self.limits);
        self.sql.order = Order::Heap;
        self.may_shift = false;
        // They are come to again.
        self.tally.skipped_locked = 0;
        Ok(())
    }

    /// Walks through a stretch of any length, and returns the stretches in which something due was
    /// left; `None` when it has to be walked through in the other order.
    async fn walk(
        &mut self,
        mut ahead: KeyRange,
        attempt: Attempt,
    ) -> Result<Option<Vec<KeyRange>>, StopReason> {
        let mut skipped: Vec<KeyRange> = Vec::new();
        loop {
            let chunk = self.chunk(&ahead, attempt).await?;
            if chunk.left_some {
                let high = match &chunk.next {
                    Next::After(mark) => Some(mark.clone()),
                    _ => ahead.high.clone(),
                };
                if skipped.len() < REMEMBERED {
                    skipped.push(KeyRange { low: chunk.low, high });
                } else if let Some(last) = skipped.last_mut() {
                    last.high = high;
                }
            }
            match chunk.next {
                Next::After(mark) => ahead.low = Some(mark),
                Next::Same => {}
                Next::End => return Ok(Some(skipped)),
                Next::Shift => return Ok(None),
            }
        }
    }

    /// Takes the next chunk of what lies ahead, in as many tries as it needs.
    async fn chunk(&mut self, ahead: &KeyRange, attempt: Attempt) -> Result<Chunk, StopReason> {
        let (mut backoff, mut at_one_row) = (backoff::of_a_chunk(), 0);
        loop {
            self.worker.may_go_on().await?;
            let (began, gone) = (Instant::now(), self.gone());
            let mut tried = self.attempt(ahead, attempt).await;
            if matches!(tried, Err(DbError::Timeout(Bound::Lock)))
                && self.lock_wait() == LockWait::Wait
            {
                // No bound of the configuration's has struck: the same at once, leaving what is
                // held.
                tracing::debug!(
                    event = "skip_locked_started",
                    target_table = self.target,
                    reason = self.reason,
                    "rows are locked; skipping locked rows from now on"
                );
                self.locks.skips_locked = true;
                tried = self.attempt(ahead, attempt).await;
            }
            let error = match tried {
                Ok(chunk) => {
                    self.locks.skipped_in_a_row = 0;
                    self.most.chunk_done();
                    // One that found nothing to delete says nothing about the next that does.
                    if self.gone() > gone {
                        self.worker.consecutive_losses = 0;
                    }
                    return Ok(chunk);
                }
                Err(error) => error,
            };
            if matches!(error, DbError::Timeout(_)) {
                metrics::chunk(self.target, ChunkOutcome::TimedOut);
            }
            at_one_row += u32::from(self.smallest() && error == DbError::Timeout(Bound::Lock));
            if at_one_row >= ROW_TRIES
                && self.locks.skipped_in_a_row < ROWS_SKIPPED
                && let Some(chunk) = self.skip_one(ahead, attempt).await?
            {
                return Ok(chunk);
            }
            let retry = match again(error, self.smallest(), &mut backoff) {
                Ok(again) => again,
                Err(reason) => {
                    metrics::chunk(self.target, ChunkOutcome::Failed);
                    return Err(reason);
                }
            };
            if retry.smaller {
                self.halve();
            }
            self.worker.rest = self.pace.rest(began.elapsed()).max(retry.time);
            tracing::warn!(
                event = "chunk_retried",
                target_table = self.target,
                reason = self.reason,
                why = retry.why,
                next_rows = self.next_rows(),
                in_ms = milliseconds(self.worker.rest),
                "retrying chunk"
            );
            metrics::chunk(self.target, ChunkOutcome::Retried);
        }
    }

    /// A chunk was too much. Below a block there are still its rows.
    fn halve(&mut self) {
        if self.blocks.is_some() && self.pace.size() <= 1 {
            self.most.halve();
        } else {
            self.pace.chunk_timed_out();
        }
    }

    /// A chunk can be no smaller.
    fn smallest(&self) -> bool {
        self.pace.size() <= 1 && (self.blocks.is_none() || self.most.rows() <= 1)
    }

    /// Rows that the next chunk asks for.
    pub(super) fn next_rows(&self) -> u32 {
        match &self.blocks {
            None => self.pace.size(),
            Some(blocks) => blocks.rows(self.pace.size()).min(self.most.rows()),
        }
    }

    /// Leaves one row where it is, in the order of the heap one block: it is free, but something
    /// that goes with it is not (a cascade to a row that somebody holds). It counts as locked,
    /// and gets its second look. `None` at the end of what lies ahead.
    async fn skip_one(
        &mut self,
        ahead: &KeyRange,
        attempt: Attempt,
    ) -> Result<Option<Chunk>, StopReason> {
        let next = match &self.blocks {
            Some(blocks) => blocks.reach(ahead, 1, 1).0.map_or(Next::End, Next::After),
            None => match self.mark_at(ahead, 0).await {
                Ok(Some(mark)) => Next::After(mark),
                // Nothing is there; or not even the index can be read: it is the table that
                // somebody holds.
                Ok(None) | Err(DbError::Timeout(_)) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        self.locks.skipped_in_a_row += 1;
        match attempt {
            Attempt::Initial => {
                self.tally.skipped_locked += 1;
                metrics::skipped_locked(self.target, 1);
                tracing::warn!(
                    event = "dependent_row_locked",
                    target_table = self.target,
                    reason = self.reason,
                    "a dependent row is locked"
                );
            }
            Attempt::Retry => self.tally.left += 1,
        }
        Ok(Some(Chunk { low: ahead.low.clone(), next, left_some: attempt == Attempt::Initial }))
    }
}

/// How a chunk is tried again.
struct Again {
    why: String,
    /// How long to stand back before.
    time: Duration,
    /// With half of it.
    smaller: bool,
}

/// What may go better the next time: a bound that struck, or two transactions that could not both
/// go on.
fn again(
    error: DbError,
    smallest: bool,
    backoff: &mut impl Iterator<Item = Duration>,
) -> Result<Again, StopReason> {
    match error {
        DbError::Timeout(Bound::Statement) if smallest => Err(StopReason::Failed(
            "one row takes longer than STATEMENT_TIMEOUT: look for a slow trigger on delete, a foreign key to this table \
             without an index on its column, or dead rows that VACUUM could not remove yet"
                .to_owned(),
        )),
        // It fits some time, for each try is half of the last.
        DbError::Timeout(bound @ Bound::Statement) => {
            Ok(Again { why: format!("{bound} reached"), time: Duration::ZERO, smaller: true })
        }
        DbError::Timeout(bound @ Bound::Lock) => match backoff.next() {
            Some(time) => Ok(Again { why: format!("{bound} reached"), time, smaller: true }),
            None => Err(StopReason::Failed(format!(
                "LOCK_TIMEOUT reached {} times in a row: somebody holds a lock on the table or on rows that refer to it; \
                 see pg_locks, or raise LOCK_TIMEOUT",
                backoff::CHUNK_TRIES + 1
            ))),
        },
        DbError::Conflict(why) => match backoff.next() {
            Some(time) => Ok(Again { why, time, smaller: false }),
            None => Err(StopReason::Failed(format!("{} times in a row: {why}", backoff::CHUNK_TRIES + 1))),
        },
        error => Err(error.into()),
    }
}
