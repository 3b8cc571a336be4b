//! The recipe of a run.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use schema::connect::ConnectOptions;
use schema::own::OwnTables;
use schema::owners::{self, Named};
use schema::runs::{NewRun, Outcome, RunId, Trigger};
use tokio::sync::watch;
use tokio_postgres::{Client, Error};
use tracing::Instrument as _;

use super::auth_api::Proof;
use super::backlog::{Backlog, START_CAP};
use super::beside::Beside;
use super::budget::{Budget, BudgetLimits};
use super::catalog::Lookup;
use super::condition::READ_STATEMENTS;
use super::connection::{Connections, Dedicated, StatementBounds, Trouble};
use super::error::SweepError;
use super::gate::{self, Rules};
use super::guard::FirstRun;
use super::history::{END_TRIES, History};
use super::lock;
use super::name::Ident;
use super::pace::PaceLimits;
use super::pass::Halt;
use super::progress::{Progress, Running};
use super::report::{End, Report, TargetReport, conclude, milliseconds};
use super::spans;
use super::stint::Stint;
use super::target::{Absent, Target};
use super::throttle::{Throttle, ThrottleLimits};
use super::watermarks::Watermarks;
use super::worker::Worker;
use crate::exit::Exit;
use crate::memory;
use crate::meter::{self, LockAttempt};
use crate::stop::Stop;

/// All that a run needs to know. It can be run any number of times.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// Where the tables are.
    pub connect: ConnectOptions,
    /// What to reap, in this order.
    pub targets: Vec<Target>,
    /// Nobody configured the targets: they apply to a database that proves to be auth-api's, and to no other.
    pub only_auth_api: bool,
    /// How fast.
    pub pace: PaceLimits,
    /// What to make way for.
    pub throttle: ThrottleLimits,
    /// How much at the most.
    pub budget: BudgetLimits,
    /// How long a statement may take.
    pub bounds: StatementBounds,
    /// What is safe.
    pub gate: Rules,
    /// What is too much for a first run.
    pub first_run: FirstRun,
    /// How far earlier runs came.
    pub watermarks: Watermarks,
    /// Who we are, for the history.
    pub instance: String,
}

/// A run that has ended, however.
#[derive(Debug)]
pub struct Finished {
    /// What it did.
    pub report: Report,
    /// What the process should end with.
    pub exit: Exit,
}

/// What ends a run before it is through with its targets.
pub(super) enum Broken {
    Failed(String),
    Pooler,
    /// The server is not one to work on.
    Unsafe(String),
}

pub(super) const POOLER: &str = "a transaction-pooling proxy stands between session-reaper and PostgreSQL: its statements reach \
     different server processes, so that its lock protects nothing. Connect to PostgreSQL itself, or through a pooler in \
     session mode; nothing was deleted without the lock";

impl Sweep {
    /// Does one run. Fails when the database cannot be reached at its start, or is not one that the targets apply to; what
    /// happens later is in the report.
    pub async fn run(
        &self,
        trigger: Trigger,
        stop: &Stop,
        progress: &watch::Sender<Progress>,
    ) -> Result<Finished, SweepError> {
        let span = spans::run(trigger, &self.instance);
        let ended = self.once(trigger, stop, progress).instrument(span.clone()).await;
        spans::run_ended(&span, &ended);
        ended
    }

    /// The tables' names.
    pub(super) fn names(&self) -> Vec<Named> {
        let text = |name: &Ident| name.as_str().to_owned();
        self.targets.iter().map(|target| (target.table.schema.as_ref().map(text), text(&target.table.name))).collect()
    }

    /// The reaper's own tables, on a connection with the configured search path.
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
        let Connections { dedicated, mut beside, started_at, server, pooled } =
            Connections::open(&self.connect, self.bounds, &self.names()).await?;
        // Behind a pooler nothing is deleted, and it may ask another process, with another search_path.
        let proof = if pooled { None } else { self.prove(&dedicated).await? };
        self.watermarks.are_of(&server);
        let new = NewRun {
            id: RunId::generate(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at,
            trigger,
        };
        tracing::info!(event = "run_started", run_id = %new.id, trigger = trigger.as_str(), "run started");
        progress
            .send_replace(Progress { run: Some(Running { id: new.id, started_at, trigger }), ..Progress::default() });
        let history = History::begin(&beside, &new, pooled, progress.subscribe());
        let history = beside.patience.with(History::STATEMENTS, history).await;

        let mut stints = Vec::new();
        let mut worker = Worker {
            connection: dedicated,
            budget: Budget::new(self.budget, began),
            throttle: Throttle::new(self.throttle.clone(), &beside),
            history: history.as_ref(),
            stop,
            progress,
            watermarks: &self.watermarks,
            tables: Vec::new(),
            rest: Duration::ZERO,
            alone: false,
            gone: Vec::new(),
            barren: 0,
        };
        let through = if pooled {
            Err(Broken::Pooler)
        } else {
            self.work(&mut worker, &mut beside, started_at, proof.as_ref(), &mut stints).await
        };
        let patience = worker.connection.patience.clone();
        let held = stints.iter().any(|stint| stint.locked);
        patience.with(3, lock::release(&worker.connection.client, held)).await;

        // What is counted and written at the end is not to be lost with a connection.
        self.keep_open(&mut beside, history.as_ref()).await;
        let ended_as = |is: fn(&End) -> bool| stints.iter().any(|stint| stint.end.as_ref().is_some_and(is));
        let refused = if ended_as(|end| matches!(end, End::Unsafe(_))) {
            Some(Exit::Unsafe)
        } else {
            ended_as(|end| matches!(end, End::Held(_))).then_some(Exit::Partly)
        };
        let mut targets = Vec::new();
        for stint in stints {
            meter::lock_held(&stint.target.name, false);
            let backlog = stint.remaining(&beside).await;
            targets.push(stint.report(&backlog));
        }
        let (report, exit) = concluded(&new, began, targets, through, refused, stop);
        self.keep_open(&mut beside, history.as_ref()).await;
        if let Some(history) = history {
            let written = serde_json::to_value(&report).unwrap_or_default();
            beside.patience.with(END_TRIES + 1, history.end(&beside.client, report.outcome, &written)).await;
        }
        beside.let_go().await;
        tell(&report);
        memory::keep_run(&self.instance, trigger, &report);
        progress.send_replace(Progress::default());
        Ok(Finished { report, exit })
    }

    /// Makes the connection for counts and the history again, if it was lost.
    async fn keep_open(&self, beside: &mut Beside, history: Option<&History>) {
        if !beside.client.is_closed() {
            return;
        }
        match beside.reopen(&self.connect, self.bounds).await {
            Ok(another) => {
                *beside = another;
                if let Some(history) = history {
                    beside.patience.with(History::STATEMENTS, history.moved_to(&beside.client)).await;
                }
            }
            Err(error) => tracing::warn!(event = "run_end_not_stored", %error, "end of this run not recorded"),
        }
    }

    /// Of each preset that has no table at all here, its first target, as failed.
    fn wholly_absent<'a>(&'a self, found: &[Stint<'a>]) -> Vec<Stint<'a>> {
        let preset = |target: &'a Target| match &target.absent {
            Absent::LeftOutOf(preset) => Some(preset.as_str()),
            Absent::Fails(_) | Absent::LeftOut => None,
        };
        let mut settled: Vec<&str> = found.iter().filter_map(|stint| preset(stint.target)).collect();
        let mut absent = Vec::new();
        for target in &self.targets {
            if let Some(name) = preset(target).filter(|name| !settled.contains(name)) {
                settled.push(name);
                let why = format!(
                    "none of the tables of preset {name} is here: is it the right database, and the right search_path?"
                );
                absent.push(Stint::absent(target, why));
            }
        }
        absent
    }

    /// Proves that targets which nobody configured apply to this database. `None` where somebody did. The connection that
    /// deletes has the configured `search_path`.
    pub(super) async fn prove(&self, dedicated: &Dedicated) -> Result<Option<Proof>, SweepError> {
        if !self.only_auth_api {
            return Ok(None);
        }
        let read = dedicated.patience.with(2, Proof::read(&dedicated.client)).await;
        Ok(Some(read.map_err(|error| SweepError::lost(&error))??))
    }

    /// Connects, and does no more than to prove that the targets apply to the database.
    pub async fn is_applicable(&self) -> Result<(), SweepError> {
        if self.only_auth_api {
            let client = self.connect.connect().await?;
            Proof::read(&client).await.map_err(|error| SweepError::lost(&error))??;
        }
        Ok(())
    }

    /// Finds the tables, and what there is to say of each.
    pub(super) async fn examined(
        &self,
        dedicated: &Dedicated,
        beside: &Beside,
        started_at: DateTime<Utc>,
        proof: Option<&Proof>,
    ) -> Result<Vec<Stint<'_>>, Error> {
        let lookup = Lookup { configured: &dedicated.client, catalog: &beside.client };
        let mut stints = Vec::new();
        for target in &self.targets {
            // The table and each child, by name and by oid; a name like one that is not there; what reads the condition.
            let reading = if target.filter.is_some() { READ_STATEMENTS } else { 0 };
            let statements = 3 + 2 * target.children.len() + reading;
            let prepared = Stint::prepare(lookup, target, started_at, &self.watermarks);
            // Each of the two connections has its deadline.
            let prepared = dedicated.patience.with(statements, prepared);
            stints.extend(beside.patience.with(statements, prepared).await?);
        }
        stints.extend(self.wholly_absent(&stints));
        for stint in &mut stints {
            stint.pass_proof(proof);
            stint.examine(beside, self.gate, self.pace).await?;
        }
        for index in 0..stints.len() {
            let others = stints.iter().enumerate().filter(|(other, _)| *other != index);
            let others: Vec<u32> = others.flat_map(|(_, other)| other.keeping()).collect();
            if let Some(stint) = stints.get_mut(index) {
                stint.examine_others(beside, &others).await?;
            }
        }
        Ok(stints)
    }

    /// Finds the tables, takes their locks, and works on one after the other.
    async fn work<'a>(
        &'a self,
        worker: &mut Worker<'_>,
        beside: &mut Beside,
        started_at: DateTime<Utc>,
        proof: Option<&Proof>,
        stints: &mut Vec<Stint<'a>>,
    ) -> Result<(), Broken> {
        if let Err(halt) = worker.wait_for_leave().await {
            *stints = self.targets.iter().map(Stint::not_begun).collect();
            return ended_by(stints, halt);
        }
        let unread = |error: Error| broken("the catalog could not be read", error.into());
        let server = gate::server::examine(beside).await.map_err(unread)?;
        let forced = gate::pass_server(&server, self.gate).map_err(Broken::Unsafe)?;
        *stints = self.examined(&worker.connection, beside, started_at, proof).await.map_err(unread)?;
        for stint in stints.iter_mut() {
            stint.forced.clone_from(&forced);
            stint.pass_gate(self.gate);
            stint.pass_guard(beside, self.first_run).await;
        }
        take_locks(worker, stints).await?;
        let (mut due, mut due_capped, mut backlogs) = (0, false, Vec::new());
        for stint in stints.iter_mut() {
            if stint.end.is_some() {
                backlogs.push(Backlog::default());
                continue;
            }
            let backlog = stint.backlog(beside, START_CAP).await;
            stint.pass_every_run_guard(beside, &backlog, self.first_run).await;
            if stint.end.is_none() {
                due += backlog.total();
                due_capped |= backlog.capped;
            }
            backlogs.push(backlog);
        }
        worker.progress.send_modify(|progress| (progress.due, progress.due_capped) = (due, due_capped));

        for (index, backlog) in backlogs.iter().enumerate() {
            if stints[index].end.is_some() {
                continue;
            }
            self.work_on(index, backlog, worker, beside, stints).await?;
            stints[index].has_worked(beside).await;
        }
        Ok(())
    }

    /// Works on one of them to its end, whatever that is; an error is the end of them all.
    async fn work_on(
        &self,
        index: usize,
        backlog: &Backlog,
        worker: &mut Worker<'_>,
        beside: &mut Beside,
        stints: &mut [Stint<'_>],
    ) -> Result<(), Broken> {
        loop {
            let mut done = stints[index].work(worker, self.pace, backlog).await;
            if let Err(Halt::Lost(why)) = done {
                stints[index].end = worker.is_to_blame(&why).map(End::Failed);
                done = self.reconnect(worker, beside, stints, why).await;
                if done.is_ok() && stints[index].end.is_none() {
                    continue;
                }
            }
            let stint = &mut stints[index];
            match done {
                // Another reaper may have taken the lock while the connection was lost.
                Ok(()) => stint.end = stint.end.take().or(Some(End::Done)),
                Err(Halt::Failed(why) | Halt::Gone(why)) => {
                    tracing::error!(event = "target_failed", target_table = stint.target.name, why, "target failed");
                    stint.end = Some(End::Failed(why));
                }
                Err(Halt::Throttled(obstacle, waited)) if obstacle.cause.is_of_one_target() => {
                    stint.end = Some(End::Throttled(obstacle, waited));
                }
                Err(halt) => return ended_by(&mut stints[index..], halt),
            }
            return Ok(());
        }
    }
}

/// What ends one target is the end of those after it, too.
fn ended_by(stints: &mut [Stint<'_>], halt: Halt) -> Result<(), Broken> {
    let (end, broken) = match halt {
        Halt::Stopped(signal) => (End::Stopped(signal), None),
        Halt::Spent(spent) => (End::Spent(spent), None),
        Halt::Throttled(obstacle, waited) => (End::Throttled(obstacle, waited), None),
        Halt::Failed(why) | Halt::Gone(why) => (End::Failed(why.clone()), Some(Broken::Failed(why))),
        Halt::Lost(why) => {
            let why = format!("the connection that held the lock was lost: {why}");
            (End::Failed(why.clone()), Some(Broken::Failed(why)))
        }
        Halt::Pooler => (End::Failed(POOLER.to_owned()), Some(Broken::Pooler)),
    };
    // When the run itself is broken the others say that they were not begun.
    let others = if broken.is_some() { 1 } else { usize::MAX };
    for stint in stints.iter_mut().filter(|stint| stint.end.is_none()).take(others) {
        stint.end = Some(end.clone());
    }
    broken.map_or(Ok(()), Err)
}

/// Takes the locks of all tables that are there; whoever's is taken is not worked on.
pub(super) async fn take_locks(worker: &mut Worker<'_>, stints: &mut [Stint<'_>]) -> Result<(), Broken> {
    let mut wanted: Vec<&mut Stint<'_>> = stints.iter_mut().filter(|stint| stint.is_to_be_worked_on()).collect();
    let oids: Vec<u32> = wanted.iter().filter_map(|stint| stint.oid()).collect();
    let (pid, patience) = (worker.connection.pid(), worker.connection.patience.clone());
    // BEGIN, the gate and its lock, COMMIT.
    let statements = oids.len() + 4;
    let acquired = match patience.with(statements, lock::acquire(&mut worker.connection.client, pid, &oids)).await {
        Ok(acquired) => acquired,
        Err(trouble) => {
            meter::lock_attempt(LockAttempt::Error);
            return Err(broken("the locks could not be taken", trouble));
        }
    };
    for (stint, acquired) in wanted.iter_mut().zip(acquired) {
        meter::lock_attempt(if acquired { LockAttempt::Acquired } else { LockAttempt::Busy });
        meter::lock_held(&stint.target.name, acquired);
        stint.locked = acquired;
        if !acquired {
            tracing::info!(event = "lock_held", target_table = stint.target.name, "another reaper holds the lock");
            stint.end = Some(if stint.has_begun() { End::TakenOver } else { End::Busy });
        }
    }
    Ok(())
}

fn broken(what: &str, trouble: Trouble) -> Broken {
    match trouble {
        Trouble::Pooler => Broken::Pooler,
        Trouble::Conflict(why) | Trouble::Lost(why) | Trouble::Gone(why) | Trouble::Other(why) => {
            Broken::Failed(format!("{what}: {why}"))
        }
        trouble @ (Trouble::Timeout(_) | Trouble::Changed(_)) => Broken::Failed(format!("{what}: {trouble}")),
    }
}

fn concluded(
    run: &NewRun,
    began: Instant,
    targets: Vec<TargetReport>,
    through: Result<(), Broken>,
    refused: Option<Exit>,
    stop: &Stop,
) -> (Report, Exit) {
    let broken = match &through {
        Err(Broken::Pooler | Broken::Unsafe(_)) => Some(Exit::Unsafe),
        Err(Broken::Failed(_)) => Some(Exit::Failed),
        Ok(()) => None,
    };
    let (outcome, why) = match through {
        Err(Broken::Pooler) => (Outcome::Failed, POOLER.to_owned()),
        Err(Broken::Failed(why) | Broken::Unsafe(why)) => (Outcome::Failed, why),
        Ok(()) => conclude(&targets),
    };
    let exit = broken.unwrap_or(match outcome {
        Outcome::Success | Outcome::SkippedLock => Exit::Done,
        Outcome::Partial => refused.unwrap_or(Exit::Partly),
        Outcome::Paused => Exit::Partly,
        Outcome::Failed => refused.unwrap_or(Exit::Failed),
        Outcome::Interrupted => stop.requested().map_or(Exit::Failed, Exit::Stopped),
    });
    let (run_id, started_at, elapsed) = (run.id.0, run.started_at, began.elapsed());
    meter::run_ended(outcome, elapsed, targets.iter().map(|target| (target.target.as_str(), target.deleted_rows())));
    (Report { run_id, outcome, why, started_at, elapsed_ms: milliseconds(elapsed), targets }, exit)
}

fn tell(report: &Report) {
    let (run_id, outcome, why) = (report.run_id, report.outcome.as_str(), report.why.as_str());
    let (deleted, elapsed_ms) = (report.deleted_rows(), report.elapsed_ms);
    match report.outcome {
        Outcome::Failed => tracing::error!(event = "run_ended", %run_id, outcome, why, deleted, elapsed_ms, "run ended"),
        Outcome::Partial => tracing::warn!(event = "run_ended", %run_id, outcome, why, deleted, elapsed_ms, "run ended"),
        Outcome::Success | Outcome::SkippedLock | Outcome::Paused | Outcome::Interrupted => {
            tracing::info!(event = "run_ended", %run_id, outcome, why, deleted, elapsed_ms, "run ended");
        }
    }
}
