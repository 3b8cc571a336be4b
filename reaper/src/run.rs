//! The steps of a run, in order.

pub(crate) mod conclusion;
mod count;
pub(crate) mod lock;
mod reconnect;
pub(crate) mod remembered;
pub(crate) mod run_record;
pub(crate) mod tables;
pub(crate) mod target_run;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Instant;

use crate::store::own_tables::OwnTables;
use crate::store::runs::{NewRun, RunId, Trigger};
use chrono::{DateTime, Utc};
use pg::connect::{ConnectError, ConnectOptions};
use pg::owners::{self, Named};
use tokio::sync::watch;
use tokio_postgres::{Client, Error};
use tracing::Instrument as _;

use crate::backlog::{Backlog, START_CAP};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::connection::statement_bounds::StatementBounds;
use crate::connection::{Connections, LockConnection};
use crate::error::SweepError;
use crate::exit::Exit;
use crate::interrupt::{Interrupt, Purpose};
use crate::limits::Limits;
use crate::observe::{LockAttempt, NoObserver, Observer};
use crate::pass::budget::{Budget, BudgetLimits};
use crate::pass::pace::PaceLimits;
use crate::pass::scan_order;
use crate::preflight::first_run_guard::FirstRun;
use crate::preflight::{self, Rules};
use crate::report::progress::{Progress, Running};
use crate::report::run_report::RunReport;
use crate::report::spans;
use crate::run::conclusion::{Weight, concluded, log_end};
use crate::run::remembered::Remembered;
use crate::run::run_record::{END_TRIES, History};
use crate::run::target_run::TargetRun;
use crate::run::worker::Worker;
use crate::stop::Stop;
use crate::stop_reason::StopReason;
use crate::target::auth_api::Proof;
use crate::target::catalog::Lookup;
use crate::target::condition::READ_STATEMENTS;
use crate::target::name::Ident;
use crate::target::{Absent, Target};
use crate::throttle::{Throttle, ThrottleLimits};

/// The parameters of a run. A program can perform any number of runs with the same `Sweep`.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The database that contains the tables.
    pub connect: ConnectOptions,
    /// The targets, in the order in which they are processed.
    pub targets: Vec<Target>,
    /// Whether the targets are the built-in ones. These apply only to a database of auth-api, which
    /// the run verifies.
    pub only_auth_api: bool,
    /// The limits for the size of chunks (transactions) and the idle time between them.
    pub pace: PaceLimits,
    /// The throttles, which are the conditions under which a run waits.
    pub throttle: ThrottleLimits,
    /// The limits of one run: its maximum duration and its maximum number of rows.
    pub budget: BudgetLimits,
    /// The timeouts of statements.
    pub bounds: StatementBounds,
    /// The rules of the preflight checks.
    pub preflight: Rules,
    /// The limits of the guard that skips a target if its first run would delete nearly all rows.
    pub first_run: FirstRun,
    /// The state that this process keeps between its runs.
    pub remembered: Remembered,
    /// New limits from a reload of the configuration. They replace `pace` and `throttle` from the
    /// next chunk on.
    pub reloads: Option<watch::Receiver<Limits>>,
    /// The name of this instance in the history.
    pub instance: String,
    /// Receives the measurements of the runs, for metrics.
    pub observer: Arc<dyn Observer>,
}

/// The result of a run that has ended, successfully or not.
#[derive(Debug)]
pub struct Finished {
    /// The report of the run.
    pub report: RunReport,
    /// The exit code for the process.
    pub exit: Exit,
}

impl Sweep {
    /// Creates a sweep with the default limits, which can be changed afterwards.
    #[must_use]
    pub fn new(connect: ConnectOptions, targets: Vec<Target>) -> Self {
        Self {
            connect,
            targets,
            only_auth_api: false,
            pace: PaceLimits::default(),
            throttle: ThrottleLimits::default(),
            budget: BudgetLimits::default(),
            bounds: StatementBounds::default(),
            preflight: Rules::default(),
            first_run: FirstRun::default(),
            remembered: Remembered::default(),
            reloads: None,
            instance: format!("pid {}", std::process::id()),
            observer: Arc::new(NoObserver),
        }
    }

    /// Performs one run. An error that occurs after the start of the run is not returned; the
    /// report contains it.
    ///
    /// # Errors
    ///
    /// Fails if the database is unreachable at the start, or if the targets do not apply to it.
    pub async fn run(
        &self,
        trigger: Trigger,
        stop: &Stop,
        progress: &watch::Sender<Progress>,
    ) -> Result<Finished, SweepError> {
        let span = spans::run(trigger, &self.instance);
        let ended = Box::pin(self.once(trigger, stop, progress)).instrument(span.clone()).await;
        spans::run_ended(&span, ended.as_ref().map(|finished| &finished.report));
        ended
    }

    /// Opens the two connections of a run.
    pub(crate) async fn open(&self, interrupt: &Interrupt) -> Result<Connections, ConnectError> {
        Connections::open(&self.connect, self.bounds, &self.names(), interrupt, &self.observer)
            .await
    }

    /// Opens the two connections of a run, and verifies that the targets apply to the database.
    async fn start(
        &self,
        interrupt: &Interrupt,
    ) -> Result<(Connections, Option<Proof>), SweepError> {
        let start = async {
            let connections = self.open(interrupt).await?;
            // Through a transaction pooler, nothing is deleted, so it does not matter whether the
            // database is auth-api's. The queries of the check could also reach a server process
            // with a different `search_path`.
            let proof = if connections.pooled {
                None
            } else {
                self.prove(&connections.lock_connection).await?
            };
            Ok((connections, proof))
        };
        tokio::select! {
            biased;
            started = start => started,
            () = interrupt.cancel(Purpose::Report) => Err(interrupt.wait().await.into()),
        }
    }

    /// Returns the names of the targets' tables.
    pub(crate) fn names(&self) -> Vec<Named> {
        let text = |name: &Ident| name.as_str().to_owned();
        self.targets
            .iter()
            .map(|target| (target.table.schema.as_ref().map(text), text(&target.table.name)))
            .collect()
    }

    /// Finds the reaper's own tables. The connection must have the configured `search_path`.
    pub async fn own_tables(&self, client: &Client) -> Result<OwnTables, Error> {
        let trusted = owners::read_trusted(client, &self.names()).await?;
        OwnTables::find(client, &trusted).await
    }

    async fn once(
        &self,
        trigger: Trigger,
        stop: &Stop,
        progress: &watch::Sender<Progress>,
    ) -> Result<Finished, SweepError> {
        let began = Instant::now();
        let interrupt = Interrupt::new(stop.clone(), self.budget.runtime, began);
        let (connections, proof) = self.start(&interrupt).await?;
        let Connections { lock_connection, mut auxiliary, started_at, server, pooled } =
            connections;
        self.remembered.watermarks.are_of(&server);
        let new = NewRun {
            id: RunId::generate(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            trigger,
        };
        tracing::info!(event = "run_started", run_id = %new.id, trigger = trigger.as_str(), "run started");
        progress.send_replace(Progress {
            run: Some(Running { id: new.id, started_at, trigger }),
            ..Progress::default()
        });
        let history =
            History::begin(&auxiliary, &new, pooled, &self.remembered, progress.subscribe());
        let history = auxiliary.deadline.with(History::STATEMENTS, history).await;

        let mut target_runs = Vec::new();
        let limits =
            (Budget::new(self.budget, began), Throttle::new(self.throttle.clone(), &auxiliary));
        let mut worker = Worker::new(
            lock_connection,
            limits,
            history.as_ref(),
            &*self.observer,
            (&interrupt, progress),
            &self.remembered,
        );
        worker.begin_with(self.pace, self.reloads.clone());
        let through = if pooled {
            Err(StopReason::Pooler)
        } else {
            self.work(&mut worker, &mut auxiliary, started_at, proof.as_ref(), &mut target_runs)
                .await
        };
        worker.connection.deadline.set_purpose(Purpose::Record);
        let deadline = worker.connection.deadline.clone();
        let held = target_runs.iter().any(|target_run| target_run.locked);
        deadline.with(3, lock::release(&worker.connection.client, held)).await;

        // Reopen a lost connection, so that the final counts and the report are not lost.
        auxiliary.deadline.set_purpose(Purpose::Report);
        self.keep_open(&mut auxiliary, history.as_ref()).await;
        let mut targets = Vec::new();
        for target_run in target_runs {
            self.observer.lock_held(&target_run.target.name, false);
            let backlog = target_run.remaining(&auxiliary).await;
            let weight = Weight::of(&target_run);
            targets.push((target_run.report(&backlog), weight));
        }
        self.remembered.paces.store(&auxiliary, Utc::now()).await;
        let (report, exit) = concluded(&new, began, targets, through, stop);
        auxiliary.deadline.set_purpose(Purpose::Record);
        self.keep_open(&mut auxiliary, history.as_ref()).await;
        if let Some(history) = history {
            auxiliary.deadline.with(END_TRIES + 1, history.end(&auxiliary.client, &report)).await;
        }
        auxiliary.release().await;
        log_end(&report);
        self.observer.run_ended(&self.instance, trigger, &report);
        progress.send_replace(Progress::default());
        Ok(Finished { report, exit })
    }

    /// If the auxiliary connection was lost, reopens it, because counts and the history need it.
    async fn keep_open(&self, auxiliary: &mut AuxiliaryConnection, history: Option<&History>) {
        if !auxiliary.client.is_closed() || auxiliary.deadline.is_over() {
            return;
        }
        match auxiliary.reopen(&self.connect, self.bounds).await {
            Ok(another) => {
                *auxiliary = another;
                if let Some(history) = history {
                    auxiliary
                        .deadline
                        .with(History::STATEMENTS, history.moved_to(&auxiliary.client))
                        .await;
                }
            }
            Err(error) => {
                tracing::warn!(event = "run_end_not_stored", %error, "end of this run not recorded");
            }
        }
    }

    /// For each preset (the built-in targets of an application) whose tables are all missing,
    /// returns a failed target run for the first target of the preset.
    fn wholly_absent<'a>(&'a self, found: &[TargetRun<'a>]) -> Vec<TargetRun<'a>> {
        let preset = |target: &'a Target| match &target.absent {
            Absent::LeftOutOf(preset) => Some(preset.as_str()),
            Absent::Fails(_) | Absent::LeftOut => None,
        };
        let mut seen: Vec<&str> =
            found.iter().filter_map(|target_run| preset(target_run.target)).collect();
        let mut absent = Vec::new();
        for target in &self.targets {
            if let Some(name) = preset(target).filter(|name| !seen.contains(name)) {
                seen.push(name);
                let why = format!(
                    "none of the tables of preset {name} is here: check the database name and the search_path"
                );
                absent.push(TargetRun::absent(target, &*self.observer, why));
            }
        }
        absent
    }

    /// Verifies that the built-in targets apply to this database. Returns `None` if the targets are
    /// configured ones, which need no verification. Uses the lock connection because it has the
    /// configured `search_path`.
    pub(crate) async fn prove(
        &self,
        lock_connection: &LockConnection,
    ) -> Result<Option<Proof>, SweepError> {
        if !self.only_auth_api {
            return Ok(None);
        }
        let read = lock_connection.deadline.with(2, Proof::read(&lock_connection.client)).await;
        Ok(Some(read.map_err(|error| SweepError::lost(&error))??))
    }

    /// Connects to the database and verifies that the targets apply to it.
    pub async fn is_applicable(&self) -> Result<(), SweepError> {
        if self.only_auth_api {
            let client = self.connect.connect().await?;
            Proof::read(&client).await.map_err(|error| SweepError::lost(&error))??;
        }
        Ok(())
    }

    /// Finds the tables and runs the preflight checks of each target.
    pub(crate) async fn examined(
        &self,
        lock_connection: &LockConnection,
        auxiliary: &AuxiliaryConnection,
        started_at: DateTime<Utc>,
        proof: Option<&Proof>,
    ) -> Result<Vec<TargetRun<'_>>, Error> {
        let lookup = Lookup { configured: &lock_connection.client, catalog: &auxiliary.prepared };
        let mut target_runs = Vec::new();
        for target in &self.targets {
            if auxiliary.deadline.is_over() {
                target_runs.push(TargetRun::not_begun(target, &*self.observer));
                continue;
            }
            // The statements find the table and each child by name and by oid, look for a similar
            // name if a table does not exist, and parse the conditions.
            let reading = READ_STATEMENTS * target.conditions().count();
            let statements = 3 + 2 * target.children.len() + reading;
            let prepared =
                TargetRun::prepare(lookup, (target, &*self.observer), started_at, &self.remembered);
            // Each of the two connections has its own deadline.
            // Boxed because the statements make this future large.
            let prepared = lock_connection.deadline.with(statements, Box::pin(prepared));
            target_runs.extend(auxiliary.deadline.with(statements, prepared).await?);
        }
        target_runs.extend(self.wholly_absent(&target_runs));
        for target_run in &mut target_runs {
            if auxiliary.deadline.is_over() {
                return Ok(target_runs);
            }
            target_run.pass_proof(proof);
            target_run.examine(auxiliary, self.preflight, self.pace).await?;
        }
        for index in 0..target_runs.len() {
            let others = target_runs.iter().enumerate().filter(|(other, _)| *other != index);
            let others: Vec<u32> = others.flat_map(|(_, other)| other.keeping()).collect();
            if let Some(target_run) = target_runs.get_mut(index) {
                target_run.examine_others(auxiliary, &others).await?;
            }
        }
        Ok(target_runs)
    }

    /// Finds the tables, takes their locks, and processes the targets one after another.
    async fn work<'a>(
        &'a self,
        worker: &mut Worker<'_>,
        auxiliary: &mut AuxiliaryConnection,
        started_at: DateTime<Utc>,
        proof: Option<&Proof>,
        target_runs: &mut Vec<TargetRun<'a>>,
    ) -> Result<(), StopReason> {
        let not_begun = || {
            let targets = self.targets.iter();
            targets.map(|target| TargetRun::not_begun(target, &*self.observer)).collect()
        };
        if let Err(reason) = worker.wait_for_pause_end().await {
            *target_runs = not_begun();
            return end_all(target_runs, reason);
        }
        match self.prepare(worker, auxiliary, started_at, proof, target_runs).await {
            Ok(backlogs) => self.work_through(worker, auxiliary, target_runs, &backlogs).await,
            // A canceled statement is a consequence.
            Err(reason) => match worker.is_over() {
                Ok(()) => Err(reason),
                Err(over) => {
                    if target_runs.is_empty() {
                        *target_runs = not_begun();
                    }
                    end_all(target_runs, over)
                }
            },
        }
    }

    /// Finds the tables, checks them, takes their locks, and counts their due rows.
    async fn prepare<'a>(
        &'a self,
        worker: &mut Worker<'_>,
        auxiliary: &mut AuxiliaryConnection,
        started_at: DateTime<Utc>,
        proof: Option<&Proof>,
        target_runs: &mut Vec<TargetRun<'a>>,
    ) -> Result<Vec<Backlog>, StopReason> {
        let unread =
            |error: Error| StopReason::failed_to("the catalog could not be read", error.into());
        let server = preflight::server::examine(auxiliary).await.map_err(unread)?;
        let forced = preflight::pass_server(&server, self.preflight).map_err(StopReason::Unsafe)?;
        *target_runs = self
            .examined(&worker.connection, auxiliary, started_at, proof)
            .await
            .map_err(unread)?;
        for target_run in target_runs.iter_mut() {
            worker.is_over()?;
            target_run.forced.clone_from(&forced);
            target_run.apply_preflight(self.preflight);
            target_run.apply_first_run_guard(auxiliary, self.first_run).await;
        }
        take_locks(worker, target_runs).await?;
        let (mut due, mut due_capped, mut backlogs) = (0, false, Vec::new());
        for target_run in target_runs.iter_mut() {
            worker.is_over()?;
            if target_run.ended.is_some() {
                backlogs.push(Backlog::default());
                continue;
            }
            let backlog = target_run.backlog(auxiliary, START_CAP).await;
            target_run.apply_every_run_guard(auxiliary, &backlog, self.first_run).await;
            if target_run.ended.is_none() {
                due += backlog.total();
                due_capped |= backlog.capped;
            }
            backlogs.push(backlog);
        }
        if target_runs.iter().any(TargetRun::is_to_be_worked_on) {
            self.remembered.paces.read(auxiliary).await;
        }
        let oids = target_runs.iter().flat_map(TargetRun::leaves).collect::<Vec<u32>>();
        worker.many_dead = scan_order::many_dead(auxiliary, &oids).await.map_err(unread)?;
        worker
            .progress
            .send_modify(|progress| (progress.due, progress.due_capped) = (due, due_capped));
        Ok(backlogs)
    }

    /// Processes the targets one after another.
    async fn work_through(
        &self,
        worker: &mut Worker<'_>,
        auxiliary: &mut AuxiliaryConnection,
        target_runs: &mut [TargetRun<'_>],
        backlogs: &[Backlog],
    ) -> Result<(), StopReason> {
        for (index, backlog) in backlogs.iter().enumerate() {
            if target_runs[index].ended.is_some() {
                continue;
            }
            self.work_on(index, backlog, worker, auxiliary, target_runs).await?;
            target_runs[index].finish(auxiliary).await;
        }
        Ok(())
    }

    /// Processes one target until it ends, successfully or not. Returns an error if the run itself
    /// cannot continue.
    async fn work_on(
        &self,
        index: usize,
        backlog: &Backlog,
        worker: &mut Worker<'_>,
        auxiliary: &mut AuxiliaryConnection,
        target_runs: &mut [TargetRun<'_>],
    ) -> Result<(), StopReason> {
        loop {
            let mut done = target_runs[index].work(worker, backlog).await;
            if done.is_err()
                && let Err(over) = worker.is_over()
            {
                // A canceled statement is a consequence.
                done = Err(over);
            }
            if let Err(StopReason::ConnectionLost(why)) = done {
                target_runs[index].ended =
                    worker.is_to_blame(&why).map(|why| Err(StopReason::Failed(why)));
                done = self.reconnect(worker, auxiliary, target_runs, why).await;
                if done.is_ok() && target_runs[index].ended.is_none() {
                    continue;
                }
            }
            let target_run = &mut target_runs[index];
            match done {
                // Keep the reason if the target has already ended: another reaper may have taken
                // the lock of the target while the connection was lost.
                Ok(()) => target_run.ended = target_run.ended.take().or(Some(Ok(()))),
                Err(StopReason::Failed(why) | StopReason::TableGone(why)) => {
                    tracing::error!(
                        event = "target_failed",
                        target_table = target_run.target.name,
                        why,
                        "target failed"
                    );
                    target_run.ended = Some(Err(StopReason::Failed(why)));
                }
                Err(StopReason::Throttled(throttle_reason, waited))
                    if throttle_reason.cause.is_of_one_target() =>
                {
                    target_run.ended = Some(Err(StopReason::Throttled(throttle_reason, waited)));
                }
                Err(reason) => return end_all(&mut target_runs[index..], reason),
            }
            return Ok(());
        }
    }
}

/// Ends the remaining targets after the work on one target has ended for `reason`. If the run
/// itself cannot continue, ends only the first remaining target and returns `Err`. The other
/// targets are then reported as not begun.
fn end_all(target_runs: &mut [TargetRun<'_>], reason: StopReason) -> Result<(), StopReason> {
    let mut open = target_runs.iter_mut().filter(|target_run| target_run.ended.is_none());
    if reason.is_of_the_run() {
        open.for_each(|target_run| target_run.ended = Some(Err(reason.clone())));
        return Ok(());
    }
    let reason = match reason {
        StopReason::ConnectionLost(why) => {
            StopReason::Failed(format!("the connection that held the lock was lost: {why}"))
        }
        reason => reason,
    };
    if let Some(first) = open.next() {
        first.ended = Some(Err(reason.clone()));
    }
    Err(reason)
}

/// Takes the locks of the targets that are still to be processed. If another reaper holds the lock
/// of a target, the work on that target ends.
pub(crate) async fn take_locks(
    worker: &mut Worker<'_>,
    target_runs: &mut [TargetRun<'_>],
) -> Result<(), StopReason> {
    let mut wanted: Vec<&mut TargetRun<'_>> =
        target_runs.iter_mut().filter(|target_run| target_run.is_to_be_worked_on()).collect();
    let oids: Vec<u32> = wanted.iter().filter_map(|target_run| target_run.oid()).collect();
    let (pid, deadline) = (worker.connection.pid(), worker.connection.deadline.clone());
    // The other four statements are BEGIN, SET `lock_timeout`, the lock that serializes lock
    // acquisition, and COMMIT.
    let statements = oids.len() + 4;
    let acquired = match deadline
        .with(statements, lock::acquire(&mut worker.connection.client, pid, &oids))
        .await
    {
        Ok(acquired) => acquired,
        Err(error) => {
            worker.observer.lock_attempted(LockAttempt::Error);
            return Err(StopReason::failed_to("the locks could not be taken", error));
        }
    };
    for (target_run, acquired) in wanted.iter_mut().zip(acquired) {
        let holder = match (acquired, target_run.oid()) {
            (false, Some(oid)) => {
                deadline.with(1, lock::holder(&worker.connection.client, oid)).await
            }
            _ => None,
        };
        worker.observer.lock_attempted(if acquired {
            LockAttempt::Acquired
        } else {
            LockAttempt::Busy
        });
        worker.observer.lock_held(&target_run.target.name, acquired);
        target_run.locked = acquired;
        if !acquired {
            tracing::info!(
                event = "lock_held",
                target_table = target_run.target.name,
                holder,
                "another reaper holds the lock"
            );
            target_run.ended = Some(Err(if target_run.has_begun() {
                StopReason::TakenOver
            } else {
                StopReason::Locked(holder)
            }));
        }
    }
    Ok(())
}
