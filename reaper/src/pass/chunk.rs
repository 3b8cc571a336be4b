//! One attempt to delete one chunk (the rows that one transaction deletes): its key range, the
//! deleted rows, and the due rows that remain.

use std::time::{Duration, Instant};

use tracing::Instrument as _;

use crate::backlog::COUNT_CAP;
use crate::connection::chunk_transaction::{Done, Returns, Transaction, Worked};
use crate::connection::db_error::{Bound, DbError};
use crate::pass::scan_order::CROWD;
use crate::pass::{Attempt, Chunk, Next, Pass};
use crate::report::spans;
use crate::sql::query::Text;
use crate::sql::{self, Counted, Cursor, KeyRange, LockWait, Locked};
use crate::time::milliseconds;

/// How long a chunk waits for a locked row. This is long enough for a short transaction to end, and
/// short enough that transactions that wait for the chunk are not noticeably delayed.
const WAITING: Duration = Duration::from_millis(10);

impl Pass<'_, '_> {
    /// Executes the probe, the query that finds where a chunk ends. Returns the cursor of the row
    /// in `ahead` that has `offset` rows before it, or `None` if `ahead` has no such row.
    pub(crate) async fn probe(
        &mut self,
        ahead: &KeyRange,
        offset: i64,
    ) -> Result<Option<Cursor>, DbError> {
        let row = self.worker.connection.at_most_one(&self.sql.probe(ahead, &offset)).await?;
        Ok(row.as_ref().map(sql::cursor))
    }

    /// Makes one attempt to delete a chunk.
    pub(crate) async fn attempt(
        &mut self,
        ahead: &KeyRange,
        attempt: Attempt,
    ) -> Result<Chunk, DbError> {
        let (span, before) = (spans::chunk(self.target, self.reason), self.gone());
        let tried = self.take(ahead, attempt).instrument(span.clone()).await;
        spans::chunk_ended(&span, tried.as_ref().err(), self.gone() - before);
        tried
    }

    /// Returns the number of rows that this pass has deleted, including rows of child tables.
    pub(crate) fn gone(&self) -> u64 {
        self.tally.deleted + self.tally.children
    }

    async fn take(&mut self, ahead: &KeyRange, attempt: Attempt) -> Result<Chunk, DbError> {
        let began = Instant::now();
        let rows = if self.blocks.is_some() { self.most.rows() } else { self.pace.size() };
        // The limit applies to the target and to each of its children separately, so the budget is
        // divided by the number of tables. The size of the chunk is not divided, because the probe
        // counts the rows of all tables together.
        let tables = u32::try_from(1 + self.sql.children.len()).unwrap_or(u32::MAX);
        // A large group is evaluated again for each chunk, so fewer chunks are better.
        let rows = if self.large_group { self.most.rows() } else { rows };
        let rows = self
            .rejected
            .part()
            .filter(|_| self.blocks.is_none())
            .map_or(rows, |part| rows.min(part));
        let in_budget = self.worker.budget.at_most(u32::MAX) / tables;
        let row_limit = in_budget.clamp(1, rows.max(1));
        self.set_lock_wait().await?;
        let (reached, blocks) = if let Some(blocks) = &self.blocks {
            let most = match self.lock_wait() {
                LockWait::SkipLocked | LockWait::Locked | LockWait::TableLocked => self.pace.size(),
                LockWait::Wait => {
                    blocks.without_limit(row_limit).unwrap_or(1).min(self.pace.size())
                }
            };
            let most = self.rejected.part().map_or(most, |part| most.min(part));
            blocks.reach(ahead, most, row_limit.into())
        } else {
            (self.probe(ahead, i64::from(row_limit) - 1).await?, 0)
        };
        self.rejected.tried = if self.blocks.is_some() {
            u32::try_from(blocks).unwrap_or(u32::MAX)
        } else {
            row_limit
        };
        if self.may_shift && self.is_crowded(ahead, reached.as_ref(), row_limit).await? {
            return Ok(Chunk { low: None, next: Next::Shift, left_some: false, skips: false });
        }
        let range = KeyRange {
            low: ahead.low.clone(),
            high: reached.clone().or_else(|| ahead.high.clone()),
        };

        // The children of a parent whose deletion may fail are deleted together with the parent, or
        // not at all.
        let has_children = !self.sql.children.is_empty();
        let limit = if has_children && self.rejected.part().is_some() {
            self.most.rows()
        } else if has_children && row_limit < in_budget {
            // The key range contains at most `row_limit` children. The statement deletes the
            // parents only if it finds fewer children than its limit, so the limit is one higher.
            row_limit.saturating_add(1)
        } else {
            row_limit
        };
        // Round trips are not part of the work: they cause no load on the server, and smaller
        // chunks would not shorten them.
        let probed = began.elapsed();
        let probe_work = match self.blocks {
            Some(_) => Duration::ZERO,
            None => self.worker.connection.at_the_server(probed),
        };
        let deleted = self.delete(&range, limit).await?;
        let elapsed = began.elapsed();
        let in_delete = elapsed.saturating_sub(probed);
        let work = probe_work
            + match deleted.at_the_server {
                Some(work) => work.min(in_delete),
                None => self.worker.connection.at_the_server(in_delete),
            };
        self.committed(&deleted);
        // If all rows that the probe found were deleted, no due row is left. There are two
        // exceptions: in the last key range of a pass, the probe did not count the rows; if the
        // table has no key, the key range may have more rows than the probe found.
        let all_rows_of_probe = self.blocks.is_none()
            && reached.is_some()
            && !self.sql.key.is_empty()
            && deleted.rows >= u64::from(row_limit);
        let left = if deleted.full || deleted.whole || all_rows_of_probe {
            0
        } else {
            self.count_left(&range, attempt).await?
        };
        let gone = deleted.rows + deleted.children;
        let examined = if self.rejected.part().is_some() {
            // The duration of a part of a chunk does not show how long a whole chunk takes.
            gone + left
        } else if let Some(scan_order) = &mut self.blocks {
            scan_order.seen(blocks, deleted.rows + left, deleted.full);
            self.pace.learn(blocks, work);
            gone + left
        } else if !self.sql.children.is_empty() {
            // The pace is based on the number of rows in all tables together, as counted by the
            // probe.
            let counted = reached.is_some() && !deleted.full;
            self.pace.learn(if counted { u64::from(row_limit) } else { gone + left }, work);
            gone + left
        } else {
            let examined = if reached.is_some() { u64::from(row_limit) } else { gone + left };
            self.pace.chunk_done(examined, work);
            examined
        };
        // Finding that no row is left is no work to rest from.
        let is_empty = examined == 0 && self.blocks.is_none();
        self.worker.rest = if is_empty { Duration::ZERO } else { self.pace.rest(work) };
        if self.pace.is_slow_at_the_floor() {
            tracing::warn!(
                event = "chunk_at_minimum",
                target_table = self.target,
                reason = self.reason,
                rows = self.pace.size(),
                elapsed_ms = milliseconds(elapsed),
                "chunks of the minimum size take longer than CHUNK_TIME"
            );
        }
        if examined > 0 {
            self.tally.chunks += 1;
            self.tally.chunk_time += elapsed;
            self.tally.longest_chunk = self.tally.longest_chunk.max(elapsed);
            self.worker.observer.chunk_done(self.target, elapsed, self.next_rows());
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
        Ok(Chunk { low: range.low, next, left_some: left > 0, skips: false })
    }

    /// Sets how long the statements of this chunk wait for a lock.
    async fn set_lock_wait(&mut self) -> Result<(), DbError> {
        let wait = match self.lock_wait() {
            LockWait::Wait => Some(WAITING),
            LockWait::SkipLocked | LockWait::Locked | LockWait::TableLocked => None,
        };
        Ok(self.worker.connection.wait_for_locks(wait).await?)
    }

    /// Deletes the rows of a key range that can be deleted now.
    pub(super) async fn delete(&mut self, range: &KeyRange, most: u32) -> Result<Deleted, DbError> {
        let lock_wait = self.lock_wait();
        let limit = i64::from(most);
        let array = self.refused.array.clone();
        let done = self.transact(range, &limit, lock_wait, &array).await?;
        let before = std::mem::replace(&mut self.locks.writers, done.writers);
        let mut deleted = Deleted { at_the_server: done.at_the_server, ..Deleted::default() };
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
        // If no row was deleted, an immediate retry would not delete any either.
        deleted.full = children_left && gone > 0;
        if self.sql.children.is_empty() {
            // If other transactions were writing, an update may have moved a due row to a block
            // that was already scanned.
            self.tally.uncertain |= self.blocks.is_some() && !alone;
        } else {
            deleted.whole = false;
            self.tally.uncertain |= self.blocks.is_some();
        }
        let limited = self.sql.is_limited() && lock_wait != LockWait::Wait;
        // Rows that were locked because they belong to a group may be outside the key range.
        let taken = if self.sql.is_grouped() { deleted.rows } else { deleted.rows.max(locked) };
        deleted.full |= limited && gone > 0 && taken >= u64::from(most);
        if let Some(Locked { refused, large, later, .. }) = done.locked {
            self.large_group = large > 0;
            deleted.whole &=
                refused.is_empty() && self.refused.is_empty() && large == 0 && later == 0;
            let learned = self.refused.add(refused);
            deleted.full |= later > 0 && (gone > 0 || learned);
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

    /// Locks the table of groups that are too large to be locked row by row, and deletes the rows
    /// of these groups that may be deleted. If the table lock is not immediately available, the
    /// rows of the groups count as locked.
    async fn delete_large(
        &mut self,
        range: &KeyRange,
        most: &i64,
        deleted: &mut Deleted,
    ) -> Result<(), DbError> {
        let array = self.refused.array.clone();
        match self.transact(range, most, LockWait::TableLocked, &array).await {
            Ok(Done { worked, writers, at_the_server, .. }) => {
                self.locks.writers = writers;
                deleted.at_the_server =
                    deleted.at_the_server.zip(at_the_server).map(|(one, other)| one + other);
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

    /// Returns how to treat locked rows. Until a chunk encounters a locked row, rows are deleted
    /// without being locked first, which takes less than half of the work and causes less load on
    /// the server. After that, the pass skips locked rows.
    pub(crate) fn lock_wait(&self) -> LockWait {
        if self.sql.only.is_some() {
            return LockWait::Locked;
        }
        // A statement without a LIMIT processes as many blocks as contain, on average, the maximum
        // number of rows. An average is not exact enough if the budget limits the number of rows.
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

    /// Returns `true` if very many rows have the same due time and the index cannot distinguish
    /// these rows.
    async fn is_crowded(
        &mut self,
        ahead: &KeyRange,
        reached: Option<&Cursor>,
        row_limit: u32,
    ) -> Result<bool, DbError> {
        let Some(reached) = reached else { return Ok(false) };
        if self.sql.key.is_empty() {
            let far = self.probe(ahead, i64::from(row_limit) + i64::from(CROWD)).await?;
            return Ok(far.is_some_and(|far| far == *reached));
        }
        let same = ahead.low.as_ref().is_some_and(|low| low.first() == reached.first());
        self.locks.at_one_time =
            if same { self.locks.at_one_time.saturating_add(row_limit) } else { 0 };
        Ok(self.locks.at_one_time > CROWD)
    }

    /// Records the rows that a committed chunk deleted. This happens before any other step that can
    /// fail.
    pub(super) fn committed(&mut self, deleted: &Deleted) {
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
        let observer = self.worker.observer;
        if self.sql.due.set.is_empty() {
            observer.rows_deleted(self.target, self.reason, deleted.rows);
        } else {
            observer.rows_changed(self.target, self.reason, deleted.rows);
        }
        if deleted.children > 0 {
            self.worker.observer.children_deleted(self.target, deleted.children);
        }
    }

    /// Counts the due rows that are left in a key range that was just processed. These rows are
    /// locked, or were just updated.
    pub(super) async fn count_left(
        &mut self,
        range: &KeyRange,
        attempt: Attempt,
    ) -> Result<u64, DbError> {
        let counted = match self.worker.connection.one(&self.sql.count(range, &COUNT_CAP)).await {
            Ok(row) => Counted::of(&row),
            Err(error) => match DbError::from(error) {
                // At least one row may be left. The retry and the final count determine the number.
                DbError::Timeout(bound) => {
                    tracing::warn!(
                        event = "locked_count_timeout",
                        target_table = self.target,
                        "locked rows not counted: {bound}"
                    );
                    self.tally.left += u64::from(attempt == Attempt::Retry);
                    return Ok(1);
                }
                // Evaluating the condition fails for a row. The deletion will find this row.
                DbError::Rejected(_) => return Ok(1),
                error => return Err(error),
            },
        };
        // A row that is due for several reasons is counted in the pass for the first of these
        // reasons.
        match attempt {
            Attempt::Initial => {
                self.tally.skipped_locked += counted.fresh;
                self.worker.progress.send_modify(|progress| {
                    if let Some(target) = progress.targets.last_mut() {
                        target.skipped_locked += counted.fresh;
                    }
                });
                self.worker.observer.rows_skipped(self.target, counted.fresh);
            }
            Attempt::Retry => self.tally.left += counted.all,
        }
        Ok(counted.all)
    }
}

/// The rows that a statement deleted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deleted {
    rows: u64,
    /// The number of rows that were deleted from the target's child tables.
    children: u64,
    /// The time that the server spent on the statement, if it is known.
    at_the_server: Option<Duration>,
    /// `true` if more rows may be left in the key range, because the statement reached its limit on
    /// the number of rows.
    full: bool,
    /// `true` if all due rows of the key range were certainly deleted: either the statement waited
    /// for locked rows, or no other transaction was writing.
    whole: bool,
}
