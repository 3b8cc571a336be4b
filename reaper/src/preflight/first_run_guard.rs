//! Two guards that skip a target if nearly all rows of its table would be deleted.
//!
//! The *first-run guard* applies to a target on which no run has worked yet. It detects a wrong
//! column, and a wrong unit, such as seconds instead of milliseconds: with both, every row may
//! appear to be due. The *every-run guard* applies to a target if each of the last runs deleted
//! less than half of the table. It detects that the application now stores a different kind of time
//! in the column.

mod record;

use pg::error_text::chain;
use tokio_postgres::Error;

use crate::preflight::table_share::TableShare;
use crate::preflight::{Code, Finding};
use crate::target::Target;
pub(crate) use record::Guard;

/// The settings of both guards.
#[derive(Clone, Copy, Debug)]
pub struct FirstRun {
    /// The fraction of a table that a first run may delete without confirmation, from 0 to 1.
    pub max_fraction: f64,
    /// Whether the user confirmed that this run may delete nearly all rows of a table.
    pub confirmed: bool,
}

/// The number of rows up to which a first run may delete a whole table. An operator can review this
/// many rows.
const FEW_ROWS: f64 = 1_000.0;

/// The fraction of a table that a run after the first one may delete without confirmation. If fewer
/// than [`MANY_ROWS`] rows are due, such a run may delete all due rows.
const MAX_FRACTION: f64 = 0.98;
pub(crate) const MANY_ROWS: f64 = 10_000.0;

/// Returns whether the deletion of nearly all rows is confirmed, either for the target or for the
/// run.
pub(crate) fn is_confirmed(target: &Target, rules: FirstRun) -> bool {
    rules.confirmed || target.confirmed
}

impl Guard {
    /// Returns the finding of the first-run guard, if any.
    pub(crate) fn judge_first(
        &self,
        target: &Target,
        table_share: Result<TableShare, Error>,
        rules: FirstRun,
    ) -> Option<Finding> {
        let table = target.table.quoted();
        let what = match table_share {
            _ if !self.is_first() => return None,
            Ok(table_share)
                if table_share.rows <= FEW_ROWS || table_share.fraction() <= rules.max_fraction =>
            {
                return None;
            }
            Ok(table_share) => {
                format!(
                    "the first run would delete {}, which is more than {} of them",
                    part(&table_share, &table),
                    rules.max_fraction
                )
            }
            Err(error) => unknown("the first run", &table, &error),
        };
        let remedy = format!(
            "run `session-reaper plan` and verify the column, unit and zone of the target. If they are correct, confirm the run: once with \
             `session-reaper run --yes`, or permanently with `confirmed = true` in the [[target]] of {table}"
        );
        Some(Finding::new(Code::NearlyAll, what, remedy))
    }

    /// Returns the finding of the every-run guard, if any.
    pub(crate) fn judge_later(
        &self,
        target: &Target,
        table_share: Result<TableShare, Error>,
        rules: FirstRun,
    ) -> Option<Finding> {
        let (table, most) = (target.table.quoted(), rules.max_fraction.max(MAX_FRACTION));
        let what = match table_share {
            _ if !self.is_steady() => return None,
            Ok(table_share) if table_share.due < MANY_ROWS || table_share.fraction() <= most => {
                return None;
            }
            Ok(table_share) => format!(
                "this run would delete {}, which is more than {most} of them, although each of the last {} complete runs deleted less than half",
                part(&table_share, &table),
                record::RUNS
            ),
            Err(error) => unknown("this run", &table, &error),
        };
        let remedy = format!(
            "run `session-reaper plan` and verify that the application still stores the same kind of times. To delete these rows, \
             confirm the run with `session-reaper run --yes`, or with `confirmed = true` in the [[target]] of {table}"
        );
        Some(Finding::new(Code::UnusualShare, what, remedy))
    }
}

fn part(table_share: &TableShare, table: &str) -> String {
    let about = if table_share.sampled { "about " } else { "" };
    format!("{about}{:.0} of the {:.0} rows of {table}", table_share.due, table_share.rows)
}

fn unknown(run: &str, table: &str, error: &Error) -> String {
    format!("cannot determine how much of {table} {run} would delete: {}", chain(error))
}
