//! Rows whose deletion the server rejects because of a foreign key without an action, a trigger
//! that raises an error, or a condition that fails for the row.
//!
//! If a foreign key that references this table causes the error, the rows that are referenced
//! through this foreign key are excluded by a condition from then on. For any other error, the pass
//! searches for the row that causes it. The pass tries to delete only a *part* of the chunk: the
//! first half of the rows, then half of the rest or of the failed part, until the deletion of a
//! single row fails. That row is excluded by the hash of its key.

use tokio_postgres::types::{ToSql, Type};

use super::{Next, Pass};
use crate::backlog::COUNT_CAP;
use crate::connection::db_error::{Bound, Constraint, DbError, Rejection};
use crate::observe::ChunkOutcome;
use crate::sql::KeyRange;
use crate::sql::held::ForeignKey;
use crate::sql::query::{Query, Text};
use crate::stop_reason::StopReason;
use crate::target::Order;

/// If the server rejects this many rows with the same error code before any row is deleted, all
/// rows are assumed to be rejected, and the target fails.
const ALIKE: u32 = 20;

/// The maximum number of rows that are excluded by their hashes.
const EXCLUDED: usize = 1_000;

/// The maximum number of rejected rows that are logged as warnings.
const LOGGED: u32 = 5;

/// The maximum number of rows that are read at a time if a part may consist of several rows: the
/// rows of a block, or, in a table without a key, the rows with the same due time.
const ROWS_IN_A_BLOCK: i64 = 2_000;

/// The search for a row whose deletion is rejected.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rejected {
    /// Two numbers of rows or, in heap order, of blocks: how many rows after the cursor are still
    /// to be searched, and the size of the next part. `None` if no row is being searched for.
    search: Option<(u32, u32)>,
    /// The size of the part that was tried last.
    pub(crate) tried: u32,
    /// The number of rejected rows, and the error code of the first rejected row.
    rows: u32,
    code: Option<String>,
}

impl Rejected {
    /// Returns the maximum size of the next part; `None` if no row is being searched for.
    pub(crate) fn part(&self) -> Option<u32> {
        self.search.map(|(_, part)| part)
    }

    /// Records that a part of the chunk was deleted. The row that causes the error is in one of the
    /// other parts.
    pub(crate) fn part_done(&mut self) {
        self.search = self.search.and_then(|(window, _)| {
            let window = window.saturating_sub(self.tried);
            (window > 0).then(|| (window, (window / 2).max(1)))
        });
    }

    /// Limits the next part to one row.
    pub(super) fn search_one(&mut self) {
        self.search = Some((1, 1));
    }

    /// Records that the server rejected a part of the chunk, and halves the part. Returns `false`
    /// if the part cannot be divided further.
    pub(super) fn divide(&mut self) -> bool {
        if self.tried <= 1 {
            self.search = None;
            return false;
        }
        self.search = Some((self.tried, (self.tried / 2).max(1)));
        true
    }

    /// Records a rejected row. Returns whether its error code is the same as for the first rejected
    /// row.
    fn row(&mut self, code: &str) -> bool {
        self.rows += 1;
        self.code.get_or_insert_with(|| code.to_owned()) == code
    }
}

impl Pass<'_, '_> {
    /// Excludes the rows because of which the server rejected a chunk. If they are not known yet,
    /// makes the next part smaller. Returns an error if the target must fail.
    pub(super) async fn exclude(
        &mut self,
        ahead: &KeyRange,
        rejection: Rejection,
    ) -> Result<(), StopReason> {
        self.worker.observer.chunk_failed(self.target, ChunkOutcome::Retried);
        if let Some(foreign_key) = self.foreign_key(&rejection).await? {
            tracing::warn!(
                event = "rows_held",
                target_table = self.target,
                reason = self.reason,
                constraint = foreign_key.constraint.name,
                table = foreign_key.table,
                "rows are referenced by a foreign key; skipping them"
            );
            self.sql.held.foreign_keys.push(foreign_key);
            return Ok(());
        }
        if self.rejected.divide() {
            return Ok(());
        }
        let rows = self.rows_of(ahead).await?;
        if self.sql.is_limited() {
            // The part may contain several rows. Single rows are identified by their positions.
            let order = std::mem::replace(&mut self.sql.order, Order::Heap);
            let result = self.delete_each(rows).await;
            self.sql.order = order;
            return result;
        }
        match rows.into_iter().next() {
            Some((_, hash)) => self.hold(hash, &rejection),
            None => Err(StopReason::Failed(rejection.why)),
        }
    }

    /// Deletes rows one at a time, and excludes those for which the server rejects the deletion.
    async fn delete_each(&mut self, rows: Vec<(KeyRange, String)>) -> Result<(), StopReason> {
        for (row, hash) in rows {
            match self.delete(&row, self.most.rows()).await {
                Ok(deleted) => self.committed(&deleted),
                Err(DbError::Rejected(rejection)) => self.hold(hash, &rejection)?,
                // The row is locked. It is tried again together with the part.
                Err(DbError::Timeout(Bound::Lock)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes the foreign keys that no longer exist from the remembered ones.
    pub(super) async fn check_held(&mut self) -> Result<(), StopReason> {
        for foreign_key in std::mem::take(&mut self.sql.held.foreign_keys) {
            let found = self.find(&foreign_key.constraint).await?;
            self.sql.held.foreign_keys.extend(found);
        }
        Ok(())
    }

    /// Counts the due rows that this pass has left because their deletion fails.
    pub(super) async fn count_held(&mut self) -> Result<(), StopReason> {
        let whole = KeyRange::default();
        let sql = self.sql.ordered(Order::Index);
        let held = sql.held_rows(&whole, &COUNT_CAP);
        self.tally.held_by_foreign_keys += self.count_rows(held.foreign_keys).await?;
        self.tally.held_by_triggers += self.count_rows(held.triggers).await?;
        self.tally.held_by_errors += self.count_rows(held.errors).await?;
        self.tally.uncertain = true;
        Ok(())
    }

    async fn count_rows(&mut self, count: Option<Query<'_>>) -> Result<u64, StopReason> {
        let Some(count) = count else { return Ok(0) };
        match self.worker.connection.one(&count).await.map_err(DbError::from) {
            Ok(row) => Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0)),
            // At least one row is held.
            Err(DbError::Timeout(_)) => Ok(1),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the foreign key that caused a rejection. Returns `None` if the foreign key does not
    /// reference this table, if the role may not read the referencing columns, or if the referenced
    /// rows are already excluded.
    async fn foreign_key(&self, rejection: &Rejection) -> Result<Option<ForeignKey>, StopReason> {
        let Some(constraint) = &rejection.foreign_key else { return Ok(None) };
        let found = self.find(constraint).await?;
        Ok(found.filter(|found| !self.sql.held.foreign_keys.contains(found)))
    }

    async fn find(&self, constraint: &Constraint) -> Result<Option<ForeignKey>, StopReason> {
        const FIND: &str = include_str!("foreign_key.sql");
        let Constraint { schema, table, name } = constraint;
        let connection = &self.worker.connection;
        let params: [(&(dyn ToSql + Sync), Type); 4] = [
            (name, Type::TEXT),
            (schema, Type::TEXT),
            (table, Type::TEXT),
            (&self.sql.oid, Type::OID),
        ];
        let rows =
            connection.deadline.with(1, connection.client.query_typed(FIND, &params)).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        Ok(Some(ForeignKey {
            constraint: constraint.clone(),
            table: row.try_get(0)?,
            refers: row.try_get(1)?,
        }))
    }

    /// Returns the due rows of the next part. Each row is represented by a key range that contains
    /// only this row, and by the hash of its key.
    pub(super) async fn rows_of(
        &mut self,
        ahead: &KeyRange,
    ) -> Result<Vec<(KeyRange, String)>, StopReason> {
        let high = match &self.blocks {
            Some(blocks) => blocks.reach(ahead, 1, u64::MAX).0,
            None => self.probe(ahead, 0).await?,
        };
        let part = KeyRange { low: ahead.low.clone(), high: high.or_else(|| ahead.high.clone()) };
        let most = if self.sql.is_limited() { ROWS_IN_A_BLOCK } else { 1 };
        let keys = self.sql.keys(&part, &most);
        let rows = self.worker.connection.all(&keys).await?;
        let mut found = Vec::new();
        for row in rows {
            let (ctid, hash): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            found.push((one_row(&ctid), hash));
        }
        Ok(found)
    }

    /// Excludes a row. Returns an error if all rows are assumed to be rejected, or if too many rows
    /// are excluded.
    fn hold(&mut self, hash: String, rejection: &Rejection) -> Result<(), StopReason> {
        let alike = self.rejected.row(&rejection.code);
        let rows = self.rejected.rows;
        if alike && rows >= ALIKE && self.tally.deleted == 0 {
            return Err(StopReason::Failed(format!(
                "the first {rows} rows cannot be deleted: {}",
                rejection.why
            )));
        }
        if self.sql.held.hashes().count() >= EXCLUDED {
            return Err(StopReason::Failed(format!(
                "more than {EXCLUDED} rows cannot be deleted: {}",
                rejection.why
            )));
        }
        if rows <= LOGGED {
            tracing::warn!(
                event = "row_held",
                target_table = self.target,
                reason = self.reason,
                why = rejection.why,
                "a row cannot be deleted; skipping it"
            );
        }
        // PL/pgSQL's errors have this class. The functions of triggers raise them, and rarely a
        // function that `where` calls.
        if rejection.code.starts_with("P0") {
            self.sql.held.by_triggers.push(hash);
        } else {
            self.sql.held.by_errors.push(hash);
        }
        Ok(())
    }

    /// Updates the search after a part of a chunk was deleted. `next` is how the pass continues.
    pub(super) fn after_part(&mut self, next: &Next) {
        if matches!(next, Next::After(_) | Next::End) {
            self.rejected.part_done();
        }
    }
}

/// Returns the key range, in heap order, that contains only the row at `ctid`, such as `(3,7)`.
fn one_row(ctid: &str) -> KeyRange {
    let before = ctid
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .and_then(|rest| rest.split_once(','))
        .and_then(|(block, row)| {
            Some(format!("({block},{})", row.parse::<u32>().ok()?.checked_sub(1)?))
        });
    let low = before.unwrap_or_else(|| ctid.to_owned());
    KeyRange { low: Some(vec![Text(low)]), high: Some(vec![Text(ctid.to_owned())]) }
}
