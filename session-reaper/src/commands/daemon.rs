//! `daemon`: scheduled runs, one at a time, until a signal stops the process.

mod first_count;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use pg::error_text::chain;
use reaper::runs::{self, Trigger};
use tokio::sync::watch;

use crate::config::Service;
use crate::notify::Supervisor;
use crate::ops::{self, Live};
use crate::registration;
use crate::reload::Sweeps;
use crate::schedule::{Tick, Ticks};
use crate::short_queries::questions;
use crate::status::Rhythm;
use crate::{clock, metrics, notify, recent_runs, watchdog};
use first_count::FirstCount;
use reaper::Exit;
use reaper::Stop;
use reaper::{Progress, Sweep, SweepError};

/// The interval at which the metrics recorder aggregates the samples of histograms, which
/// accumulate in memory in between.
const UPKEEP: Duration = Duration::from_secs(5);

/// The longest sleep before the clock is read again. The clock may be changed during a sleep, or
/// may jump when a suspended machine resumes.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// A run that starts more than this long after its planned time (the scheduled time plus the random
/// delay) counts as missed, and not only as delayed.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// The timeout for reading the run history, and for checking whether the targets apply to the
/// database. The first run starts after both steps.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the operations port and performs the scheduled runs until the daemon is stopped.
pub async fn daemon(service: &Service, sweeps: &Sweeps, stop: &Stop) -> Exit {
    let Service { schedule, jitter, ops_bind: bind, ops_hosts, supervisor, .. } = service;
    let sweep: &Sweep = &sweeps.borrow().clone();
    let (cron, timezone) = schedule.written();
    tracing::info!(
        event = "daemon_started",
        version = env!("CARGO_PKG_VERSION"),
        database = sweep.connect.database(),
        schedule = cron,
        timezone,
        targets = sweep.targets.len(),
        "daemon started"
    );
    let metrics = match metrics::install(&sweep.targets, sweep.connect.database_name()) {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!(event = "metrics_setup_failed", %error, "metrics not set up");
            return Exit::Failed;
        }
    };
    metrics::interval(schedule.gaps(clock::now()).longest.saturating_add(*jitter));
    let (progress, watched) = watch::channel(Progress::default());
    let (next, next_watched) = watch::channel(None);
    let rhythm = Rhythm::of(schedule, *jitter);
    let live = Live { progress: watched, next: next_watched.clone(), rhythm };
    let (server, address) = match ops::serve(
        *bind,
        ops_hosts,
        metrics.clone(),
        sweeps.clone(),
        live.clone(),
    ) {
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
    let notifier = supervisor.map(|supervisor| {
        supervisor.warn_if_too_short(sweep.bounds);
        tokio::spawn(notify::report(live, stop.clone()))
    });
    let registration =
        tokio::spawn(registration::publish(sweep, (schedule, *jitter), address, next_watched));
    remember(sweep).await;
    let first_count = FirstCount::start(sweep);

    let look_every = supervisor.and_then(Supervisor::wake_every).unwrap_or(LOOK_AT_CLOCK);
    let look_every = look_every.min(LOOK_AT_CLOCK);
    let rounds = Rounds { sweeps, stop, progress, next, first_count: &first_count, look_every };
    let exit = tokio::select! {
        exit = rounds.keep(Ticks::new(schedule, *jitter)) => exit,
        ended = server => {
            tracing::error!(event = "ops_port_lost", ?ended, "operations port closed unexpectedly");
            return Exit::Failed;
        }
    };
    // This drops the senders in `rounds`, which ends the tasks that wait for new values from these
    // senders.
    drop(rounds);
    first_count.end().await;
    if let Some(notifier) = notifier {
        let _ = notifier.await;
    }
    handle.stop(true).await;
    // Before this task ends, it removes the daemon's registration. A timeout limits the removal.
    let _ = registration.await;
    upkeep.abort();
    feeder.inspect(tokio::task::JoinHandle::abort);
    tracing::info!(event = "stopped", "stopped");
    exit
}

/// Initializes the metrics from the history of earlier runs. If there is no history or the database
/// is not reachable, the metrics are 0 until the first run of this process.
async fn remember(sweep: &Sweep) {
    let asking = async {
        let client =
            questions(&sweep.connect).connect().await.map_err(|error| error.to_string())?;
        let ended = async { runs::last_ended(&client, &sweep.own_tables(&client).await?).await };
        ended.await.map_err(|error| chain(&error))
    };
    match tokio::time::timeout(HISTORY_TIMEOUT, asking).await {
        Ok(Ok((success, completion))) => metrics::runs_before(success, completion),
        Ok(Err(error)) => {
            tracing::debug!(event = "history_read_failed", error, "run history not read");
        }
        Err(_) => tracing::debug!(event = "history_read_timeout", "run history not read in time"),
    }
}

/// The loop of a daemon, which performs the scheduled runs.
struct Rounds<'a> {
    sweeps: &'a Sweeps,
    stop: &'a Stop,
    progress: watch::Sender<Progress>,
    /// Publishes the time of the next run.
    next: watch::Sender<Option<DateTime<Utc>>>,
    /// The count of due rows that is made at the start and that the first run cancels.
    first_count: &'a FirstCount,
    /// The interval at which the clock is read while waiting.
    look_every: Duration,
}

impl Rounds<'_> {
    /// Starts a run at each scheduled time. Stops when a signal is received or when an error shows
    /// that the targets do not apply to this database.
    async fn keep(&self, mut ticks: Ticks<'_>) -> Exit {
        if let Err(error) = self.applicable().await {
            return Self::give_up(&error);
        }
        let mut upcoming = ticks.next(clock::now());
        while self.stop.requested().is_none() {
            let Some(tick) = upcoming else {
                // This is unlikely, because the schedule had a next time when the schedule was
                // parsed.
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
            self.first_count.abandon();
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

    /// Returns an error if the targets do not apply to this database. If the database does not
    /// respond in time, returns `Ok`; each run performs this check again.
    async fn applicable(&self) -> Result<(), SweepError> {
        let sweep = self.sweeps.borrow().clone();
        let check = tokio::time::timeout(HISTORY_TIMEOUT, sweep.is_applicable());
        let checked = tokio::select! {
            checked = check => checked,
            _ = self.stop.wait() => return Ok(()),
        };
        match checked {
            Ok(Err(error @ SweepError::NotAuthApi(_))) => Err(error),
            Ok(Err(error)) => {
                tracing::debug!(event = "database_not_identified", %error, "database not identified yet");
                Ok(())
            }
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Logs an error that would recur in every later run. Returns the exit code for this error.
    fn give_up(error: &SweepError) -> Exit {
        tracing::error!(event = error.event(), %error, "daemon stopping after an error");
        error.exit()
    }

    /// Waits until the host's clock shows the time of a scheduled run, even if the clock is changed
    /// in the meantime.
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

    /// Performs one run. Returns an error only if later runs would fail for the same reason.
    async fn run(&self) -> Result<(), SweepError> {
        let began = std::time::Instant::now();
        let sweep = self.sweeps.borrow().clone();
        let Err(error) = sweep.run(Trigger::Schedule, self.stop, &self.progress).await else {
            return Ok(());
        };
        if matches!(error, SweepError::Stopped(_)) {
            tracing::info!(event = error.event(), %error, "run not started");
            return Ok(());
        }
        recent_runs::keep_failure(&sweep.instance, &error.to_string());
        let none = sweep.targets.iter().map(|target| (target.name.as_str(), 0));
        metrics::run_ended(error.outcome(), began.elapsed(), none);
        if matches!(error, SweepError::NotAuthApi(_)) {
            return Err(error);
        }
        tracing::error!(event = error.event(), %error, "run not started; the next run stays scheduled");
        Ok(())
    }
}

/// The result of a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// The run is due.
    Due,
    /// The clock was set back, so that an earlier scheduled time now comes first.
    Overtaken,
}

async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}
