//! Rows that are not locked themselves, but whose deletion waits for a lock: another transaction
//! has locked a row that a cascade or a trigger changes.
//!
//! The lock timeout alone does not show whether a row or a whole table is locked, so the locks are
//! read from the server. If no table is locked, the row is found by dividing the chunk into smaller
//! parts, as for a row whose deletion is rejected, and is then skipped. If the next rows wait, too,
//! they are skipped in steps of a growing number of rows, so that a long sequence of such rows
//! costs only a few timeouts. Skipped rows are retried at the end of the pass.

use super::{Attempt, Chunk, Left, Next, Pass};
use crate::connection::db_error::{Bound, DbError};
use crate::sql::KeyRange;
use crate::stop_reason::StopReason;

/// The maximum number of rows that are skipped in one step.
const LARGEST_STEP: u32 = 10_000;

/// The number of lock timeouts after which the remaining rows of a block are skipped.
const ROW_TIMEOUTS: u32 = 3;

impl Pass<'_, '_> {
    /// Returns `true` if another session holds or waits for a lock on a whole table that blocks the
    /// deletion of rows.
    pub(super) async fn is_table_locked(&mut self) -> Result<bool, StopReason> {
        const LOCKED: &str = include_str!("table_locks.sql");
        let oids: Vec<u32> = self.sql.tables.iter().map(|table| table.oid).collect();
        let connection = &self.worker.connection;
        let asked = async { connection.client.query_one(LOCKED, &[&oids]).await };
        Ok(connection.deadline.with(1, asked).await?.try_get(0)?)
    }

    /// Decides how to continue after a lock timeout if no table is locked. While the row whose
    /// deletion waits has not been found, continues the search for this row and returns `None`.
    /// Otherwise, skips the row (or several rows, if earlier rows were also skipped) and returns
    /// the skipped rows as a chunk.
    pub(super) async fn pass_over(
        &mut self,
        ahead: &KeyRange,
        attempt: Attempt,
    ) -> Result<Option<Chunk>, StopReason> {
        if self.rejected.divide() {
            return Ok(None);
        }
        let step = self.locks.next_step.clamp(1, LARGEST_STEP);
        if self.blocks.is_some() && step == 1 {
            self.delete_row_by_row(ahead).await?;
        }
        let reached = match &self.blocks {
            Some(blocks) => blocks.reach(ahead, step, u64::MAX).0,
            None => self.probe(ahead, i64::from(step) - 1).await.map_err(StopReason::from)?,
        };
        let high = reached.clone().or_else(|| ahead.high.clone());
        let range = KeyRange { low: ahead.low.clone(), high };
        let left = self.count_left(&range, attempt).await.map_err(StopReason::from)?;
        tracing::info!(
            event = "dependent_rows_locked",
            target_table = self.target,
            reason = self.reason,
            rows = left,
            "skipping rows: other sessions have locked rows that depend on them"
        );
        self.locks.next_step = step.saturating_mul(2);
        // The next chunk shows with one row whether the sequence continues.
        self.rejected.search_one();
        let next = reached.map_or(Next::End, Next::After);
        let skips = step > 1 && left > 1;
        Ok(Some(Chunk { low: range.low, next, left_some: left > 0, skips }))
    }

    /// Deletes the rows of a block one by one, except those whose deletion waits for a lock.
    async fn delete_row_by_row(&mut self, ahead: &KeyRange) -> Result<(), StopReason> {
        let mut timeouts = 0;
        for (row, _) in self.rows_of(ahead).await? {
            match self.delete(&row, self.most.rows()).await {
                Ok(deleted) => self.committed(&deleted),
                Err(DbError::Timeout(Bound::Lock)) => timeouts += 1,
                // The block is processed again at the end of the pass.
                Err(DbError::Rejected(_)) => break,
                Err(error) => return Err(error.into()),
            }
            self.worker.is_over()?;
            if timeouts >= ROW_TIMEOUTS {
                break;
            }
        }
        Ok(())
    }

    /// Retries the key ranges in which rows were left. The last step of a sequence of skipped rows
    /// may have skipped rows that are not locked, so it is retried with smaller steps.
    pub(super) async fn retry(&mut self, left: Left) -> Result<(), StopReason> {
        let mut ranges = left.all;
        while !ranges.is_empty() {
            let mut overshot = Vec::new();
            for range in ranges {
                overshot
                    .extend(self.walk(range, Attempt::Retry).await?.unwrap_or_default().overshot);
            }
            ranges = overshot;
        }
        Ok(())
    }
}
