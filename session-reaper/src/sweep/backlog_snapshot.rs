//! The backlog as it stands now, of every target: what `status` shows of it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Error;

use super::auxiliary::AuxiliaryConnection;
use super::backlog::{self, Backlog, RowCount, START_CAP};
use super::connection::Connections;
use super::error::SweepError;
use super::preflight::{self, Finding};
use super::run::Sweep;
use super::target::Target;
use super::target_run::TargetRun;
use crate::recent_runs::Sample;

/// The backlog of one target. The names and the order of its members are an interface.
#[derive(Clone, Debug, Serialize)]
pub struct BacklogSnapshot {
    /// Its name in reports.
    pub target: String,
    /// Its table.
    pub table: String,
    /// Due rows, counted up to a cap; `None` when they were not counted.
    pub rows: Option<u64>,
    /// There are more.
    pub capped: bool,
    /// When the oldest fell due.
    pub oldest_due: Option<DateTime<Utc>>,
    /// By reason. A row that is due for several is counted under the first.
    pub due: Vec<ReasonBacklog>,
    /// When it was counted.
    pub sampled_at: Option<DateTime<Utc>>,
    /// Why it was not.
    pub not_counted: Option<String>,
}

/// What is due for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonBacklog {
    /// Its name.
    pub reason: String,
    /// Rows.
    pub rows: u64,
    /// There are more.
    pub capped: bool,
    /// When the oldest fell due, where that is known by reason.
    pub oldest_due: Option<DateTime<Utc>>,
}

impl BacklogSnapshot {
    fn of(target: &Target) -> Self {
        Self {
            target: target.name.clone(),
            table: target.table.quoted(),
            rows: None,
            capped: false,
            oldest_due: None,
            due: Vec::new(),
            sampled_at: None,
            not_counted: None,
        }
    }

    /// Nobody has counted it.
    pub(crate) fn unknown(target: &Target, why: &str) -> Self {
        Self { not_counted: Some(why.to_owned()), ..Self::of(target) }
    }

    /// As a run of this process counted it.
    pub(crate) fn sampled(target: &Target, sample: &Sample) -> Self {
        let due = sample.rows.iter().map(|(reason, rows)| ReasonBacklog {
            reason: reason.clone(),
            rows: *rows,
            capped: sample.capped,
            oldest_due: None,
        });
        Self {
            rows: Some(sample.rows.iter().map(|(_, rows)| rows).sum()),
            capped: sample.capped,
            oldest_due: sample.oldest_due,
            due: due.collect(),
            sampled_at: Some(sample.at),
            ..Self::of(target)
        }
    }

    /// As the report of some run has it, which was written at `at`.
    pub(crate) fn reported(target: &Target, rows: u64, capped: bool, at: DateTime<Utc>) -> Self {
        Self { rows: Some(rows), capped, sampled_at: Some(at), ..Self::of(target) }
    }
}

impl Sweep {
    /// Counts what is due, on the indexes and up to a cap that is read in some milliseconds. A
    /// target that a run would leave alone is not counted: that would take reading its table,
    /// or a right that is missing.
    pub async fn standings(&self) -> Result<Vec<BacklogSnapshot>, SweepError> {
        let Connections { lock_connection, auxiliary, started_at, .. } =
            Connections::open(&self.connect, self.bounds, &self.names()).await?;
        let proof = self.prove(&lock_connection).await?;
        let lost = |error: Error| SweepError::lost(&error);
        let mut standings = Vec::new();
        for target_run in self
            .examined(&lock_connection, &auxiliary, started_at, proof.as_ref())
            .await
            .map_err(lost)?
        {
            standings.push(backlog_snapshot(&auxiliary, &target_run, started_at).await);
        }
        Ok(standings)
    }
}

async fn backlog_snapshot(
    auxiliary: &AuxiliaryConnection,
    target_run: &TargetRun<'_>,
    at: DateTime<Utc>,
) -> BacklogSnapshot {
    let target = target_run.target;
    let blocking: Vec<&Finding> =
        target_run.findings.iter().filter(|finding| finding.is_unsafe()).collect();
    if !blocking.is_empty() {
        return BacklogSnapshot::unknown(target, &preflight::why(&blocking));
    }
    let tables = target_run.tables();
    if tables.is_empty() {
        // Partitions that are yet to be made.
        return BacklogSnapshot {
            rows: Some(0),
            sampled_at: Some(at),
            ..BacklogSnapshot::of(target)
        };
    }
    let backlog = backlog::count(auxiliary, target, &tables, START_CAP).await;
    if backlog.unknown {
        return BacklogSnapshot::unknown(
            target,
            "counting took too long, or was refused: see the log",
        );
    }
    let due = target.reasons.iter().enumerate().map(|(index, reason)| ReasonBacklog {
        reason: reason.name.clone(),
        rows: backlog.rows.get(index).copied().unwrap_or(0),
        capped: is_capped(&backlog, index, target.reasons.len()),
        oldest_due: backlog
            .oldest
            .get(index)
            .copied()
            .flatten()
            .and_then(|time| moment(time + reason.keep.as_secs_f64())),
    });
    BacklogSnapshot {
        rows: Some(backlog.total()),
        capped: backlog.capped,
        oldest_due: backlog.oldest_due(target).and_then(moment),
        due: due.collect(),
        sampled_at: Some(at),
        ..BacklogSnapshot::of(target)
    }
}

fn is_capped(backlog: &Backlog, index: usize, reasons: usize) -> bool {
    backlog.seen.iter().skip(index).step_by(reasons).any(|seen| !matches!(seen, RowCount::Rows(_)))
}

fn moment(seconds: f64) -> Option<DateTime<Utc>> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "`as` saturates; what is out of range is no date"
    )]
    let micros = (seconds * 1e6) as i64;
    DateTime::from_timestamp_micros(micros)
}
