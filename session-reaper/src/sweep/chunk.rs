//! One try at one chunk: where it ends, what went, what was left.

use std::time::{Duration, Instant};

use tracing::Instrument as _;

use super::backlog::COUNT_CAP;
use super::connection::{Done, Returns, Transaction, Worked};
use super::db_error::{Bound, DbError};
use super::pass::{Attempt, Chunk, Next, Pass};
use super::query::Text;
use super::scan_order::CROWD;
use super::spans;
use super::sql::{self, Counted, Cursor, KeyRange, LockWait, Locked};
use crate::metrics;

/// How long a chunk that passes over nothing waits for a row: long enough for a transaction to end
/// that began just now, and not so long that those who wait for the chunk would notice.
const WAITING: Duration = Duration::from_millis(10);

impl Pass<'_, '_> {
    /// The place of the row that `offset` others lie before, if there are so many.
    pub(super) async fn mark_at(
        &mut self,
        ahead: &KeyRange,
        offset: i64,
    ) -> Result<Option<Cursor>, DbError> {
        let row = self.worker.connection.at_most_one(&self.sql.probe(ahead, &offset)).await?;
        Ok(row.as_ref().map(sql::mark))
    }

    /// One try.
    pub(super) async fn attempt(
        &mut self,
        ahead: &KeyRange,
        attempt: Attempt,
    ) -> Result<Chunk, DbError> {
        let (span, before) = (spans::chunk(self.target, self.reason), self.gone());
        let tried = self.take(ahead, attempt).instrument(span.clone()).await;
        spans::chunk_ended(&span, tried.as_ref().err(), self.gone() - before);
        tried
    }

    /// Rows that went in this pass.
    pub(super) fn gone(&self) -> u64 {
        self.tally.deleted + self.tally.children
    }

    async fn take(&mut self, ahead: &KeyRange, attempt: Attempt) -> Result<Chunk, DbError> {
        let began = Instant::now();
        let rows = if self.blocks.is_some() { self.most.rows() } else { self.pace.size() };
        // Of each table as many: of the parents, and of each that refers to them.
        let tables = u32::try_from(1 + self.sql.children.len()).unwrap_or(u32::MAX);
        // A large group is decided anew for each chunk: the fewer these are the better.
        let rows = if self.large_group { self.most.rows() } else { rows };
        let asked = (self.worker.budget.at_most(rows) / tables).max(1);
        self.wait_as_is_fit().await?;
        let (reached, blocks) = if let Some(blocks) = &self.blocks {
            let most = match self.lock_wait() {
                LockWait::SkipLocked | LockWait::Locked | LockWait::TableLocked => self.pace.size(),
                LockWait::Wait => blocks.without_limit(asked).unwrap_or(1).min(self.pace.size()),
            };
            blocks.reach(ahead, most, asked.into())
        } else {
            (self.mark_at(ahead, i64::from(asked) - 1).await?, 0)
        };
        if self.may_shift && self.is_crowded(ahead, reached.as_ref(), asked).await? {
            return Ok(Chunk { low: None, next: Next::Shift, left_some: false });
        }
        let range = KeyRange {
            low: ahead.low.clone(),
            high: reached.clone().or_else(|| ahead.high.clone()),
        };

        let deleted = self.delete(&range, asked).await?;
        let elapsed = began.elapsed();
        // The way there and back is nobody's load, and smaller chunks would not make it shorter.
        let trips = if self.blocks.is_some() { 1 } else { 2 };
        let work = self.worker.connection.at_the_server(elapsed, trips);
        self.committed(&deleted);
        // All that the probe saw is gone; at the end of the pass nobody has counted what there was,
        // and without a key there may be more than it saw.
        let all_that_was_seen = self.blocks.is_none()
            && reached.is_some()
            && !self.sql.key.is_empty()
            && deleted.rows >= u64::from(asked);
        let left = if deleted.full || deleted.whole || all_that_was_seen {
            0
        } else {
            self.count_left(&range, attempt).await?
        };
        let gone = deleted.rows + deleted.children;
        let examined = if let Some(scan_order) = &mut self.blocks {
            scan_order.seen(blocks, deleted.rows + left, deleted.full);
            self.pace.learn(blocks, work);
            gone + left
        } else if !self.sql.children.is_empty() {
            // Of all tables together.
            self.pace.learn(gone + left, work);
            gone + left
        } else {
            let examined = if reached.is_some() { u64::from(asked) } else { gone + left };
            self.pace.chunk_done(examined, work);
            examined
        };
        self.worker.rest = self.pace.rest(work);
        if examined > 0 {
            self.tally.chunks += 1;
            self.tally.chunk_time += elapsed;
            self.tally.longest_chunk = self.tally.longest_chunk.max(elapsed);
            metrics::chunk_done(self.target, elapsed, self.next_rows());
            let elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(
                event = "chunk_committed",
                target_table = self.target,
                reason = self.reason,
                rows = gone + left,
                deleted = gone,
                elapsed_us,
                "chunk committed"
            );
        }
        let next = if deleted.full { Next::Same } else { reached.map_or(Next::End, Next::After) };
        Ok(Chunk { low: range.low, next, left_some: left > 0 })
    }

    /// Sets how long statements wait for a lock in the manner that is to come.
    async fn wait_as_is_fit(&mut self) -> Result<(), DbError> {
        let wait = match self.lock_wait() {
            LockWait::Wait => Some(WAITING),
            LockWait::SkipLocked | LockWait::Locked | LockWait::TableLocked => None,
        };
        Ok(self.worker.connection.wait_for_locks(wait).await?)
    }

    /// Deletes what it can in a stretch.
    async fn delete(&mut self, range: &KeyRange, most: u32) -> Result<Deleted, DbError> {
        let lock_wait = self.lock_wait();
        let limit = i64::from(most);
        let array = self.refused.array.clone();
        let done = self.transact(range, &limit, lock_wait, &array).await?;
        let before = std::mem::replace(&mut self.locks.writers, done.writers);
        let mut deleted = Deleted::default();
        let mut children_left = false;
        match &done.worked {
            Worked::Rows(rows) => deleted.rows = *rows,
            Worked::Row(row) => {
                let (rows, children) = sql::with_children(row);
                (deleted.rows, deleted.children) =
                    (rows, children.iter().map(|child| child.deleted).sum());
                children_left = children.iter().any(|child| child.found >= u64::from(most));
            }
        }
        let gone = deleted.rows + deleted.children;
        let locked = done.locked.as_ref().map_or(0, |locked| locked.rows);
        let wrote = gone + locked > 0;
        let alone =
            done.writers.zip(before).is_some_and(|(now, before)| now.alone_since(&before, wrote));
        self.worker.alone = alone;
        deleted.whole = lock_wait == LockWait::Wait || (alone && !self.locks.trigger);
        // Where nothing goes, nothing is gained by trying again at once.
        deleted.full = children_left && gone > 0;
        if self.sql.children.is_empty() {
            // Without a lock on the table due rows may have been moved to a block that was passed
            // already.
            self.tally.uncertain |= self.blocks.is_some() && !alone;
        } else {
            deleted.whole = false;
            self.tally.uncertain |= self.blocks.is_some();
        }
        let limited = self.sql.is_limited() && lock_wait != LockWait::Wait;
        // Rows that were locked for a group's sake may lie outside of the stretch.
        let taken = if self.sql.is_grouped() { deleted.rows } else { deleted.rows.max(locked) };
        deleted.full |= limited && gone > 0 && taken >= u64::from(most);
        if let Some(Locked { refused, large, later, .. }) = done.locked {
            self.large_group = large > 0;
            deleted.whole &=
                refused.is_empty() && self.refused.is_empty() && large == 0 && later == 0;
            let learnt = self.refused.add(refused);
            deleted.full |= later > 0 && (gone > 0 || learnt);
            if large > 0 {
                self.delete_large(range, &limit, &mut deleted).await?;
            }
        }
        Ok(deleted)
    }

    async fn transact(
        &mut self,
        range: &KeyRange,
        most: &i64,
        lock_wait: LockWait,
        refused: &Text,
    ) -> Result<Done, DbError> {
        let connection = &mut self.worker.connection;
        let pid = connection.pid();
        let begin = match (lock_wait, &self.around.begin_exclusive) {
            (LockWait::TableLocked, Some(exclusive)) => exclusive,
            _ => &self.around.begin,
        };
        let lock = if lock_wait == LockWait::TableLocked {
            None
        } else {
            self.sql.lock(range, most, refused)
        };
        let delete = self.sql.delete(range, most, &pid, lock_wait);
        let returns = if self.sql.children.is_empty() { Returns::Rows } else { Returns::Row };
        let chunk = Transaction { begin, around: &self.around, lock, delete, returns };
        Ok(connection.transact(&chunk).await?)
    }

    /// Deletes what it can of groups that are too large to be locked row by row, under a lock on
    /// their table. When that is not to be had at once, their rows count as held.
    async fn delete_large(
        &mut self,
        range: &KeyRange,
        most: &i64,
        deleted: &mut Deleted,
    ) -> Result<(), DbError> {
        let array = self.refused.array.clone();
        match self.transact(range, most, LockWait::TableLocked, &array).await {
            Ok(Done { worked, writers, .. }) => {
                self.locks.writers = writers;
                match worked {
                    Worked::Rows(rows) => deleted.rows += rows,
                    Worked::Row(row) => {
                        let (rows, children) = sql::with_children(&row);
                        deleted.rows += rows;
                        deleted.children += children.iter().map(|child| child.deleted).sum::<u64>();
                    }
                }
                Ok(())
            }
            Err(DbError::Timeout(Bound::Lock)) => {
                tracing::debug!(
                    target_table = self.target,
                    reason = self.reason,
                    event = "group_table_locked",
                    "large group skipped: lock on its table not acquired"
                );
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Stretches are deleted as they stand until a chunk has met a row that somebody holds: that
    /// takes less than half of the work of locking rows first, and traffic notices the work.
    /// From then on held rows are passed over.
    pub(super) fn lock_wait(&self) -> LockWait {
        if self.sql.only.is_some() {
            return LockWait::Locked;
        }
        // A statement without a LIMIT is given no more blocks than may all be due, on average: not
        // when rows are counted to the last one.
        let to_the_row = self.worker.budget.at_most(u32::MAX) < u32::MAX;
        let bounded = self
            .blocks
            .as_ref()
            .is_none_or(|blocks| blocks.without_limit(self.most.rows()).is_some() && !to_the_row);
        if !self.locks.skips_locked && bounded && self.sql.children.is_empty() {
            LockWait::Wait
        } else {
            LockWait::SkipLocked
        }
    }

    /// Whether so many rows share one time that the index is no help in telling them apart, or in
    /// telling where they end.
    async fn is_crowded(
        &mut self,
        ahead: &KeyRange,
        reached: Option<&Cursor>,
        asked: u32,
    ) -> Result<bool, DbError> {
        let Some(reached) = reached else { return Ok(false) };
        if self.sql.key.is_empty() {
            let far = self.mark_at(ahead, i64::from(asked) + i64::from(CROWD)).await?;
            return Ok(far.is_some_and(|far| far == *reached));
        }
        let same = ahead.low.as_ref().is_some_and(|low| low.first() == reached.first());
        self.locks.at_one_time =
            if same { self.locks.at_one_time.saturating_add(asked) } else { 0 };
        Ok(self.locks.at_one_time > CROWD)
    }

    /// Rows of a chunk that has been committed are counted before anything else can fail.
    fn committed(&mut self, deleted: &Deleted) {
        self.tally.deleted += deleted.rows;
        self.tally.children += deleted.children;
        let gone = deleted.rows + deleted.children;
        self.worker.budget.spend(gone);
        self.worker.progress.send_modify(|progress| {
            progress.deleted += gone;
            if let Some(target) = progress.targets.last_mut() {
                target.has_deleted(self.reason, deleted.rows);
            }
        });
        metrics::deleted(self.target, self.reason, deleted.rows);
        if deleted.children > 0 {
            metrics::deleted(self.target, metrics::CHILDREN, deleted.children);
        }
    }

    /// Counts what is still due in a stretch that was just worked on: somebody holds it, or has
    /// just touched it.
    async fn count_left(&mut self, range: &KeyRange, attempt: Attempt) -> Result<u64, DbError> {
        let counted = match self.worker.connection.one(&self.sql.count(range, &COUNT_CAP)).await {
            Ok(row) => Counted::of(&row),
            Err(error) => match DbError::from(error) {
                // At least one, for all we know: the second look and the final count will tell.
                DbError::Timeout(bound) => {
                    tracing::warn!(
                        event = "locked_count_timeout",
                        target_table = self.target,
                        "locked rows not counted: {bound}"
                    );
                    self.tally.left += u64::from(attempt == Attempt::Retry);
                    return Ok(1);
                }
                error => return Err(error),
            },
        };
        // A row that is due for several reasons is counted in the first of their passes.
        match attempt {
            Attempt::Initial => {
                self.tally.skipped_locked += counted.fresh;
                self.worker.progress.send_modify(|progress| {
                    if let Some(target) = progress.targets.last_mut() {
                        target.skipped_locked += counted.fresh;
                    }
                });
                metrics::skipped_locked(self.target, counted.fresh);
            }
            Attempt::Retry => self.tally.left += counted.all,
        }
        Ok(counted.all)
    }
}

/// What a statement deleted.
#[derive(Clone, Copy, Debug, Default)]
struct Deleted {
    rows: u64,
    /// Rows of the target's children.
    children: u64,
    /// There may be more in the stretch: as many went as were allowed, of rows or of some child's.
    full: bool,
    /// What did not go was not due: it was waited for what somebody held, or nobody else was
    /// writing.
    whole: bool,
}
