//! The result of `plan`: what a run would delete now, without deleting it.

use std::time::Duration;

use crate::store::runs;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Error;

use crate::backlog::{self, Backlog, COUNT_CAP, RowCount};
use crate::connection::Connections;
use crate::connection::auxiliary::{AuxiliaryConnection, TextRow};
use crate::error::SweepError;
use crate::interrupt::Interrupt;
use crate::preflight::first_run_guard::{self, Guard};
use crate::preflight::table_share::TableShare;
use crate::preflight::{self, Finding};
use crate::report::run_report::RunReport;
use crate::run::Sweep;
use crate::run::target_run::TargetRun;
use crate::sql::{KeyRange, LockWait, PassSql};
use crate::time::{self, as_f64, milliseconds};

/// The time for deleting a row that is assumed if there is no history: the highest measured value.
/// A row of another table that is deleted together with the row takes the same time.
const TIME_A_ROW: Duration = Duration::from_micros(10);

/// The minimum number of rows that an earlier run must have deleted from the target for estimates
/// to be based on that run.
const MIN_ROWS: u64 = 1_000;

/// The maximum number of rows that are examined to find the newest row that satisfies a condition.
const NEWEST_CAP: i64 = 1_000;

/// The number of rows in the chunk (the transaction that deletes rows) whose statements are shown.
const SHOWN: i64 = 1_000;

/// What a run would do. The names and the order of the fields are a stable interface.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The time of the plan by the database's clock. Due rows are determined relative to it.
    pub planned_at: DateTime<Utc>,
    /// The findings on the server that prevent a run from deleting anything.
    pub refused: Vec<Finding>,
    /// The targets, in the order in which a run would process them.
    pub targets: Vec<PlannedTarget>,
}

/// What a run would do with one target.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedTarget {
    /// The name of the target in reports.
    pub target: String,
    /// The table of the target.
    pub table: String,
    /// The findings that prevent a run from processing the target.
    pub refused: Vec<Finding>,
    /// The due rows, by the reason why they are due. Empty if the rows were not counted, because
    /// counting would require reading the whole table.
    pub due: Vec<PlannedReason>,
    /// The number of rows in the table.
    pub rows: Option<u64>,
    /// Whether `rows` is an estimate from a sample of blocks.
    pub rows_estimated: bool,
    /// The share of the rows that would be deleted, from 0 to 1.
    pub share: Option<f64>,
    /// The approximate number of chunks (transactions).
    pub chunks: u64,
    /// The approximate duration, including the idle times between chunks.
    pub estimated_ms: u64,
    /// The basis of the estimate: `history` or `default`.
    pub estimated_by: &'static str,
    /// The statements of the first chunk, if requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sql: Vec<String>,
}

/// The rows that are due for one reason. A row that is due for several reasons is counted only for
/// the first of these reasons.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedReason {
    /// The name of the reason why the rows are due.
    pub reason: String,
    /// The number of due rows.
    pub rows: u64,
    /// Whether counting stopped at a limit, so that more rows are due than `rows`.
    pub capped: bool,
    /// When the oldest row became due.
    pub oldest_due: Option<DateTime<Utc>>,
    /// When the newest row became due.
    pub newest_due: Option<DateTime<Utc>>,
}

impl PlannedTarget {
    /// Returns the number of rows that would be deleted, without the rows that were not counted.
    #[must_use]
    pub fn due_rows(&self) -> u64 {
        self.due.iter().map(|reason| reason.rows).sum()
    }
}

impl Sweep {
    /// Counts due rows through indexes, up to a limit, and changes nothing.
    ///
    /// # Errors
    ///
    /// Fails if the database is unreachable, if the connection is lost, or if the targets do not
    /// apply to the database.
    pub async fn plan(&self, sql: bool) -> Result<Plan, SweepError> {
        let Connections { lock_connection, auxiliary, started_at, .. } =
            self.open(&Interrupt::never()).await?;
        let proof = self.prove(&lock_connection).await?;
        let lost = |error: Error| SweepError::lost(&error);
        let server = preflight::server::examine(&auxiliary).await.map_err(lost)?;
        let refused: Vec<Finding> = server.into_iter().filter(Finding::is_unsafe).collect();
        let reports =
            runs::last_reports(&auxiliary.client, &auxiliary.own).await.unwrap_or_default();
        let reports: Vec<RunReport> = reports.iter().filter_map(RunReport::read).collect();
        let mut targets = Vec::new();
        for target_run in self
            .examined(&lock_connection, &auxiliary, started_at, proof.as_ref())
            .await
            .map_err(lost)?
        {
            targets.push(self.planned(&auxiliary, &target_run, &reports, sql).await.map_err(lost)?);
        }
        Ok(Plan { planned_at: started_at, refused, targets })
    }

    async fn planned(
        &self,
        auxiliary: &AuxiliaryConnection,
        target_run: &TargetRun<'_>,
        reports: &[RunReport],
        sql: bool,
    ) -> Result<PlannedTarget, Error> {
        let target = target_run.target;
        let mut planned = PlannedTarget {
            target: target.name.clone(),
            table: target.table.quoted(),
            refused: target_run
                .findings
                .iter()
                .filter(|finding| finding.is_unsafe())
                .cloned()
                .collect(),
            due: Vec::new(),
            rows: None,
            rows_estimated: false,
            share: None,
            chunks: 0,
            estimated_ms: 0,
            estimated_by: "default",
            sql: Vec::new(),
        };
        // Without an index, counting would read the whole table.
        let tables: Vec<&[PassSql]> = target_run.tables();
        if tables.is_empty() || !planned.refused.is_empty() {
            return Ok(planned);
        }
        let backlog = backlog::count(auxiliary, target, &tables, COUNT_CAP).await;
        planned.due = due(auxiliary, target_run, &tables, &backlog).await;
        let table_share = TableShare::of(auxiliary, &tables).await;
        // The share is omitted for a table that takes too long to sample.
        if let Ok(table_share) = &table_share {
            planned.rows = Some(rounded(table_share.rows));
            planned.rows_estimated = table_share.sampled;
            planned.share = Some(table_share.fraction());
        }
        if let Some(oid) =
            target_run.oid().filter(|_| !first_run_guard::is_confirmed(target, self.first_run))
        {
            let first_run_guard = Guard::of(auxiliary, target, oid).await;
            planned.refused.extend(if first_run_guard.is_first() {
                first_run_guard.judge_first(target, table_share, self.first_run)
            } else {
                first_run_guard.judge_later(target, table_share, self.first_run)
            });
        }
        let rows_per_row = 1.0 + dependents_per_row(auxiliary, &tables).await?;
        self.estimate(&mut planned, reports, rows_per_row);
        if sql {
            let passes: Vec<&PassSql> = tables.iter().copied().flatten().collect();
            for pass in passes {
                planned.sql.extend(first_chunk(auxiliary, pass).await?);
            }
        }
        Ok(planned)
    }

    /// Estimates the duration from the last run that deleted enough rows or, without such a run,
    /// from [`TIME_A_ROW`]. `rows_per_row` is the average number of rows, in all tables together,
    /// that the deletion of a row of the target deletes.
    fn estimate(&self, planned: &mut PlannedTarget, reports: &[RunReport], rows_per_row: f64) {
        let rows = planned.due_rows();
        let targets = reports.iter().filter_map(|report| report.target(&planned.target));
        let mut before = targets.filter_map(|target| {
            let deleted = target.deleted_rows();
            let enough = deleted >= MIN_ROWS && target.chunks > 0;
            enough.then_some((deleted, target.chunks, target.elapsed_ms?))
        });
        if let Some((deleted, chunks, elapsed_ms)) = before.next() {
            planned.chunks = (rows * chunks).div_ceil(deleted);
            planned.estimated_ms = rows.saturating_mul(elapsed_ms) / deleted;
            planned.estimated_by = "history";
        } else {
            let rows = rounded(as_f64(rows) * rows_per_row);
            let limit = u128::from(self.pace.max_chunk);
            let fitting =
                (self.pace.chunk_time.as_micros() / TIME_A_ROW.as_micros()).clamp(1, limit);
            planned.chunks = rows.div_ceil(u64::try_from(fitting).unwrap_or(1));
            let work = TIME_A_ROW.as_secs_f64() * as_f64(rows) / self.pace.duty_cycle;
            planned.estimated_ms =
                milliseconds(Duration::try_from_secs_f64(work).unwrap_or(Duration::MAX));
        }
    }
}

async fn due(
    auxiliary: &AuxiliaryConnection,
    target_run: &TargetRun<'_>,
    tables: &[&[PassSql]],
    backlog: &Backlog,
) -> Vec<PlannedReason> {
    let reasons = target_run.target.reasons.len();
    let mut due = Vec::with_capacity(reasons);
    for (index, reason) in target_run.target.reasons.iter().enumerate() {
        let fell_due = |time: f64| time::from_seconds(time + reason.keep.as_secs_f64());
        let mut newest: Option<f64> = None;
        let passes: Vec<&PassSql> = tables.iter().filter_map(|passes| passes.get(index)).collect();
        for pass in passes {
            let cap = if pass.only.is_some() { NEWEST_CAP } else { 1 };
            let pass = pass.written();
            // The time is omitted for a partition that was just dropped or that takes too long to
            // read.
            let row = auxiliary.of_target(&pass.newest(&cap)).await.ok().flatten();
            newest =
                [newest, row.and_then(|row| row.number(0))].into_iter().flatten().reduce(f64::max);
        }
        due.push(PlannedReason {
            reason: reason.name.clone(),
            rows: backlog.rows.get(index).copied().unwrap_or(0),
            capped: backlog.unknown
                || backlog
                    .seen
                    .iter()
                    .skip(index)
                    .step_by(reasons)
                    .any(|seen| !matches!(seen, RowCount::Rows(_))),
            oldest_due: backlog.oldest.get(index).copied().flatten().and_then(fell_due),
            newest_due: newest.and_then(fell_due),
        });
    }
    due
}

/// Estimates from the statistics how many rows of other tables are deleted with each row of the
/// tables: rows of `children`, and rows that reference the row through ON DELETE CASCADE.
async fn dependents_per_row(
    auxiliary: &AuxiliaryConnection,
    tables: &[&[PassSql]],
) -> Result<f64, Error> {
    const CASCADES: &str = "SELECT DISTINCT k.conrelid FROM pg_catalog.pg_constraint k
        WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.confdeltype OPERATOR(pg_catalog.=) 'c'
            AND k.confrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])";
    let passes = tables.iter().filter_map(|passes| passes.first());
    let own: Vec<u32> = passes.clone().map(|pass| pass.oid).collect();
    let mut dependents: Vec<u32> =
        passes.flat_map(|pass| &pass.children).map(|child| child.oid).collect();
    for row in auxiliary.rows(CASCADES, &[&own]).await? {
        dependents.push(row.try_get(0)?);
    }
    dependents.sort_unstable();
    dependents.dedup();
    dependents.retain(|oid| !own.contains(oid));
    let rows = TableShare::estimated_rows(auxiliary, &own).await?;
    Ok(TableShare::estimated_rows(auxiliary, &dependents).await? / rows.max(1.0))
}

/// Returns the statement that finds the end of the first chunk, and the statement that would delete
/// the chunk. The delete statement contains the process ID of this connection, so it deletes
/// nothing if it is executed on another connection.
async fn first_chunk(
    auxiliary: &AuxiliaryConnection,
    pass: &PassSql,
) -> Result<[String; 2], Error> {
    let (written, all, last) = (pass.written(), KeyRange::default(), SHOWN - 1);
    let high = auxiliary.of_target(&written.probe(&all, &last)).await?.map(TextRow::cursor);
    let pid = auxiliary.row("SELECT pg_catalog.pg_backend_pid()", &[]).await?;
    let pid: i32 = pid.map(|row| row.try_get(0)).transpose()?.unwrap_or_default();
    let lock_wait = written.lock_waits().first().copied().unwrap_or(LockWait::SkipLocked);
    let delete = written.delete(&KeyRange { low: None, high }, &SHOWN, &pid, lock_wait).text;
    Ok([format!("{};", written.probe(&all, &last).text), format!("{delete};")])
}

fn rounded(rows: f64) -> u64 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, and the value is a count"
    )]
    let rows = rows.round() as u64;
    rows
}
