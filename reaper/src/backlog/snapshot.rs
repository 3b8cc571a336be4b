//! The current backlog (the number of due rows) of every target, for `status`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio_postgres::Error;

use crate::backlog::state::BacklogState;
use crate::backlog::{self, Backlog, RowCount, START_CAP};
use crate::connection::Connections;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::error::SweepError;
use crate::interrupt::Interrupt;
use crate::preflight::{self, Finding};
use crate::run::Sweep;
use crate::run::target_run::TargetRun;
use crate::target::Target;
use crate::time;

/// The backlog of one target. The names and the order of the fields are part of the output format.
#[derive(Clone, Debug, Serialize)]
pub struct BacklogSnapshot {
    /// The name of the target in reports.
    pub target: String,
    /// The table of the target.
    pub table: String,
    /// The number of due rows, counted up to a limit. `None` if they were not counted.
    pub rows: Option<u64>,
    /// Whether counting stopped at the limit, so that more rows are due than were counted.
    pub capped: bool,
    /// How reliable `rows` is. Omitted if `rows` is exact.
    #[serde(skip_serializing_if = "BacklogState::is_exact")]
    pub state: BacklogState,
    /// When the oldest due row became due.
    pub oldest_due: Option<DateTime<Utc>>,
    /// The due rows of each reason. A row that is due for several reasons is counted only for the
    /// first of these reasons.
    pub due: Vec<ReasonBacklog>,
    /// When the rows were counted.
    pub sampled_at: Option<DateTime<Utc>>,
    /// The reason why the rows were not counted; `None` if they were counted.
    pub not_counted: Option<String>,
}

/// The due rows of one reason.
#[derive(Clone, Debug, Serialize)]
pub struct ReasonBacklog {
    /// The name of the reason why the rows are due.
    pub reason: String,
    /// The number of due rows.
    pub rows: u64,
    /// Whether counting stopped at the limit, so that more rows are due than were counted.
    pub capped: bool,
    /// When the oldest due row became due. `None` if no row is due. Also `None` if the rows were
    /// counted by a run, because a run reports this time only for all reasons together.
    pub oldest_due: Option<DateTime<Utc>>,
}

/// The backlog of a target, as counted during a run. [`crate::Observer::backlog_counted`] receives
/// these values.
#[derive(Clone, Debug)]
pub struct BacklogSample {
    /// The name of each reason, with the number of rows that are due for this reason.
    pub rows: Vec<(String, u64)>,
    /// Whether counting stopped at the limit, so that more rows are due than were counted.
    pub capped: bool,
    /// How reliable the counts are.
    pub state: BacklogState,
    /// When the oldest row became due.
    pub oldest_due: Option<DateTime<Utc>>,
    /// The time of the count, by the clock of this host.
    pub at: DateTime<Utc>,
}

impl BacklogSnapshot {
    fn of(target: &Target) -> Self {
        Self {
            target: target.name.clone(),
            table: target.table.quoted(),
            rows: None,
            capped: false,
            state: BacklogState::Unknown,
            oldest_due: None,
            due: Vec::new(),
            sampled_at: None,
            not_counted: None,
        }
    }

    /// Returns a snapshot of a backlog that was not counted.
    #[must_use]
    pub fn unknown(target: &Target, why: &str) -> Self {
        Self { not_counted: Some(why.to_owned()), ..Self::of(target) }
    }

    /// Returns the backlog that a run of this process counted.
    #[must_use]
    pub fn sampled(target: &Target, sample: &BacklogSample) -> Self {
        let due = sample.rows.iter().map(|(reason, rows)| ReasonBacklog {
            reason: reason.clone(),
            rows: *rows,
            capped: sample.capped,
            oldest_due: None,
        });
        Self {
            rows: Some(sample.rows.iter().map(|(_, rows)| rows).sum()),
            capped: sample.capped,
            state: sample.state,
            oldest_due: sample.oldest_due,
            due: due.collect(),
            sampled_at: Some(sample.at),
            ..Self::of(target)
        }
    }

    /// Returns the backlog from the report of a run. The report was written at `at`.
    #[must_use]
    pub fn reported(
        target: &Target,
        (rows, capped, state): (u64, bool, BacklogState),
        at: DateTime<Utc>,
    ) -> Self {
        Self { rows: Some(rows), capped, state, sampled_at: Some(at), ..Self::of(target) }
    }
}

impl Sweep {
    /// Counts the due rows of every target by scanning the indexes, up to a limit. Counting up to
    /// the limit takes a few milliseconds. The rows of a target that a run would skip are not
    /// counted: if an index is missing, counting would read the whole table, and if a privilege is
    /// missing, counting would fail.
    pub async fn backlog_snapshots(&self) -> Result<Vec<BacklogSnapshot>, SweepError> {
        let Connections { lock_connection, auxiliary, started_at, .. } =
            self.open(&Interrupt::never()).await?;
        let proof = self.prove(&lock_connection).await?;
        let lost = |error: Error| SweepError::lost(&error);
        let mut snapshots = Vec::new();
        for target_run in self
            .examined(&lock_connection, &auxiliary, started_at, proof.as_ref())
            .await
            .map_err(lost)?
        {
            snapshots.push(backlog_snapshot(&auxiliary, &target_run, started_at).await);
        }
        Ok(snapshots)
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
        // The table is partitioned but has no partitions yet.
        return BacklogSnapshot {
            rows: Some(0),
            state: BacklogState::Exact,
            sampled_at: Some(at),
            ..BacklogSnapshot::of(target)
        };
    }
    let backlog = backlog::count(auxiliary, target, &tables, START_CAP).await;
    if backlog.unknown {
        return BacklogSnapshot::unknown(
            target,
            "the count timed out or failed; see the log for the error",
        );
    }
    if backlog.state() == BacklogState::Unknown {
        return BacklogSnapshot::unknown(
            target,
            "the count reached its limit before it found a row that may be deleted",
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
            .and_then(|time| time::from_seconds(time + reason.keep.as_secs_f64())),
    });
    BacklogSnapshot {
        rows: Some(backlog.total()),
        capped: backlog.capped,
        state: backlog.state(),
        oldest_due: backlog.oldest_due(target).and_then(time::from_seconds),
        due: due.collect(),
        sampled_at: Some(at),
        ..BacklogSnapshot::of(target)
    }
}

fn is_capped(backlog: &Backlog, index: usize, reasons: usize) -> bool {
    backlog.seen.iter().skip(index).step_by(reasons).any(|seen| !matches!(seen, RowCount::Rows(_)))
}
