//! One target in one run: where its table is, the work on it, and what it came to.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use schema::connect::chain;
use tokio_postgres::{Client, Error};

use super::backlog::{self, Backlog};
use super::catalog::{self, Found, Located};
use super::connection::Beside;
use super::due::Due;
use super::pace::{Pace, PaceLimits};
use super::pass::{Halt, Pass, Tally, Worker};
use super::report::{End, TargetReport, Worked};
use super::sql::{Only, PassSql, Stretch};
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
            (Found::Table(located), _) => match passes(target, located, started_at) {
                Ok(table) => tried(client, table).await?,
                Err(why) => Err(format!("{}: {why}", target.table.spelt())),
            },
            (Found::Unfit(why), _) => Err(why),
            (Found::NoTable, Absent::Fails(advice)) => {
                let hint = catalog::similar_table(client, &target.table).await?;
                Err(format!("there is no table {}: {advice}{hint}", target.table))
            }
            (Found::NoTable, Absent::LeftOut) => {
                tracing::debug!(target_table = target.name, "left out: there is no such table");
                return Ok(None);
            }
            (Found::NoTable, Absent::LeftOutOf(preset)) => {
                tracing::info!(target_table = target.name, preset, "left out: there is no such table");
                return Ok(None);
            }
        };
        Ok(Some(match table {
            Ok(table) => Self::new(target, Some(table), None),
            Err(why) => Self::failed(target, why),
        }))
    }

    /// A target that cannot be worked on.
    pub(super) fn failed(target: &'a Target, why: String) -> Self {
        tracing::error!(target_table = target.name, why, "the target failed");
        Self::new(target, None, Some(End::Failed(why)))
    }

    fn new(target: &'a Target, table: Option<Table>, end: Option<End>) -> Self {
        Self { target, table, locked: false, end, tallies: Vec::new(), elapsed: Duration::ZERO }
    }

    /// Does one pass a reason, and remembers how that ended.
    pub(super) async fn work(&mut self, worker: &mut Worker<'_>, pace: PaceLimits) -> Result<(), Halt> {
        let began = Instant::now();
        let pace = PaceLimits { max_chunk: self.target.chunk.unwrap_or(pace.max_chunk), ..pace };
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
    if located.key.is_empty() {
        tracing::warn!(
            target_table = target.name,
            "no primary key, and nothing else that is unique and never null: rows of one time go in one chunk, however many"
        );
    }
    let reasons = target.reasons.iter().zip(located.due);
    let due = reasons.map(|(reason, column)| Due::new(reason, column, started_at)).collect::<Result<Vec<_>, _>>()?;
    let group = target.group.clone().map(|group| (group, due.clone()));
    let only = (target.filter.is_some() || group.is_some()).then(|| Only { filter: target.filter.clone(), group });
    let passes = due.iter().enumerate().map(|(index, this)| PassSql {
        table: target.table.to_string(),
        due: this.clone(),
        key: located.key.clone(),
        earlier: due[..index].to_vec(),
        only: only.clone(),
    });
    Ok(Table { oid: located.oid, passes: passes.collect() })
}

/// Has the server read a condition that somebody wrote, before anything is deleted by it.
async fn tried(client: &Client, table: Table) -> Result<Result<Table, String>, Error> {
    for pass in table.passes.iter().filter(|pass| pass.only.is_some()) {
        if let Err(error) = client.prepare(&pass.delete(&Stretch::default(), &0).text).await {
            let Some(told) = error.as_db_error() else { return Err(error) };
            let hint = told.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            return Ok(Err(format!("`where` or `group` cannot be used: {}{hint}", chain(&error))));
        }
    }
    Ok(Ok(table))
}
