//! `daemon`: a run at each time of the schedule, one after the other, until somebody asks to stop.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use metrics_exporter_prometheus::PrometheusHandle;
use schema::runs::{Outcome, Trigger};
use tokio::sync::watch;

use crate::clock;
use crate::exit::Exit;
use crate::meter;
use crate::ops::{self, Live};
use crate::presence;
use crate::schedule::Schedule;
use crate::stop::Stop;
use crate::sweep::{Progress, Sweep};

/// How often histograms are drained; what waits in them until then is memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// The longest sleep without a look at the clock, which may be set, or jump after the machine has slept.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);

/// Serves and runs until it is stopped.
pub async fn daemon(sweep: &Sweep, schedule: &Schedule, bind: SocketAddr, stop: &Stop) -> Exit {
    let metrics = match meter::install(&sweep.targets) {
        Ok(metrics) => metrics,
        Err(error) => {
            tracing::error!(%error, "metrics could not be set up");
            return Exit::Failed;
        }
    };
    meter::interval(schedule.longest_gap(clock::now()));
    let (progress, watched) = watch::channel(Progress::default());
    let (next, next_watched) = watch::channel(None);
    let live = Live { progress: watched, next: next_watched };
    let (server, address) = match ops::serve(bind, metrics.clone(), sweep, live.clone()) {
        Ok(bound) => bound,
        Err(error) => {
            tracing::error!(%error, ops = %bind, "OPS_BIND cannot be bound");
            return Exit::Failed;
        }
    };
    let handle = server.handle();
    let server = tokio::spawn(server);
    let upkeep = tokio::spawn(keep_up(metrics));
    tracing::info!(ops = %address, "listening");
    let presence = tokio::spawn(presence::publish(sweep, schedule, address, live.next));

    tokio::select! {
        () = keep_schedule(sweep, schedule, stop, &progress, next) => {}
        ended = server => {
            tracing::error!(?ended, "the operations port is gone");
            return Exit::Failed;
        }
    }
    handle.stop(true).await;
    // It takes back what it said, within its bound.
    let _ = presence.await;
    upkeep.abort();
    tracing::info!("stopped");
    Exit::Done
}

/// Runs at each time of the schedule until somebody asks to stop.
async fn keep_schedule(
    sweep: &Sweep,
    schedule: &Schedule,
    stop: &Stop,
    progress: &watch::Sender<Progress>,
    next: watch::Sender<Option<DateTime<Utc>>>,
) {
    while stop.requested().is_none() {
        let Some(time) = schedule.next(clock::now()) else {
            // It had a next time when it was read, and years pass slowly.
            tracing::error!("the schedule has come to its end");
            return;
        };
        next.send_replace(Some(time));
        tracing::debug!(%time, "waiting for the next run");
        tokio::select! {
            () = sleep_until(time) => {}
            _ = stop.wait() => return,
        }
        run(sweep, stop, progress).await;
        let missed = schedule.times_between(time, clock::now());
        if missed > 0 {
            tracing::warn!(missed, "runs fell due while one was going; they are left out");
        }
    }
}

async fn run(sweep: &Sweep, stop: &Stop, progress: &watch::Sender<Progress>) {
    let began = std::time::Instant::now();
    if let Err(error) = sweep.run(Trigger::Schedule, stop, progress).await {
        tracing::error!(%error, "nothing was done; the next run is at its time");
        let none = sweep.targets.iter().map(|target| (target.name.as_str(), 0));
        meter::run_ended(Outcome::Failed, began.elapsed(), none);
    }
}

async fn sleep_until(time: DateTime<Utc>) {
    while let Ok(left) = (time - clock::now()).to_std() {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AT_CLOCK)).await;
    }
}

async fn keep_up(metrics: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        metrics.run_upkeep();
    }
}
