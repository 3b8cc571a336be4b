//! Two guards hold a target when nearly all of its table would be deleted.
//!
//! The *first-run guard* looks at a target on which no run has worked yet: a wrong column, or a
//! unit that is off by a thousand, makes everything look due. The *every-run guard* looks at one
//! whose last runs deleted less than half of the table: the application may write other times than
//! before.

mod record;

use schema::connect::chain;
use tokio_postgres::Error;

use super::preflight::{Code, Finding};
use super::table_share::TableShare;
use super::target::Target;
pub(super) use record::Guard;

/// When a target is held.
#[derive(Clone, Copy, Debug)]
pub struct FirstRun {
    /// The part of a table that a first run may delete without a confirmation, from 0 to 1.
    pub max_fraction: f64,
    /// The run was confirmed.
    pub confirmed: bool,
}

/// A first run may delete all of a smaller table: it can be looked at.
const FEW_ROWS: f64 = 1_000.0;

/// The part of a table that a later run may delete without a confirmation, and the rows below which
/// it may delete all of them.
const MAX_FRACTION: f64 = 0.98;
pub(super) const MANY_ROWS: f64 = 10_000.0;

/// The target, or the run, is confirmed.
pub(super) fn is_confirmed(target: &Target, rules: FirstRun) -> bool {
    rules.confirmed || target.confirmed
}

impl Guard {
    /// What speaks against a run on a target that has never been worked on.
    pub(super) fn judge_first(
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
            Err(error) => unseen("the first run", &table, &error),
        };
        let remedy = format!(
            "see `session-reaper plan`: are these the right column, unit and zone? If so confirm it, once by `session-reaper run --yes` or \
             by `confirmed = true` in the [[target]] of {table}"
        );
        Some(Finding::new(Code::NearlyAll, what, remedy))
    }

    /// What speaks against a run on a target whose last runs deleted less than half of the table.
    pub(super) fn judge_later(
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
                "this run would delete {}, which is more than {most} of them; each of the last {} runs deleted less than half",
                part(&table_share, &table),
                record::RUNS
            ),
            Err(error) => unseen("this run", &table, &error),
        };
        let remedy = format!(
            "see `session-reaper plan`: does the application write other times than before? If these rows are to go, confirm it by \
             `session-reaper run --yes`, or by `confirmed = true` in the [[target]] of {table}"
        );
        Some(Finding::new(Code::UnusualShare, what, remedy))
    }
}

fn part(table_share: &TableShare, table: &str) -> String {
    let about = if table_share.sampled { "about " } else { "" };
    format!("{about}{:.0} of the {:.0} rows of {table}", table_share.due, table_share.rows)
}

fn unseen(run: &str, table: &str, error: &Error) -> String {
    format!("how much of {table} {run} would delete could not be seen: {}", chain(error))
}
