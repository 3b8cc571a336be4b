//! Checks one pass (the work on one table for one reason): whether there is an index to scan, and
//! the plans of the statements.

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::finding::{Code, Finding};
use super::indexes::{self, Index, Wanted};
use super::plans::{Bounds, Judge, Plan};
use super::table::Table;
use super::{Rules, Subject};
use crate::backlog::COUNT_CAP;
use crate::connection::auxiliary::{AuxiliaryConnection, TextRow};
use crate::pass::blocks::Blocks;
use crate::pass::refused::Refused;
use crate::sql::{KeyRange, PassSql};
use crate::target::Order;
use crate::target::due::Due;
use crate::target::name::TableName;

/// If the planner uses another index even for chunks (transactions) of this many rows, the target
/// is unsafe.
const SMALLEST_CHUNK: u32 = 100;

/// A pass on a table, and the data about the table that its checks need.
#[derive(Clone, Copy)]
pub(super) struct Walk<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) table: &'a Table,
    pub(super) indexes: &'a [Index],
    /// The number of the pass, which is also the number of its reason in the target.
    pub(super) number: usize,
    pub(super) pass: &'a PassSql,
    pub(super) rules: Rules,
}

impl Walk<'_> {
    /// Returns whether the pass can scan an index without a predicate. Such an index certainly
    /// contains all due rows, so the planner does not need to prove this.
    pub(super) fn has_whole_index(&self) -> bool {
        let Due { column, set, .. } = &self.pass.due;
        let whole = |index: &Index| index.could_serve(&column.name) && index.predicate.is_none();
        set.is_empty() && self.indexes.iter().any(whole)
    }

    pub(super) async fn examine(
        &self,
        auxiliary: &AuxiliaryConnection,
        judge: &mut Judge<'_>,
    ) -> Result<Vec<Finding>, Error> {
        let Self { subject, table, indexes, number, pass, rules } = *self;
        let pass = &pass.written();
        let mut findings = Vec::new();
        let column = &pass.due.column.name;
        let (all, rows) = (KeyRange::default(), i64::from(subject.chunk) - 1);
        let probe = Plan::of(auxiliary, &pass.probe(&all, &rows)).await?;
        // A partial index serves the pass only if it contains all due rows, which only the planner
        // can prove.
        let sets = !pass.due.set.is_empty();
        let used = if sets {
            self.indexes_of_rows_to_set(auxiliary).await?
        } else {
            probe.indexes_of(&table.name)
        };
        let serving: Vec<&Index> = indexes
            .iter()
            .filter(|index| {
                let whole = index.predicate.is_none() && !sets;
                index.could_serve(column) && (whole || used.contains(&index.name))
            })
            .collect();
        let along: Vec<String> = serving.iter().map(|index| index.name.clone()).collect();
        let ties_broken = serving.iter().any(|index| index.breaks_ties(&pass.key));
        let wanted = Wanted {
            table: &table.name,
            column,
            key: &pass.key,
            mostly_null: table.nulls.get(number).is_some_and(|table_share| *table_share > 0.5),
            rows_to_set: pass.due.differs(""),
        };
        if along.is_empty() {
            findings.push(indexes::none_serves(&wanted, indexes));
        } else {
            findings.extend(self.ancient(auxiliary).await?);
            if !ties_broken && !pass.key.is_empty() {
                findings.extend(self.many_with_the_same_time());
            }
        }

        let bounds = Bounds {
            table: &table.name,
            rows: table.rows,
            max_scan_rows: rules.max_scan_rows,
            along: Some(&along),
            sorts_by: (!ties_broken).then_some(column),
        };
        let reason = subject.target.reasons.get(number).map_or("", |reason| reason.name.as_str());
        judge.judge(&probe, &format!("finding the end of a chunk ({reason})"), &bounds).await?;
        let (range, rows) = if along.is_empty() {
            (all.clone(), rows)
        } else {
            let (range, chunk) = self.largest_chunk(auxiliary, &bounds).await?;
            if chunk < subject.chunk {
                judge.chunk_limits.insert((pass.oid, number), chunk);
                findings.push(small_chunks(&table.name, chunk, &along));
            }
            (range, i64::from(chunk) - 1)
        };
        let mut deletes = vec![(pass.clone(), range, bounds, "deleting a chunk")];
        if subject.target.order != Some(Order::Index) {
            let by_blocks = Bounds { along: None, ..bounds };
            deletes.push((
                pass.ordered(Order::Heap),
                Blocks::new(100, None).whole(),
                by_blocks,
                "deleting by blocks",
            ));
        }
        let none = Refused::none();
        for (pass, range, bounds, what) in &deletes {
            let deletes =
                pass.lock_waits().iter().map(|lock_wait| pass.delete(range, &rows, &0, *lock_wait));
            for query in pass.lock(range, &rows, &none.array).into_iter().chain(deletes) {
                match Plan::of(auxiliary, &query).await {
                    Ok(delete) => judge.judge(&delete, &format!("{what} ({reason})"), bounds).await?,
                    // Another session holds a lock that allows reads but not deletes. The plans of
                    // the other statements contain the same scan and condition, and a run waits
                    // until the lock is released.
                    Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => findings.push(Finding::new(
                        Code::PlanUnseen,
                        format!(
                            "another session holds a lock on {}, so the plan of the delete could not be checked",
                            table.name.quoted()
                        ),
                        "check again when that session has released the lock (pg_locks shows which one)",
                    )),
                    Err(error) => return Err(error),
                }
            }
        }
        let count = Plan::of(auxiliary, &pass.count(&all, &COUNT_CAP)).await?;
        // A run can do without the count, so its plan is no reason to skip the target.
        let mut of_count = Judge::new(auxiliary);
        of_count.judge(&count, &format!("counting due rows ({reason})"), &bounds).await?;
        if let Some(Finding { what, .. }) = of_count.findings.into_iter().next() {
            let name = table.name.quoted();
            findings.push(Finding::new(
                Code::SlowCount,
                format!("{what}; the count ends after STATEMENT_TIMEOUT"),
                if ties_broken { format!("VACUUM (ANALYZE) {name}") } else { wanted.create() },
            ));
        }
        Ok(findings)
    }

    /// Returns the partial indexes that contain only rows whose columns are still to be set. If the
    /// planner cannot prove this from the condition of an index, it checks the columns of each row
    /// in a filter. An index with other rows, too, would be read as a whole in each run.
    async fn indexes_of_rows_to_set(
        &self,
        auxiliary: &AuxiliaryConnection,
    ) -> Result<Vec<String>, Error> {
        let mut pass = self.pass.written();
        // Skipped times are checked in a filter, too.
        pass.due.skipped = None;
        let probe = Plan::of(auxiliary, &pass.probe(&KeyRange::default(), &0)).await?;
        Ok(probe.unfiltered_indexes_of(&self.table.name))
    }

    /// Returns the key range of the first chunk, and the number of its rows: the configured
    /// maximum, or less if the planner would read a range of that size through another index.
    async fn largest_chunk(
        &self,
        auxiliary: &AuxiliaryConnection,
        bounds: &Bounds<'_>,
    ) -> Result<(KeyRange, u32), Error> {
        let pass = &self.pass.written();
        let mut chunk = self.subject.chunk;
        loop {
            let rows = i64::from(chunk) - 1;
            let range = first_chunk(auxiliary, pass, rows).await?;
            if chunk <= SMALLEST_CHUNK || self.is_planned(auxiliary, &range, &rows, bounds).await? {
                return Ok((range, chunk));
            }
            chunk = (chunk / 2).max(SMALLEST_CHUNK);
        }
    }

    /// Returns whether every statement that deletes the key range reads it through one of the
    /// indexes that the pass may scan.
    async fn is_planned(
        &self,
        auxiliary: &AuxiliaryConnection,
        range: &KeyRange,
        rows: &i64,
        bounds: &Bounds<'_>,
    ) -> Result<bool, Error> {
        let pass = &self.pass.written();
        for lock_wait in pass.lock_waits() {
            match Plan::of(auxiliary, &pass.delete(range, rows, &0, *lock_wait)).await {
                Ok(plan) if plan.other_indexes(bounds).is_some() => return Ok(false),
                Ok(_) => {}
                Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn many_with_the_same_time(&self) -> Option<Finding> {
        let Self { subject, table, number, pass, .. } = *self;
        let table_share = table.most_of_one_time.get(number).copied().unwrap_or_default();
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and never negative"
        )]
        let same_time_rows = (table_share * table.rows as f32) as u64;
        if same_time_rows <= u64::from(subject.chunk) {
            return None;
        }
        let (name, column) = (table.name.quoted(), pass.due.column.name.quoted());
        let key: Vec<String> = pass.key.iter().map(|column| column.name.quoted()).collect();
        Some(Finding::new(
            Code::IndexWithoutKey,
            format!(
                "about {same_time_rows} rows of {name} have the same {column}: because the index does not contain the key, each chunk of these rows sorts all of them"
            ),
            format!("CREATE INDEX CONCURRENTLY ON {name} ({column}, {})", key.join(", ")),
        ))
    }
}

fn small_chunks(table: &TableName, chunk: u32, along: &[String]) -> Finding {
    let table = table.quoted();
    Finding::new(
        Code::SmallChunks,
        format!(
            "chunks of {table} have at most {chunk} rows: for larger chunks, the planner would not use {}",
            along.join(" or ")
        ),
        format!(
            "run ANALYZE {table}; if its tablespace has a random_page_cost of its own, lower it with ALTER TABLESPACE"
        ),
    )
}

/// Returns the key range of a chunk that begins after the first due row, so that the range has a
/// lower and an upper bound like that of most chunks. If too few rows are due, the range has no
/// upper bound.
async fn first_chunk(
    auxiliary: &AuxiliaryConnection,
    pass: &PassSql,
    rows: i64,
) -> Result<KeyRange, Error> {
    let mut range = KeyRange::default();
    for offset in [0, rows] {
        let query = pass.probe(&range, &offset);
        let cursor = match auxiliary.of_target(&query).await {
            Ok(row) => row.map(TextRow::cursor),
            // The statement timed out, for example on cold disks or because of many dead entries at
            // the start of the index. A run can handle that; the check does not need to.
            Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
                return Ok(KeyRange::default());
            }
            Err(error) => return Err(error),
        };
        let Some(cursor) = cursor else { break };
        if range.low.is_none() {
            range.low = Some(cursor);
        } else {
            range.high = Some(cursor);
        }
    }
    Ok(range)
}
