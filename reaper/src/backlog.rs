//! Counts due rows, up to a cap. The statements belong to the *passes* of a run ([`crate::pass`]):
//! a pass deletes the due rows of one table for one reason.

pub(crate) mod snapshot;
pub(crate) mod state;

use pg::error_text::chain;
use tokio_postgres::Error;

use crate::backlog::state::BacklogState;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::connection::db_error::DbError;
use crate::sql::{KeyRange, PassSql};
use crate::target::{Reason, Target};

/// The number of rows at which a count stops. It is large enough to show whether a backlog grows,
/// and small enough to be reached quickly: reading a million index entries takes about a quarter of
/// a second, and deleting a million rows takes several seconds or more.
pub(crate) const COUNT_CAP: i64 = 1_000_000;

/// The cap of the second attempt to count the rows of a pass. There is a second attempt only if the
/// first one timed out, for example because the index was not in memory.
const SMALL_CAP: i64 = 10_000;

/// The due rows of one target. A row that is due for several reasons is counted only for the first
/// of these reasons.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog {
    /// One count for each reason why rows are due.
    pub(crate) rows: Vec<u64>,
    /// `true` if a cap was reached and more rows are due.
    pub(crate) capped: bool,
    /// `true` if some rows could not be counted.
    pub(crate) unknown: bool,
    /// `true` if a count began at a watermark (the due time before which earlier runs left no due
    /// row). Rows that were inserted before the watermark are not counted.
    pub(crate) behind: bool,
    /// The number of rows that each pass would read. The passes over the first table come first,
    /// then those over the second table, and so on.
    pub(crate) seen: Vec<RowCount>,
    /// The oldest time in the due column of each reason, in seconds since 1970. `None` if no row is
    /// due.
    pub(crate) oldest: Vec<Option<f64>>,
}

impl Backlog {
    /// Returns a backlog without due rows.
    pub(crate) fn none(target: &Target) -> Self {
        let reasons = target.reasons.len();
        Self { rows: vec![0; reasons], oldest: vec![None; reasons], ..Self::default() }
    }

    /// Returns a backlog of which no row was counted.
    pub(crate) fn not_counted(target: &Target) -> Self {
        Self { capped: true, unknown: true, ..Self::none(target) }
    }

    pub(crate) fn state(&self) -> BacklogState {
        if self.unknown || (self.capped && self.total() == 0) {
            BacklogState::Unknown
        } else if self.capped || self.behind {
            BacklogState::AtLeast
        } else {
            BacklogState::Exact
        }
    }

    pub(crate) fn total(&self) -> u64 {
        self.rows.iter().sum()
    }

    pub(crate) fn total_f64(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "rows stay far below 2^53")]
        let total = self.total() as f64;
        total
    }

    /// Returns when the oldest due row became due, considering all reasons. This is the time in the
    /// due column plus the retention period, in seconds since 1970. The result is at least 1, even
    /// for a time such as `-infinity`, because 0 means "none" in the metrics.
    pub(crate) fn oldest_due(&self, target: &Target) -> Option<f64> {
        let due_since = |(oldest, reason): (&Option<f64>, &Reason)| {
            oldest.map(|time| time + reason.keep.as_secs_f64())
        };
        self.oldest
            .iter()
            .zip(&target.reasons)
            .filter_map(due_since)
            .reduce(f64::min)
            .map(|time| time.max(1.0))
    }
}

/// The result of counting the rows of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowCount {
    Rows(u64),
    /// There are more rows than the cap.
    More,
    /// The rows were not counted, because other tables used up the cap.
    Uncounted,
}

impl std::fmt::Display for RowCount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows(rows) => write!(f, "{rows}"),
            Self::More => f.write_str("more than were counted"),
            Self::Uncounted => f.write_str("not counted"),
        }
    }
}

/// The cap of the count at the start of a run. It is large enough to choose the scan order of a
/// pass and to show the progress of the run.
pub(crate) const START_CAP: i64 = 100_000;

/// Counts the due rows of each table for each reason. If a count fails, the error is logged, and
/// the result is treated as "more than the cap".
pub(crate) async fn count(
    auxiliary: &AuxiliaryConnection,
    target: &Target,
    tables: &[&[PassSql]],
    cap: i64,
) -> Backlog {
    let reasons = target.reasons.len();
    let mut backlog = Backlog::none(target);
    let mut left = vec![cap; reasons];
    for passes in tables {
        for (reason, pass) in passes.iter().enumerate() {
            backlog.behind |= pass.from.is_some();
            // If the pass has a condition, count fewer rows, because evaluating the condition costs
            // many times as much as reading the index.
            let cap = if pass.only.is_some() { left[reason].min(START_CAP) } else { left[reason] };
            if auxiliary.deadline.is_over() {
                (backlog.unknown, backlog.capped) = (true, true);
                backlog.seen.push(RowCount::Uncounted);
                continue;
            }
            let counted = match count_pass(auxiliary, pass, cap).await {
                Err(error)
                    if matches!(DbError::of(&error), DbError::Timeout(_))
                        && !auxiliary.deadline.is_over() =>
                {
                    count_pass(auxiliary, pass, SMALL_CAP.min(cap)).await
                }
                counted => counted,
            };
            let counted = match counted {
                Ok(counted) => counted,
                // A partition that was dropped has no due rows.
                Err(error) if matches!(DbError::of(&error), DbError::Gone(_)) => {
                    backlog.seen.push(RowCount::Rows(0));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(
                        event = "backlog_count_failed",
                        target_table = target.name,
                        error = chain(&error),
                        "due rows not counted"
                    );
                    backlog.unknown = true;
                    Due { rows: 0, seen: None, oldest: None }
                }
            };
            left[reason] -= counted
                .seen
                .map_or(left[reason], |seen| i64::try_from(seen).unwrap_or(left[reason]));
            backlog.rows[reason] += counted.rows;
            backlog.capped |= counted.seen.is_none();
            backlog.seen.push(match counted.seen {
                Some(rows) => RowCount::Rows(rows),
                None if cap == 0 => RowCount::Uncounted,
                None => RowCount::More,
            });
            backlog.oldest[reason] =
                [backlog.oldest[reason], counted.oldest].into_iter().flatten().reduce(f64::min);
        }
    }
    backlog
}

struct Due {
    rows: u64,
    /// The number of rows that were read; `None` if there are more rows than the cap.
    seen: Option<u64>,
    oldest: Option<f64>,
}

async fn count_pass(
    auxiliary: &AuxiliaryConnection,
    pass: &PassSql,
    cap: i64,
) -> Result<Due, Error> {
    let all = KeyRange::default();
    // Reads one row more than the cap, to detect whether there are more rows than the cap.
    let look_at = cap + 1;
    let pass = pass.written();
    let query = pass.count(&all, &look_at);
    let counted = auxiliary.of_target(&query).await?.and_then(|row| row.counted());
    // The statement always returns a row. If it ever returns none, the counts are unknown.
    let Some(counted) = counted else { return Ok(Due { rows: 0, seen: None, oldest: None }) };
    let cap = u64::try_from(cap).unwrap_or(0);
    Ok(Due {
        rows: counted.fresh.min(cap),
        seen: Some(counted.seen).filter(|seen| *seen <= cap),
        oldest: counted.oldest,
    })
}
