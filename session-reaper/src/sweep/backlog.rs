//! What is due, counted up to a cap.

use schema::connect::chain;
use tokio_postgres::Error;

use super::auxiliary::AuxiliaryConnection;
use super::db_error::DbError;
use super::sql::{KeyRange, PassSql};
use super::target::{Reason, Target};

/// Rows that a count looks at before it gives up: enough to tell a backlog that grows from one that
/// does not. A million index entries take about a quarter of a second to read; deleting as many
/// rows takes several at the least.
pub(super) const COUNT_CAP: i64 = 1_000_000;

/// The second try of a count that hit its time bound, on cold disks.
const SMALL_CAP: i64 = 10_000;

/// The due rows of one target. One that is due for several reasons is counted under the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Backlog {
    /// One a reason.
    pub(super) rows: Vec<u64>,
    /// There are more.
    pub(super) capped: bool,
    /// Some could not be counted at all.
    pub(super) unknown: bool,
    /// Rows that each pass would look at, table by table.
    pub(super) seen: Vec<RowCount>,
    /// The oldest time, in seconds since 1970, one a reason; `None` without a due row.
    pub(super) oldest: Vec<Option<f64>>,
}

impl Backlog {
    /// Nothing is due.
    pub(super) fn none(target: &Target) -> Self {
        let reasons = target.reasons.len();
        Self { rows: vec![0; reasons], oldest: vec![None; reasons], ..Self::default() }
    }

    pub(super) fn total(&self) -> u64 {
        self.rows.iter().sum()
    }

    pub(super) fn total_f64(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "rows stay far below 2^53")]
        let total = self.total() as f64;
        total
    }

    /// When the oldest row fell due, whatever for: its time and what is kept after it, in seconds
    /// since 1970. It is at least 1 (`-infinity` is a time too): 0 is for "none".
    pub(super) fn oldest_due(&self, target: &Target) -> Option<f64> {
        let fell_due = |(oldest, reason): (&Option<f64>, &Reason)| {
            oldest.map(|time| time + reason.keep.as_secs_f64())
        };
        self.oldest
            .iter()
            .zip(&target.reasons)
            .filter_map(fell_due)
            .reduce(f64::min)
            .map(|time| time.max(1.0))
    }
}

/// What a count of one table came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowCount {
    Rows(u64),
    /// More than may be looked at.
    More,
    /// Others had as many as may be looked at.
    Uncounted,
}

/// Rows that are counted before a run: enough to choose the order of a pass by, and to see it
/// through.
pub(super) const START_CAP: i64 = 100_000;

/// Counts, each of the tables with the passes of all reasons. What could not be counted is told,
/// and counts as "more than was seen".
pub(super) async fn count(
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
            // A condition costs many times what reading the index does.
            let cap = if pass.only.is_some() { left[reason].min(START_CAP) } else { left[reason] };
            let counted = match count_pass(auxiliary, pass, cap).await {
                Err(error) if matches!(DbError::of(&error), DbError::Timeout(_)) => {
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
    /// `None`: there are more than may be looked at.
    seen: Option<u64>,
    oldest: Option<f64>,
}

async fn count_pass(
    auxiliary: &AuxiliaryConnection,
    pass: &PassSql,
    cap: i64,
) -> Result<Due, Error> {
    let all = KeyRange::default();
    // One more than the cap: exactly the cap is not "more".
    let look_at = cap + 1;
    let pass = pass.written();
    let query = pass.count(&all, &look_at);
    let counted = auxiliary.of_target(&query).await?.and_then(|row| row.counted());
    // It always has a row; without one nothing is known.
    let Some(counted) = counted else { return Ok(Due { rows: 0, seen: None, oldest: None }) };
    let cap = u64::try_from(cap).unwrap_or(0);
    Ok(Due {
        rows: counted.fresh.min(cap),
        seen: Some(counted.seen).filter(|seen| *seen <= cap),
        oldest: counted.oldest,
    })
}
