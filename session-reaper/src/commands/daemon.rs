//! `daemon`: a run at each time of the schedule, one after the other, until somebody asks to stop.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use schema::connect::chain;
use schema::runs::{self, Outcome, Trigger};
use tokio::sync::watch;

use crate::config::Service;
use crate::exit::Exit;
use crate::notify::Supervisor;
use crate::ops::{self, Live};
use crate::registration;
use crate::schedule::{Tick, Ticks};
use crate::stop::Stop;
use crate::sweep::{Progress, Sweep, SweepError};
use crate::{clock, metrics, notify, recent_runs, watchdog};

/// How often histograms are drained; what waits in them until then is memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// The longest sleep without a look at the clock, which may be set, or jump after the machine has
/// slept.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// A run that begins so late was missed, and not just held up for a moment.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// Of a look into the history before the first run, which has to wait for it.
const REMEMBER_WITHIN: Duration = Duration::from_secs(5);

/// Serves and runs until it is stopped.
pub async fn daemon(service: &Service, stop: &Stop) -> Exit {
    let Service { sweep, schedule, jitter, ops_bind: bind, ops_hosts, supervisor } = service;
    let metrics = match metrics::install(&sweep.targets) {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!(event = "metrics_setup_failed", %error, "metrics not set up");
            return Exit::Failed;
        }
    };
    metrics::interval(schedule.gaps(clock::now()).longest);
    let (progress, watched) = watch::channel(Progress::default());
    let (next, next_watched) = watch::channel(None);
    let live = Live { progress: watched, next: next_watched.clone() };
    let (server, address) = match ops::serve(*bind, ops_hosts, metrics.clone(), sweep, live.clone())
    {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!(event = "ops_bind_failed", %error, ops = %bind, "cannot listen on OPS_BIND");
            return Exit::Failed;
        }
    };
    let handle = server.handle();
    let server = tokio::spawn(server);
    let upkeep = tokio::spawn(keep_up(metrics));
    tracing::info!(event = "listening", ops = %address, "listening");
    let feeder = supervisor
        .and_then(|supervisor| supervisor.watchdog)
        .map(|watchdog| tokio::spawn(notify::feed(watchdog, live.progress.clone())));
    let told = supervisor.map(|supervisor| {
        supervisor.warn_of_haste(sweep.bounds);
        tokio::spawn(notify::tell(live, stop.clone()))
    });
    let registration = tokio::spawn(registration::publish(sweep, schedule, address, next_watched));
    remember(sweep).await;

    let look_every = supervisor.and_then(Supervisor::wake_every).unwrap_or(LOOK_AT_CLOCK);
    let rounds = Rounds { sweep, stop, progress, next, look_every: look_every.min(LOOK_AT_CLOCK) };
    let exit = tokio::select! {
        exit = rounds.keep(Ticks::new(schedule, *jitter)) => exit,
        ended = server => {
            tracing::error!(event = "ops_port_lost", ?ended, "operations port closed unexpectedly");
            return Exit::Failed;
        }
    };
    // Those who watch see the end of it.
    drop(rounds);
    if let Some(told) = told {
        let _ = told.await;
    }
    handle.stop(true).await;
    // It takes back what it said, within its bound.
    let _ = registration.await;
    upkeep.abort();
    feeder.inspect(tokio::task::JoinHandle::abort);
    tracing::info!(event = "stopped", "stopped");
    exit
}

/// Tells the metrics what the history knows of runs before this process. Without a history, or a
/// database for now, they begin with 0 until its own first run.
async fn remember(sweep: &Sweep) {
    let asking = async {
        let client =
            ops::questions(&sweep.connect).connect().await.map_err(|error| error.to_string())?;
        let ended = async { runs::last_ended(&client, &sweep.own_tables(&client).await?).await };
        ended.await.map_err(|error| chain(&error))
    };
    match tokio::time::timeout(REMEMBER_WITHIN, asking).await {
        Ok(Ok((success, completion))) => metrics::runs_before(success, completion),
        Ok(Err(error)) => {
            tracing::debug!(event = "history_read_failed", error, "run history not read");
        }
        Err(_) => tracing::debug!(event = "history_read_timeout", "run history not read in time"),
    }
}

/// What a daemon does again and again.
struct Rounds<'a> {
    sweep: &'a Sweep,
    stop: &'a Stop,
    progress: watch::Sender<Progress>,
    /// When the next run is, for those who watch.
    next: watch::Sender<Option<DateTime<Utc>>>,
    /// How often to look at the clock while there is nothing to do.
    look_every: Duration,
}

impl Rounds<'_> {
    /// Runs at each time of the schedule until somebody asks to stop, or there is no configuration
    /// for this database.
    async fn keep(&self, mut ticks: Ticks<'_>) -> Exit {
        if let Err(error) = self.applicable().await {
            return Self::give_up(&error);
        }
        let mut upcoming = ticks.next(clock::now());
        while self.stop.requested().is_none() {
            let Some(tick) = upcoming else {
                // It had a next time when it was read, and years pass slowly.
                tracing::error!(event = "schedule_ended", "schedule has no further runs");
                return Exit::Done;
            };
            self.next.send_replace(Some(tick.run_at));
            tracing::debug!(event = "next_run", time = %tick.run_at, "waiting for the next run");
            let wait = self.wait_for(tick, &ticks);
            let waited = tokio::select! {
                waited = wait => waited,
                _ = self.stop.wait() => return Exit::Done,
            };
            if waited == Waited::Overtaken {
                tracing::warn!(event = "clock_set_back", time = %tick.time, "system clock was set back; waiting for the next scheduled time");
                upcoming = ticks.next(clock::now());
                continue;
            }
            let now = clock::now();
            let missed = ticks.begin(tick, now);
            let late = now - tick.run_at;
            if missed > 0 || late > LATE {
                let late_s = late.num_seconds();
                tracing::warn!(event = "run_missed", time = %tick.time, late_s, missed, "missed a scheduled run (suspended host or process, or clock change); running once now");
            }
            upcoming = ticks.next(now);
            self.next.send_replace(upcoming.map(|tick| tick.run_at));
            if let Err(error) = self.run().await {
                return Self::give_up(&error);
            }
            let now = clock::now();
            if upcoming.is_some_and(|tick| tick.run_at <= now) {
                let skipped = ticks.end(now);
                metrics::ticks_skipped(skipped);
                tracing::warn!(
                    event = "runs_skipped",
                    missed = skipped,
                    "skipped scheduled runs: the previous run is still active"
                );
                upcoming = ticks.next(now);
            }
        }
        Exit::Done
    }

    /// Fails when the database is not one that the targets apply to. Without an answer in time the
    /// runs find out.
    async fn applicable(&self) -> Result<(), SweepError> {
        let asked = tokio::time::timeout(REMEMBER_WITHIN, self.sweep.is_applicable());
        let asked = tokio::select! {
            asked = asked => asked,
            _ = self.stop.wait() => return Ok(()),
        };
        match asked {
            Ok(Err(error @ SweepError::NotAuthApi(_))) => Err(error),
            Ok(Err(error)) => {
                tracing::debug!(event = "database_not_identified", %error, "database not identified yet");
                Ok(())
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// A later run would find the same: a supervisor is not to start the daemon again.
    fn give_up(error: &SweepError) -> Exit {
        tracing::error!(event = error.event(), %error, "daemon stopping after an error");
        error.exit()
    }

    /// Waits by the clock as it is, which may be set meanwhile.
    async fn wait_for(&self, tick: Tick, ticks: &Ticks<'_>) -> Waited {
        loop {
            watchdog::sign();
            let now = clock::now();
            let left = (tick.run_at - now).to_std().unwrap_or_default();
            if left.is_zero() {
                return Waited::Due;
            }
            if ticks.is_overtaken(tick, now) {
                return Waited::Overtaken;
            }
            tokio::time::sleep(left.min(self.look_every)).await;
        }
    }

    /// Runs once. Fails when no later run could do better.
    async fn run(&self) -> Result<(), SweepError> {
        let began = std::time::Instant::now();
        let Err(error) = self.sweep.run(Trigger::Schedule, self.stop, &self.progress).await else {
            return Ok(());
        };
        recent_runs::keep_failure(&self.sweep.instance, &error.to_string());
        let none = self.sweep.targets.iter().map(|target| (target.name.as_str(), 0));
        metrics::run_ended(Outcome::Failed, began.elapsed(), none);
        if matches!(error, SweepError::NotAuthApi(_)) {
            return Err(error);
        }
        tracing::error!(event = error.event(), %error, "run not started; the next run stays scheduled");
        Ok(())
    }
}

/// How a wait has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// It is time.
    Due,
    /// The clock was set back, and another time is nearer.
    Overtaken,
}

async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}
