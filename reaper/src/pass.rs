//! A pass processes one table for one reason (a due column and a retention period), from the oldest
//! row to the cutoff (the time before which rows are due), one key range at a time.
//!
//! For each key range, a query called the *probe* reads the end of the range from the index. One
//! transaction, the *chunk*, then deletes the due rows in the range that are not locked. The
//! cursor, which is the position of the pass, moves to the end of the range, whether or not all of
//! its rows were deleted. Therefore, the cost of a chunk does not grow with the number of earlier
//! chunks.
//!
//! This method was compared with two others, with 300,000 sessions and chunks of 1,000 rows:
//!
//! - Reading the end of the range first, as described above, deleted 500,000 to 510,000 rows per
//!   second.
//! - One statement that materialized the range deleted 410,000 to 440,000 rows per second.
//! - A `LIMIT` in the locking SELECT deleted 500,000 to 550,000 rows per second, but examines an
//!   unbounded number of rows if many of them are locked.
//!
//! In heap order, a pass reads the table block by block: a key range is a range of blocks, and its
//! end is computed without a query.
//!
//! Locked rows are skipped and counted. At the end of the pass, the key ranges that contain such
//! rows are processed once more.

pub(crate) mod backoff;
pub(crate) mod blocks;
pub(crate) mod budget;
mod chunk;
mod dependents;
pub(crate) mod pace;
pub(crate) mod paces;
pub(crate) mod refused;
mod rejected;
pub(crate) mod scan_order;
pub(crate) mod watermarks;
pub(crate) mod writers;

use std::time::{Duration, Instant};

use crate::connection::db_error::{Bound, DbError};
use crate::observe::ChunkOutcome;
use crate::pass::blocks::Blocks;
use crate::pass::pace::{Most, Pace, PaceLimits};
use crate::pass::refused::Refused;
use crate::pass::rejected::Rejected;
use crate::pass::scan_order::TableStatistics;
use crate::pass::writers::Writers;
use crate::run::worker::Worker;
use crate::sql::{Around, Cursor, KeyRange, LockWait, PassSql};
use crate::stop_reason::StopReason;
use crate::target::Order;
use crate::time::milliseconds;

/// The maximum number of key ranges with locked rows that are remembered separately. If there are
/// more key ranges, the last remembered range is extended instead. Memory use therefore does not
/// grow with the number of locked rows, but the retry examines more rows than necessary.
const REMEMBERED: usize = 64;

/// The results of a pass. They are correct even if the pass was interrupted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) deleted: u64,
    /// The number of rows deleted from the target's `children` (tables that reference the target).
    pub(crate) children: u64,
    pub(crate) chunks: u64,
    /// The total duration of all chunks, as in the metrics. The next field is the duration of the
    /// longest chunk.
    pub(crate) chunk_time: Duration,
    pub(crate) longest_chunk: Duration,
    pub(crate) skipped_locked: u64,
    /// The number of due rows that were still not deleted when their key ranges were examined
    /// again, for example because they were still locked.
    pub(crate) left: u64,
    /// Whether due rows may be left that the pass did not examine. If so, the remaining rows must
    /// be counted.
    pub(crate) uncertain: bool,
    /// The number of due rows whose deletion a foreign key rejects. The next two fields are the
    /// numbers of due rows whose deletion fails because a trigger raises an error, or for another
    /// reason.
    pub(crate) held_by_foreign_keys: u64,
    pub(crate) held_by_triggers: u64,
    pub(crate) held_by_errors: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.deleted += other.deleted;
        self.children += other.children;
        self.chunks += other.chunks;
        self.chunk_time += other.chunk_time;
        self.longest_chunk = self.longest_chunk.max(other.longest_chunk);
        self.skipped_locked += other.skipped_locked;
        self.left += other.left;
        self.uncertain |= other.uncertain;
        self.held_by_foreign_keys += other.held_by_foreign_keys;
        self.held_by_triggers += other.held_by_triggers;
        self.held_by_errors += other.held_by_errors;
    }
}

/// Whether a pass skips locked rows, and what it has observed about locks so far.
pub(crate) struct LockStrategy {
    /// Whether locked rows are skipped. Some passes skip them from the start. All other passes
    /// begin to skip them when a chunk reaches the lock timeout.
    pub(crate) skips_locked: bool,
    /// Whether a trigger or a rule may prevent the deletion of rows. If so, the absence of locks
    /// does not prove that all rows were deleted.
    pub(crate) trigger: bool,
    /// Whether other transactions were writing after the last chunk; `None` if this is unknown.
    pub(crate) writers: Option<Writers>,
    /// The number of rows to skip in the next step if a row that depends on them is locked. This
    /// number grows with each consecutive step.
    pub(crate) next_step: u32,
    /// The approximate number of consecutive rows with the same due time, rounded to whole chunks.
    pub(crate) at_one_time: u32,
}

/// The state of a pass over one table, for one target and one reason.
pub(crate) struct Pass<'p, 'w> {
    pub(crate) target: &'p str,
    pub(crate) reason: &'p str,
    pub(crate) sql: PassSql,
    /// The blocks of a pass in heap order; `None` in index order.
    pub(crate) blocks: Option<Blocks>,
    /// Whether the pass may switch to heap order if too many rows have the same due time.
    pub(crate) may_shift: bool,
    pub(crate) limits: PaceLimits,
    fixed_chunk: Option<u32>,
    chunk_limit: Option<u32>,
    /// The size of a chunk and the idle time after it. The size is counted in rows in index order,
    /// and in blocks in heap order.
    pub(crate) pace: Pace,
    /// The maximum number of rows in a chunk whose size is counted in blocks.
    pub(crate) most: Most,
    pub(crate) worker: &'p mut Worker<'w>,
    pub(crate) tally: Tally,
    /// The number of blocks that the server reads to find the first row in index order; `None` if
    /// it was not measured.
    pub(crate) blocks_to_first_row: Option<u64>,
    pub(crate) locks: LockStrategy,
    /// The statements that are executed before and after the statements of each chunk.
    pub(crate) around: Around,
    /// Groups in which another session has locked a row. The pass does not try to lock these groups
    /// again.
    pub(crate) refused: Refused,
    /// The search for a row whose deletion the server rejects.
    pub(crate) rejected: Rejected,
    /// Whether a group of the last key range is too large to be locked row by row.
    pub(crate) large_group: bool,
}

/// The parameters of a pass.
pub(crate) struct PassPlan<'p> {
    pub(crate) target: &'p str,
    pub(crate) reason: &'p str,
    /// The statements of the pass, for the scan order of the pass.
    pub(crate) sql: PassSql,
    pub(crate) statistics: TableStatistics,
    /// Whether the table has a key that identifies each row.
    pub(crate) has_key: bool,
    /// Whether the configuration sets the scan order.
    pub(crate) fixed_order: bool,
    /// The maximum number of rows in a chunk, if the target defines it.
    pub(crate) fixed_chunk: Option<u32>,
    /// The maximum number of rows in a chunk, if the planner would use an unsuitable index for a
    /// larger chunk.
    pub(crate) chunk_limit: Option<u32>,
    pub(crate) blocks_to_first_row: Option<u64>,
    /// The size of the first chunk, if it is known from earlier passes.
    pub(crate) first_size: Option<u32>,
}

impl<'p, 'w> Pass<'p, 'w> {
    pub(crate) fn new(plan: PassPlan<'p>, worker: &'p mut Worker<'w>) -> Self {
        let PassPlan { target, reason, sql, statistics, has_key, fixed_order, .. } = plan;
        let (fixed_chunk, chunk_limit) = (plan.fixed_chunk, plan.chunk_limit);
        let limits = limits(worker.pace, fixed_chunk, chunk_limit);
        let in_heap_order = sql.order == Order::Heap;
        let blocks =
            in_heap_order.then(|| Blocks::new(statistics.blocks, statistics.rows_a_block()));
        let locks = LockStrategy {
            // Locked rows are skipped from the start in three cases. First, the target has a
            // condition: a condition that reads other rows would be evaluated before the wait for a
            // locked row. Second, a trigger may keep rows. Third, the table has no key: in index
            // order, rows with the same due time are then indistinguishable.
            skips_locked: sql.only.is_some() || statistics.trigger || !(in_heap_order || has_key),
            trigger: statistics.trigger,
            writers: None,
            next_step: 1,
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
            fixed_chunk,
            chunk_limit,
            pace: if in_heap_order { Pace::of_blocks(limits) } else { Pace::new(limits) }
                .starting_with(plan.first_size),
            most: Most::new(limits.max_chunk),
            worker,
            tally: Tally::default(),
            blocks_to_first_row: plan.blocks_to_first_row,
            locks,
            refused: Refused::none(),
            large_group: false,
            rejected: Rejected::default(),
        }
    }
}

/// Returns the limits of a pass. The target may define the maximum number of rows in a chunk, and
/// the planner may require fewer.
fn limits(pace: PaceLimits, fixed_chunk: Option<u32>, chunk_limit: Option<u32>) -> PaceLimits {
    let max_chunk = fixed_chunk.unwrap_or(pace.max_chunk);
    PaceLimits { max_chunk: max_chunk.min(chunk_limit.unwrap_or(max_chunk)), ..pace }
}

/// A chunk that was committed.
pub(crate) struct Chunk {
    /// The start of the chunk's key range.
    pub(crate) low: Option<Cursor>,
    pub(crate) next: Next,
    /// Whether the key range of the chunk still contains due rows.
    pub(crate) left_some: bool,
    /// Whether the chunk skipped several rows in one step and deleted nothing, because other
    /// transactions have locked rows that depend on these rows.
    pub(crate) skips: bool,
}

/// The key ranges in which `Pass::walk` has left due rows.
#[derive(Default)]
pub(crate) struct Left {
    pub(crate) all: Vec<KeyRange>,
    /// The key range of the last step of each sequence of rows that was skipped in growing steps.
    /// Some rows at the end of this range may not be locked.
    pub(crate) overshot: Vec<KeyRange>,
}

/// How a pass continues after a chunk.
pub(crate) enum Next {
    /// The pass continues after this cursor.
    After(Cursor),
    /// The pass continues with more rows of the same key range.
    Same,
    /// The pass ends, because nothing is left to examine.
    End,
    /// The pass starts again from the beginning, in heap order.
    Shift,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Initial,
    Retry,
}

impl Pass<'_, '_> {
    /// Processes the table until nothing is left to examine.
    pub(crate) async fn work(&mut self) -> Result<(), StopReason> {
        self.check_held().await?;
        let result = self.work_through().await;
        // Rows that are excluded because their deletion fails were not counted as left.
        if result.is_ok() && !self.sql.held.is_empty() {
            self.count_held().await?;
        }
        result
    }

    async fn work_through(&mut self) -> Result<(), StopReason> {
        self.locks.writers = self.worker.connection.read_writers().await?;
        let mut skipped = self.walk(self.whole(), Attempt::Initial).await?;
        if skipped.is_none() {
            self.shift().await?;
            skipped = self.walk(self.whole(), Attempt::Initial).await?;
        }
        self.retry(skipped.unwrap_or_default()).await
    }

    fn whole(&self) -> KeyRange {
        self.blocks.as_ref().map(Blocks::whole).unwrap_or_default()
    }

    /// Switches from index order to heap order.
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
        self.chunk_limit = None;
        self.limits = limits(self.worker.pace, self.fixed_chunk, None);
        self.pace = Pace::of_blocks(self.limits);
        self.sql.order = Order::Heap;
        self.may_shift = false;
        // The locked rows will be examined and counted again.
        self.tally.skipped_locked = 0;
        Ok(())
    }

    /// Processes a key range of any length, chunk by chunk. Returns the key ranges in which due
    /// rows were left. Returns `None` if the pass must start again in heap order.
    async fn walk(
        &mut self,
        mut ahead: KeyRange,
        attempt: Attempt,
    ) -> Result<Option<Left>, StopReason> {
        let mut left = Left::default();
        let mut last_skipped: Option<KeyRange> = None;
        self.locks.next_step = 1;
        loop {
            let chunk = self.chunk(&ahead, attempt).await?;
            let high = match &chunk.next {
                Next::After(cursor) => Some(cursor.clone()),
                _ => ahead.high.clone(),
            };
            let range = KeyRange { low: chunk.low, high };
            if chunk.left_some {
                if left.all.len() < REMEMBERED {
                    left.all.push(range.clone());
                } else if let Some(last) = left.all.last_mut() {
                    last.high.clone_from(&range.high);
                }
            }
            if chunk.skips {
                last_skipped = Some(range);
            } else if left.overshot.len() < REMEMBERED {
                left.overshot.extend(last_skipped.take());
            }
            match chunk.next {
                Next::After(cursor) => ahead.low = Some(cursor),
                Next::Same => {}
                Next::End => {
                    left.overshot.extend(last_skipped);
                    return Ok(Some(left));
                }
                Next::Shift => return Ok(None),
            }
        }
    }

    /// Processes the next chunk of the key range `ahead`, and retries the chunk after a timeout or
    /// a conflict.
    async fn chunk(&mut self, ahead: &KeyRange, attempt: Attempt) -> Result<Chunk, StopReason> {
        let mut backoff = backoff::of_a_chunk();
        loop {
            self.worker.may_go_on().await?;
            self.adopt_pace();
            let (began, gone) = (Instant::now(), self.gone());
            let mut tried = self.attempt(ahead, attempt).await;
            if matches!(tried, Err(DbError::Timeout(Bound::Lock)))
                && self.lock_wait() == LockWait::Wait
            {
                // The short wait for a locked row has timed out, but the configured timeout was not
                // reached. Retry immediately and skip locked rows.
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
                    self.after_part(&chunk.next);
                    self.locks.next_step = 1;
                    self.most.chunk_done();
                    // If the chunk deleted nothing, it does not prove that deletions succeed again.
                    if self.gone() > gone {
                        self.worker.consecutive_losses = 0;
                    }
                    return Ok(chunk);
                }
                Err(DbError::Rejected(rejection)) => {
                    self.exclude(ahead, rejection).await?;
                    self.worker.rest = self.pace.rest(began.elapsed());
                    continue;
                }
                Err(error) => {
                    error.after(began.elapsed(), self.worker.connection.statement_timeout())
                }
            };
            // A canceled statement is a consequence.
            self.worker.is_over()?;
            if matches!(error, DbError::Timeout(_)) {
                self.worker.observer.chunk_failed(self.target, ChunkOutcome::TimedOut);
            }
            if error == DbError::Timeout(Bound::Lock) && !self.is_table_locked().await? {
                self.worker.observer.chunk_failed(self.target, ChunkOutcome::Retried);
                self.worker.rest = self.pace.rest(began.elapsed());
                match self.pass_over(ahead, attempt).await? {
                    Some(chunk) => return Ok(chunk),
                    None => continue,
                }
            }
            let retry = match again(error, self.smallest(), &mut backoff) {
                Ok(again) => again,
                Err(reason) => {
                    self.worker.observer.chunk_failed(self.target, ChunkOutcome::Failed);
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
            self.worker.observer.chunk_failed(self.target, ChunkOutcome::Retried);
        }
    }

    /// Applies the limits of the pace if they have changed since the last chunk.
    fn adopt_pace(&mut self) {
        let limits = limits(self.worker.pace, self.fixed_chunk, self.chunk_limit);
        if limits != self.limits {
            self.limits = limits;
            self.pace.set_limits(limits);
            self.most = Most::new(limits.max_chunk);
        }
    }

    /// Halves the size of the next chunk. If the chunk is a single block, halves the maximum number
    /// of rows in the chunk.
    fn halve(&mut self) {
        if self.blocks.is_some() && self.pace.size() <= 1 {
            self.most.halve();
        } else {
            self.pace.chunk_timed_out();
        }
    }

    /// Returns `true` if the chunk size cannot be reduced further.
    fn smallest(&self) -> bool {
        self.pace.size() <= 1 && (self.blocks.is_none() || self.most.rows() <= 1)
    }

    /// Returns the maximum number of rows in the next chunk.
    pub(crate) fn next_rows(&self) -> u32 {
        match &self.blocks {
            None => self.pace.size(),
            Some(blocks) => blocks.rows(self.pace.size()).min(self.most.rows()),
        }
    }
}

/// The way in which a chunk is retried.
struct Again {
    why: String,
    /// The backoff before the retry.
    time: Duration,
    /// Whether the size of the chunk is halved.
    smaller: bool,
}

/// Decides whether a chunk can be retried: after a timeout, or after a conflict between two
/// transactions.
fn again(
    error: DbError,
    smallest: bool,
    backoff: &mut impl Iterator<Item = Duration>,
) -> Result<Again, StopReason> {
    match error {
        DbError::Timeout(Bound::Statement | Bound::StatementOrCancel) if smallest => Err(StopReason::Failed(
            "deleting one row takes longer than STATEMENT_TIMEOUT: check for a slow trigger on DELETE, a foreign key that \
             references this table and has no index on its column, or dead rows that VACUUM could not remove yet"
                .to_owned(),
        )),
        // The number of retries is not limited, because each retry halves the chunk until it is
        // short enough.
        DbError::Timeout(bound @ (Bound::Statement | Bound::StatementOrCancel)) => {
            Ok(Again { why: format!("{bound} reached"), time: Duration::ZERO, smaller: true })
        }
        DbError::Timeout(bound @ Bound::Lock) => match backoff.next() {
            Some(time) => Ok(Again { why: format!("{bound} reached"), time, smaller: true }),
            None => Err(StopReason::Failed(format!(
                "LOCK_TIMEOUT reached {} times in a row: another session holds a lock on the table or on rows \
                 that reference it; find the session in pg_locks, or raise LOCK_TIMEOUT",
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
