//! The first run on a target: when nearly all of a table would go, somebody has to say that this is meant. A wrong column, or
//! a unit that is off by a thousand, makes everything look as if it were due.

use schema::connect::chain;
use schema::state;
use serde_json::json;
use tokio_postgres::Error;

use super::beside::Beside;
use super::gate::{Code, Finding};
use super::share::Share;
use super::target::{Reason, Target};

/// When a first run is refused.
#[derive(Clone, Copy, Debug)]
pub struct FirstRun {
    /// The part of a table that may go without a word, from 0 to 1.
    pub max_fraction: f64,
    /// Somebody said that it is meant.
    pub confirmed: bool,
}

/// Below it a table is small enough to be looked at.
const FEW_ROWS: f64 = 1_000.0;

/// Nothing needs to be looked at.
pub(super) fn is_settled(target: &Target, rules: FirstRun) -> bool {
    rules.confirmed || target.confirmed
}

/// What speaks against a run on a target that has never been worked on.
pub(super) fn judge(target: &Target, share: Result<Share, Error>, rules: FirstRun) -> Option<Finding> {
    let table = target.table.spelt();
    let what = match share {
        _ if is_settled(target, rules) => return None,
        Ok(share) if share.rows <= FEW_ROWS || share.fraction() <= rules.max_fraction => return None,
        Ok(share) => format!(
            "the first run would delete {}{:.0} of the {:.0} rows of {table}, which is more than {} of them",
            if share.sampled { "about " } else { "" },
            share.due,
            share.rows,
            rules.max_fraction
        ),
        Err(error) => format!("how much of {table} the first run would delete could not be seen: {}", chain(&error)),
    };
    let remedy = format!(
        "see `session-reaper plan`: are these the right column, unit and zone? If so confirm it, once by `session-reaper run --yes` or \
         by `confirmed = true` in the [[target]] of {table}"
    );
    Some(Finding::new(Code::NearlyAll, what, remedy))
}

/// Whether somebody has worked on the target, by these columns. Without a table to keep that in nobody has.
pub(super) async fn has_run(beside: &Beside, target: &Target) -> bool {
    let found = beside.patience.with(1, state::get(&beside.client, &beside.own, &key(target))).await;
    found
        .map_err(|error| tracing::debug!(error = chain(&error), "reaper_state could not be read"))
        .is_ok_and(|found| found.is_some())
}

/// Keeps that somebody has.
pub(super) async fn note_run(beside: &Beside, target: &Target) {
    let at = json!({ "version": env!("CARGO_PKG_VERSION") });
    if let Err(error) = beside.patience.with(1, state::put_once(&beside.client, &beside.own, &key(target), &at)).await {
        tracing::debug!(error = chain(&error), "reaper_state could not be written");
    }
}

/// Another column, unit or zone is another target: it may be the wrong one.
fn key(target: &Target) -> String {
    let column = |reason: &Reason| {
        let unit = reason.unit.map(|unit| format!(" {unit:?}")).unwrap_or_default();
        let zone = reason.zone.map(|zone| format!(" {zone}")).unwrap_or_default();
        format!("{}{unit}{zone}", reason.column.spelt())
    };
    let columns: Vec<String> = target.reasons.iter().map(column).collect();
    format!("ran:{}({})", target.name, columns.join(","))
}
