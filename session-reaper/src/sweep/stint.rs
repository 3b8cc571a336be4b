//! One target in one run: where its table is, the work on it, and what it came to.

use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio_postgres::{Client, Error};

use super::backlog::{self, Backlog};
use super::catalog::{self, Found, Located};
use super::connection::Beside;
use super::pace::{Pace, PaceLimits};
use super::pass::{Halt, Pass, Tally, Worker};
use super::report::{End, TargetReport, Worked};
use super::sql::PassSql;
use super::target::{Absent, Target};
use crate::meter;

pub(super) struct Stint<'a> {
    pub(super) target: &'a Target,
    /// `None` when it cannot be worked on.
    pub(super) table: Option<Table>,
    /// Its lock is ours.
    pub(super) locked: bool,
    /// `None` as long as it is to be worked on.
    pub(super) end: Option<End>,
    /// One a pass that was begun.
    tallies: Vec<Tally>,
    elapsed: Duration,
}

pub(super) struct Table {
    pub(super) oid: u32,
    /// One a reason.
    passes: Vec<PassSql>,
}

impl<'a> Stint<'a> {
    /// Looks the target up. `None` when there is nothing to do.
    pub(super) async fn prepare(
        client: &Client,
        target: &'a Target,
        started_at: DateTime<Utc>,
    ) -> Result<Option<Self>, Error> {
        let table = match (catalog::locate(client, target).await?, &target.absent) {
            (Found::Table(located), _) => passes(target, located, started_at),
            (Found::NoColumn(column), _) => Err(format!("{} has no column {column}", target.table)),
            (Found::NoTable, Absent::Fails(advice)) => Err(format!("there is no table {}: {advice}", target.table)),
            (Found::NoTable, Absent::LeftOut) => {
                tracing::debug!(target_table = target.name, "left out: there is no such table");
                return Ok(None);
            }
        };
        let (table, end) = match table {
            Ok(table) => (Some(table), None),
            Err(why) => {
                tracing::error!(target_table = target.name, why, "the target failed");
                (None, Some(End::Failed(why)))
            }
        };
        Ok(Some(Self { target, table, locked: false, end, tallies: Vec::new(), elapsed: Duration::ZERO }))
    }

    /// Does one pass a reason, and remembers how that ended.
    pub(super) async fn work(&mut self, worker: &mut Worker<'_>, pace: PaceLimits) -> Result<(), Halt> {
        let began = Instant::now();
        worker.progress.send_modify(|progress| progress.target.clone_from(&self.target.name));
        let mut result = Ok(());
        for (reason, sql) in self.target.reasons.iter().zip(self.table.iter().flat_map(|table| &table.passes)) {
            let (target, reason) = (self.target.name.as_str(), reason.name.as_str());
            let mut pass = Pass {
                target,
                reason,
                sql,
                pace: Pace::new(pace),
                worker: &mut *worker,
                tally: Tally::default(),
                passed_over: 0,
            };
            result = pass.work().await;
            self.tallies.push(pass.tally);
            if result.is_err() {
                break;
            }
        }
        self.elapsed = began.elapsed();
        result
    }

    /// Counts what is due, and says so in the metrics.
    pub(super) async fn backlog(&self, beside: &Beside) -> Backlog {
        let Some(table) = &self.table else { return Backlog::default() };
        let backlog = backlog::count(beside, &self.target.name, &table.passes).await;
        // What was not counted is not known: the last that was is still the best there is.
        if !backlog.unknown {
            meter::backlog(self.target, &backlog.rows, backlog.capped, backlog.oldest_due(self.target));
        }
        backlog
    }

    /// The stint is over: what it came to, with `backlog` still there.
    pub(super) fn report(self, backlog: &Backlog) -> TargetReport {
        let tallied = |index: usize| self.tallies.get(index).copied().unwrap_or_default();
        let reasons = self.target.reasons.iter().enumerate();
        let worked = Worked {
            target: self.target.name.clone(),
            end: self.end.unwrap_or_else(|| End::Failed("not begun: the run had to end".to_owned())),
            deleted: reasons.map(|(index, reason)| (reason.name.clone(), tallied(index).deleted)).collect(),
            chunks: self.tallies.iter().map(|tally| tally.chunks).sum(),
            skipped_locked: self.tallies.iter().map(|tally| tally.skipped_locked).sum(),
            elapsed: self.elapsed,
        };
        TargetReport::new(worked, backlog)
    }
}

/// The statements of each reason's pass, with its cutoff: the start of the run by the database's clock, less what is kept.
fn passes(target: &Target, located: Located, started_at: DateTime<Utc>) -> Result<Table, String> {
    let mut passes: Vec<PassSql> = Vec::new();
    for (reason, due) in target.reasons.iter().zip(located.due) {
        let cutoff = TimeDelta::from_std(reason.keep).ok().and_then(|keep| started_at.checked_sub_signed(keep));
        let Some(cutoff) = cutoff else {
            return Err(format!("{}: {:?} ago is before all time", reason.name, reason.keep));
        };
        passes.push(PassSql {
            table: target.table.to_string(),
            due,
            key: located.key.clone(),
            // To the microsecond, as PostgreSQL keeps time.
            cutoff: cutoff.to_rfc3339_opts(SecondsFormat::Micros, true),
            earlier: passes.iter().map(|pass| (pass.due.clone(), pass.cutoff.clone())).collect(),
        });
    }
    Ok(Table { oid: located.oid, passes })
}
