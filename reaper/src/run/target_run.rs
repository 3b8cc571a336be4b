//! A target run, which is the part of a run that concerns one target: the lookup of its table, the
//! work on the table, and the result.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_postgres::Error;
use tracing::Instrument as _;

use crate::backlog::state::BacklogState;
use crate::backlog::{self, Backlog, COUNT_CAP, RowCount};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::observe::{BacklogCount, HeldCause, Observer};
use crate::pass::Tally;
use crate::pass::pace::PaceLimits;
use crate::preflight::first_run_guard::{self, FirstRun, Guard};
use crate::preflight::table_share::TableShare;
use crate::preflight::{self, ChunkLimits, Code, Finding, Rules, Subject};
use crate::report::Worked;
use crate::report::progress::TargetProgress;
use crate::report::run_report::TargetReport;
use crate::report::spans;
use crate::run::remembered::Remembered;
use crate::run::tables::{LeafLocks, Table, is_gone, lock_leaf, of_leaf, passes, unlock_leaf};
use crate::run::worker::Worker;
use crate::sql::PassSql;
use crate::stop_reason::StopReason;
use crate::target::auth_api::Proof;
use crate::target::catalog::{self, Lookup, TableLookup};
use crate::target::{Absent, Target};
use crate::throttle::ThrottleCause;
use crate::time::as_f64;

/// If the estimated share of due rows is above this value, the share is measured with a sample.
const WORTH_SAMPLING: f64 = 0.1;

pub(crate) struct TargetRun<'a> {
    pub(crate) target: &'a Target,
    observer: &'a dyn Observer,
    /// The table; `None` if the target cannot be processed.
    pub(crate) table: Option<Table>,
    /// The findings of the preflight checks.
    pub(crate) findings: Vec<Finding>,
    chunk_limits: ChunkLimits,
    /// The codes of the unsafe findings that are overridden.
    pub(crate) forced: Vec<Code>,
    /// The state of the first-run guard and the every-run guard; `None` if the target is not to be
    /// processed.
    first_run_guard: Option<Guard>,
    /// The number of rows in the table before the run: counted, sampled or estimated.
    rows: Option<f64>,
    /// Whether this run holds the lock of the target.
    pub(crate) locked: bool,
    /// How the work on the target ended; `None` as long as the target is still to be processed.
    pub(crate) ended: Option<Result<(), StopReason>>,
    /// The tables of the target that were skipped because another reaper holds their locks or the
    /// locks of their child tables.
    busy: Vec<String>,
    /// The results of the passes over all tables, one entry per reason.
    tallies: Vec<Tally>,
    elapsed: Duration,
}

impl<'a> TargetRun<'a> {
    /// Looks up the target's table. Returns `None` if the target is to be skipped.
    pub(crate) async fn prepare(
        lookup: Lookup<'_>,
        (target, observer): (&'a Target, &'a dyn Observer),
        started_at: DateTime<Utc>,
        remembered: &Remembered,
    ) -> Result<Option<Self>, Error> {
        let table = match (catalog::locate(lookup, target).await?, &target.absent) {
            (TableLookup::Table(located), _) => {
                match passes(target, *located, started_at, remembered) {
                    Ok(table) => Ok(table),
                    Err(why) => Err(Finding::plain(
                        Code::Unfit,
                        format!("{}: {why}", target.table.quoted()),
                    )),
                }
            }
            (TableLookup::Unfit(why), _) => Err(Finding::plain(Code::Unfit, why)),
            (TableLookup::Refused(why, remedy), _) => Err(Finding {
                remedy,
                ..Finding::plain(Code::ConditionRefused, format!("`where` cannot be used: {why}"))
            }),
            (TableLookup::Locked(bound), _) => Err(preflight::locked(&target.table, bound)),
            (TableLookup::NoTable, Absent::Fails(advice)) => {
                let hint = catalog::similar_table(lookup.catalog, &target.table).await?;
                let why = format!("there is no table {}: {advice}{hint}", target.table);
                Err(Finding::plain(Code::NoTable, why))
            }
            (TableLookup::NoTable, Absent::LeftOut) => {
                tracing::debug!(
                    event = "table_missing",
                    target_table = target.name,
                    "target skipped: table does not exist"
                );
                return Ok(None);
            }
            (TableLookup::NoTable, Absent::LeftOutOf(preset)) => {
                tracing::info!(
                    event = "table_missing",
                    target_table = target.name,
                    preset,
                    "target skipped: table does not exist"
                );
                return Ok(None);
            }
        };
        Ok(Some(match table {
            Ok(table) => Self::new(target, observer, Some(table), Vec::new()),
            Err(finding) => Self::new(target, observer, None, vec![finding]),
        }))
    }

    /// Creates a target run for a target whose table does not exist.
    pub(crate) fn absent(target: &'a Target, observer: &'a dyn Observer, why: String) -> Self {
        Self::new(target, observer, None, vec![Finding::plain(Code::NoTable, why)])
    }

    /// Creates a target run for a target on which work never began.
    pub(crate) fn not_begun(target: &'a Target, observer: &'a dyn Observer) -> Self {
        Self::new(target, observer, None, Vec::new())
    }

    fn new(
        target: &'a Target,
        observer: &'a dyn Observer,
        table: Option<Table>,
        findings: Vec<Finding>,
    ) -> Self {
        Self {
            target,
            observer,
            table,
            findings,
            chunk_limits: ChunkLimits::new(),
            forced: Vec::new(),
            first_run_guard: None,
            rows: None,
            locked: false,
            ended: None,
            busy: Vec::new(),
            tallies: vec![Tally::default(); target.reasons.len()],
            elapsed: Duration::ZERO,
        }
    }

    /// Skips the target if the name of its table now refers to a different table than when `proof`
    /// was read. `proof` shows that the tables are auth-api's.
    pub(crate) fn pass_proof(&mut self, proof: Option<&Proof>) {
        let Some((proof, oid)) = proof.zip(self.oid()) else { return };
        if !proof.covers(&self.target.table, oid) {
            let what = format!("{} was replaced while the run began", self.target.table.quoted());
            self.findings.push(Finding::plain(Code::Unfit, what));
            self.table = None;
        }
    }

    pub(crate) fn is_to_be_worked_on(&self) -> bool {
        self.table.is_some() && self.ended.is_none()
    }

    pub(crate) fn oid(&self) -> Option<u32> {
        self.table.as_ref().map(|table| table.oid)
    }

    /// Returns whether the work on the target has begun.
    pub(crate) fn has_begun(&self) -> bool {
        !self.elapsed.is_zero()
    }

    /// Records that the lock was lost together with the connection.
    pub(crate) fn lost_its_lock(&mut self) {
        self.locked = false;
        self.observer.lock_held(&self.target.name, false);
    }

    /// Runs the preflight checks of the target.
    pub(crate) async fn examine(
        &mut self,
        auxiliary: &AuxiliaryConnection,
        rules: Rules,
        pace: PaceLimits,
    ) -> Result<(), Error> {
        if let Some(table) = &self.table {
            let chunk = self.target.chunk.unwrap_or(pace.max_chunk);
            let subject = Subject {
                target: self.target,
                oid: table.oid,
                conditions: &table.conditions,
                leaves: &table.leaves,
                chunk,
            };
            let examined = preflight::examine(auxiliary, &subject, rules).await?;
            (self.findings, self.chunk_limits) = (examined.findings, examined.chunk_limits);
        } else if let [Finding { code: Code::Unfit, what, .. }] = self.findings.as_slice() {
            self.findings = vec![preflight::unfit(auxiliary, self.target, what.clone()).await?];
        }
        if let Some(location) = &self.target.location {
            let of_the_file =
                |code| matches!(code, Code::NoTable | Code::Unfit | Code::ConditionRefused);
            for finding in self.findings.iter_mut().filter(|finding| of_the_file(finding.code)) {
                finding.what = format!("{location}: {}", finding.what);
            }
        }
        // If the checks were canceled, their result is unknown.
        if !auxiliary.deadline.is_over() {
            self.observer
                .target_checked(&self.target.name, !self.findings.iter().any(Finding::is_unsafe));
        }
        Ok(())
    }

    /// Skips the target if it is unsafe, unless all of its unsafe findings can be overridden and
    /// the run overrides them.
    pub(crate) fn apply_preflight(&mut self, rules: Rules) {
        let target = self.target.name.as_str();
        let (blocking, others): (Vec<&Finding>, Vec<&Finding>) =
            self.findings.iter().partition(|found| found.is_unsafe());
        for Finding { code, what, remedy, .. } in others {
            tracing::debug!(
                event = "finding",
                target_table = target,
                code = code.as_str(),
                what,
                remedy,
                "finding"
            );
        }
        if blocking.is_empty() {
            return;
        }
        if rules.force_unsafe && blocking.iter().all(|finding| finding.code.may_be_forced()) {
            for Finding { code, what, remedy, .. } in &blocking {
                tracing::warn!(
                    event = "finding_forced",
                    target_table = target,
                    code = code.as_str(),
                    what,
                    remedy,
                    "unsafe finding overridden"
                );
                if !self.forced.contains(code) {
                    self.forced.push(*code);
                }
            }
            return;
        }
        // If the table is missing or locked, the target fails, but it is not unsafe.
        let absent =
            blocking.iter().all(|finding| matches!(finding.code, Code::NoTable | Code::Locked));
        let why = preflight::why(&blocking);
        self.ended = Some(Err(if absent {
            tracing::error!(event = "target_failed", target_table = target, why, "target failed");
            StopReason::Failed(why)
        } else {
            for Finding { code, what, remedy, .. } in blocking.iter().take(preflight::REPORTED) {
                tracing::error!(
                    event = "target_unsafe",
                    target_table = target,
                    code = code.as_str(),
                    what,
                    remedy,
                    "target skipped: unsafe finding"
                );
            }
            StopReason::Unsafe(why)
        }));
        // The table is neither locked nor counted: without an index, counting would read the whole
        // table.
        self.table = None;
        self.observer.backlog_unknown(self.target);
    }

    /// Returns the statements for each of the target's tables.
    pub(crate) fn tables(&self) -> Vec<&[PassSql]> {
        self.table
            .iter()
            .flat_map(|table| &table.leaves)
            .map(|(_, passes)| passes.as_slice())
            .collect()
    }

    /// Returns the oids of the tables that contain the rows of the target.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = u32> {
        self.table.iter().flat_map(|table| &table.leaves).map(|(leaf, _)| leaf.oid)
    }

    /// Returns the oids of the tables from which the target deletes directly.
    fn deleted_from(&self) -> Vec<u32> {
        if !self.target.set.is_empty() {
            return Vec::new();
        }
        let table = self.table.iter();
        let leaves =
            table.clone().flat_map(|table| &table.leaves).filter_map(|(_, passes)| passes.first());
        let children = leaves.flat_map(|pass| &pass.tables).map(|table| table.oid);
        let mut oids: Vec<u32> = table.map(|table| table.oid).chain(children).collect();
        oids.sort_unstable();
        oids.dedup();
        oids
    }

    /// Checks whether cascades reach `others`, the tables of targets that keep rows because of
    /// `where` or `group`.
    pub(crate) async fn examine_others(
        &mut self,
        auxiliary: &AuxiliaryConnection,
        others: &[u32],
    ) -> Result<(), Error> {
        let from = self.deleted_from();
        if !from.is_empty() && !others.is_empty() {
            self.findings
                .extend(preflight::cascades::to_other_targets(auxiliary, &from, others).await?);
        }
        Ok(())
    }

    /// Returns the oids of the target's tables if the target keeps due rows because of `where` or
    /// `group`. Returns no oids otherwise.
    pub(crate) fn keeping(&self) -> impl Iterator<Item = u32> {
        let keeps = self.target.keeps_rows();
        self.table.iter().filter(move |_| keeps).flat_map(Table::oids)
    }

    /// Skips the target if this is its first run and nearly all of its rows would be deleted.
    pub(crate) async fn apply_first_run_guard(
        &mut self,
        auxiliary: &AuxiliaryConnection,
        rules: FirstRun,
    ) {
        let Some(table) = &self.table else { return };
        let mut first_run_guard = Guard::of(auxiliary, self.target, table.oid).await;
        if first_run_guard::is_confirmed(self.target, rules) {
            first_run_guard.confirm(auxiliary, false).await;
        } else if first_run_guard.is_first() {
            let table_share = TableShare::of(auxiliary, &self.tables()).await;
            if let Some(finding) = first_run_guard.judge_first(self.target, table_share, rules) {
                let why = self.held(finding);
                self.ended = Some(Err(StopReason::Unsafe(why)));
                self.table = None;
                self.observer.backlog_unknown(self.target);
            }
        }
        self.first_run_guard = Some(first_run_guard);
    }

    /// Skips the target if nearly all of its rows would be deleted although earlier runs deleted
    /// less than half of the table. `backlog` is the number of due rows.
    pub(crate) async fn apply_every_run_guard(
        &mut self,
        auxiliary: &AuxiliaryConnection,
        backlog: &Backlog,
        rules: FirstRun,
    ) {
        let (Some(table), Some(mut first_run_guard)) = (&self.table, self.first_run_guard.take())
        else {
            return;
        };
        let oids: Vec<u32> = table.leaves.iter().map(|(leaf, _)| leaf.oid).collect();
        self.rows = TableShare::estimated_rows(auxiliary, &oids).await.ok();
        let (due, unknown) = (backlog.total_f64(), backlog.capped || backlog.unknown);
        let judged = first_run_guard.is_steady() && (unknown || due >= first_run_guard::MANY_ROWS);
        if judged || unknown || self.rows.is_none_or(|rows| due > rows * WORTH_SAMPLING) {
            let table_share = TableShare::of(auxiliary, &self.tables()).await;
            self.rows = table_share.as_ref().ok().map(|table_share| table_share.rows);
            if let Some(finding) =
                first_run_guard.judge_later(self.target, table_share, rules).filter(|_| judged)
            {
                if first_run_guard::is_confirmed(self.target, rules) {
                    first_run_guard.confirm(auxiliary, true).await;
                } else {
                    let why = self.held(finding);
                    self.ended = Some(Err(StopReason::Held(why)));
                }
            }
        }
        self.first_run_guard = Some(first_run_guard);
    }

    fn held(&mut self, finding: Finding) -> String {
        let (why, code) = (finding.to_string(), finding.code.as_str());
        tracing::error!(
            event = "target_held",
            target_table = self.target.name,
            code,
            why,
            "target skipped: nearly all rows would be deleted"
        );
        self.findings.push(finding);
        why
    }

    /// Stores the result of this run, on which the guards of the next run depend.
    pub(crate) async fn finish(&mut self, auxiliary: &AuxiliaryConnection) {
        let Some(mut first_run_guard) = self.first_run_guard.take() else { return };
        let deleted: u64 = self.tallies.iter().map(|tally| tally.deleted).sum();
        let rows_deleted = as_f64(deleted);
        // The share of an interrupted run, or of a run on an empty table, is not representative.
        let rows = self
            .rows
            .filter(|_| matches!(self.ended, Some(Ok(()))) && self.busy.is_empty())
            .map(|rows| rows.max(rows_deleted));
        let table_share = rows.filter(|rows| *rows > 0.0).map(|rows| rows_deleted / rows);
        first_run_guard.finish(auxiliary, deleted > 0, table_share).await;
    }

    /// Processes each table once for each reason (a *pass*), and records the results. `backlog` is
    /// the number of due rows.
    pub(crate) async fn work(
        &mut self,
        worker: &mut Worker<'_>,
        backlog: &Backlog,
    ) -> Result<(), StopReason> {
        let began = Instant::now();
        worker.progress.send_modify(|progress| {
            progress.target.clone_from(&self.target.name);
            match progress.targets.last_mut() {
                // Work on the target began again after the connection was lost.
                Some(last) if last.target == self.target.name => last.ended = None,
                _ => progress.targets.push(TargetProgress::begun(self.target)),
            }
        });
        worker.tables = self.table.iter().flat_map(Table::oids).collect();
        let span = spans::target(&self.target.name);
        let result = self.passes(worker, backlog).instrument(span.clone()).await;
        spans::target_ended(&span, &result, self.tallies.iter().map(|tally| tally.deleted).sum());
        self.elapsed += began.elapsed();
        worker.progress.send_modify(|progress| {
            if let Some(target) = progress.targets.last_mut() {
                target.has_ended(&result);
            }
        });
        result
    }

    async fn passes(
        &mut self,
        worker: &mut Worker<'_>,
        backlog: &Backlog,
    ) -> Result<(), StopReason> {
        let Some(table) = &self.table else { return Ok(()) };
        let mut counted = backlog.seen.chunks(self.target.reasons.len());
        self.busy.clear();
        for (leaf, passes) in &table.leaves {
            let due = counted.next().unwrap_or_default();
            if has_nothing_due(passes, due) && !worker.many_dead.contains(&leaf.oid) {
                continue;
            }
            let locks = LeafLocks::new(table.oid, leaf, passes);
            if !lock_leaf(worker, &locks).await? {
                let table = leaf.table.quoted();
                tracing::info!(
                    event = "leaf_skipped",
                    target_table = self.target.name,
                    table,
                    "partition skipped: another reaper holds its lock"
                );
                self.busy.push(table);
                // The number of due rows in the partition is unknown.
                self.tallies.iter_mut().for_each(|tally| tally.uncertain = true);
                continue;
            }
            // Boxed because the statements of a chunk make this future large.
            let (target, tallies) = ((self.target, &self.chunk_limits), &mut self.tallies);
            let done = Box::pin(of_leaf(target, leaf, passes, due, worker, tallies)).await;
            // If the connection was lost, the locks were released, too.
            if !matches!(done, Err(StopReason::ConnectionLost(_) | StopReason::Pooler)) {
                unlock_leaf(worker, &locks).await?;
            }
            match done {
                // Partitions may be dropped or detached at any time.
                Err(StopReason::TableGone(why))
                    if leaf.oid != table.oid && is_gone(worker, leaf).await? =>
                {
                    let partition = leaf.table.quoted();
                    tracing::info!(
                        target_table = self.target.name,
                        partition,
                        why,
                        event = "partition_gone",
                        "partition dropped or detached"
                    );
                }
                done => done?,
            }
        }
        if !self.busy.is_empty() && self.busy.len() == table.leaves.len() {
            self.ended = Some(Err(StopReason::Locked(None)));
        }
        Ok(())
    }

    /// Counts due rows, up to `cap`, and reports the counts to the observer.
    pub(crate) async fn backlog(&self, auxiliary: &AuxiliaryConnection, cap: i64) -> Backlog {
        if self.table.is_none() {
            return Backlog::default();
        }
        let backlog = backlog::count(auxiliary, self.target, &self.tables(), cap).await;
        self.counted(&backlog);
        backlog
    }

    fn counted(&self, backlog: &Backlog) {
        let (capped, state) = (backlog.capped, backlog.state());
        if state == BacklogState::Unknown {
            return self.observer.backlog_unknown(self.target);
        }
        let oldest_due = backlog.oldest_due(self.target);
        let count = BacklogCount { rows: &backlog.rows, capped, state, oldest_due };
        self.observer.backlog_counted(self.target, count);
    }

    /// Returns whether a pass began at a watermark, so that it did not examine all rows.
    fn began_at_a_watermark(&self) -> bool {
        self.tables().into_iter().flatten().any(|pass| pass.from.is_some())
    }

    /// Returns the number of due rows after the work. If everything was examined and no due row was
    /// left, the number is 0. Otherwise, the rows are counted, which is slower because the count
    /// scans the dead entries that the deletions left in the index.
    pub(crate) async fn remaining(&self, auxiliary: &AuxiliaryConnection) -> Backlog {
        let certain = self.tallies.iter().all(|tally| tally.left == 0 && !tally.uncertain);
        if matches!(self.ended, Some(Ok(()))) && certain {
            let behind = self.began_at_a_watermark();
            let none = Backlog { behind, ..Backlog::none(self.target) };
            self.counted(&none);
            return none;
        }
        let paused = matches!(&self.ended, Some(Err(StopReason::Throttled(throttle_reason, _))) if throttle_reason.cause == ThrottleCause::Pause);
        if paused || self.table.is_none() || auxiliary.deadline.is_over() {
            // Due rows were not counted, so some may be left.
            return Backlog::not_counted(self.target);
        }
        self.backlog(auxiliary, COUNT_CAP).await
    }

    /// Ends the target run and returns its report. `backlog` is the number of remaining due rows.
    pub(crate) fn report(self, backlog: &Backlog) -> TargetReport {
        let reasons = self.target.reasons.iter().zip(&self.tallies);
        let counts: Vec<(String, u64)> =
            reasons.map(|(reason, tally)| (reason.name.clone(), tally.deleted)).collect();
        let mut uncounted_cascades: Vec<String> =
            self.findings.iter().filter_map(|finding| finding.cascades_to.clone()).collect();
        uncounted_cascades.sort_unstable();
        uncounted_cascades.dedup();
        let held = held(self.target, &self.tallies);
        // If the target run was cut short, some of these rows were not counted.
        if matches!(self.ended, Some(Ok(()))) {
            for (cause, rows) in held {
                self.observer.rows_held(&self.target.name, cause, rows);
            }
        }
        let worked = Worked {
            target: self.target.name.clone(),
            ended: self.ended.unwrap_or_else(|| {
                Err(StopReason::Failed("not begun: the run had to end".to_owned()))
            }),
            deleted: if self.target.set.is_empty() { counts.clone() } else { Vec::new() },
            changed: if self.target.set.is_empty() { Vec::new() } else { counts },
            children: (!self.target.children.is_empty())
                .then(|| self.tallies.iter().map(|tally| tally.children).sum()),
            chunks: self.tallies.iter().map(|tally| tally.chunks).sum(),
            chunk_time: self.tallies.iter().map(|tally| tally.chunk_time).sum(),
            longest_chunk: self
                .tallies
                .iter()
                .map(|tally| tally.longest_chunk)
                .max()
                .unwrap_or_default(),
            skipped_locked: self.tallies.iter().map(|tally| tally.skipped_locked).sum(),
            elapsed: self.elapsed,
            busy: self.busy,
            held: held
                .into_iter()
                .filter(|(cause, rows)| cause.is_failure() && *rows > 0)
                .map(|(cause, rows)| (cause.as_str().to_owned(), rows))
                .collect(),
            uncounted_cascades,
            forced: self.forced.into_iter().map(Code::as_str).collect(),
        };
        TargetReport::new(worked, backlog)
    }
}

/// Returns `true` if the count at the start of the run has shown that no row is due for any reason.
/// Returns `false` if the count began at a watermark (the time up to which an earlier run left no
/// due rows) and therefore did not include all rows. Also returns `false` if rows are known whose
/// deletion fails, because only a pass counts them.
fn has_nothing_due(passes: &[PassSql], due: &[RowCount]) -> bool {
    let none = |(pass, due): (&PassSql, &RowCount)| {
        *due == RowCount::Rows(0) && pass.from.is_none() && pass.held.is_empty()
    };
    due.len() == passes.len() && passes.iter().zip(due).all(none)
}

/// Returns the number of due rows that were left, by cause.
fn held(target: &Target, tallies: &[Tally]) -> [(HeldCause, u64); HeldCause::ALL.len()] {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let left = sum(|tally| tally.left);
    let (locked, of_groups) = if target.group.is_some() { (0, left) } else { (left, 0) };
    [
        (HeldCause::ForeignKey, sum(|tally| tally.held_by_foreign_keys)),
        (HeldCause::Trigger, sum(|tally| tally.held_by_triggers)),
        (HeldCause::Error, sum(|tally| tally.held_by_errors)),
        (HeldCause::Lock, locked),
        (HeldCause::Group, of_groups),
    ]
}
