//! What the status page shows: what the database says, asked at most every few seconds however many
//! look, over what this process knows by itself, which is all there is while the database is away.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use schema::connect::{ConnectOptions, chain};
use schema::runs::{self, RunSummary};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

use super::Live;
use crate::clock;
use crate::recent_runs;
use crate::status::{RunStatus, Snapshot, Status, read};
use crate::sweep::{BacklogSnapshot, Sweep, Target, partial_report};

/// How long an answer of the database's stands: what moves faster, a run's progress, is not asked
/// there.
const STANDS_FOR: Duration = Duration::from_secs(2);

/// Its questions take milliseconds. A page that polls each few seconds is not to wait longer.
const WITHIN: Duration = Duration::from_secs(2);

/// Runs in the table of the page.
const RUNS: usize = 20;

/// Runs in its plots: 24 hours of one every three minutes; of one each second it is the last
/// minutes, which is said.
const PLOTTED: usize = 480;

pub(super) struct Board {
    connect: ConnectOptions,
    sweep: Sweep,
    live: Live,
    /// Held while the database is asked, so that only one asks.
    asked: Mutex<Cached>,
}

/// What was asked, and what came of it.
#[derive(Default)]
struct Cached {
    at: Option<Instant>,
    failed: Option<String>,
    /// The last good answer, however old, and when it came.
    answer: Option<(Instant, Snapshot)>,
    run_summaries: Vec<RunSummary>,
    /// The newest run that has ended when the deeds were read: they change with it.
    deeds_of: Option<(String, Option<DateTime<Utc>>)>,
}

/// The object of `status --output json`, and what only a daemon knows. The names of its members are
/// an interface.
#[derive(Serialize)]
pub(super) struct StatusView {
    #[serde(flatten)]
    status: Status,
    live: LiveView,
    activity: Activity,
}

#[derive(Serialize)]
struct LiveView {
    instance: String,
    version: &'static str,
    next_at: Option<DateTime<Utc>>,
    /// The report of the run under way, up to now.
    run: Option<Value>,
}

#[derive(Serialize)]
struct Activity {
    /// From here to `at`.
    since: DateTime<Utc>,
    /// There were more runs than are shown, or this process was started later and there is no
    /// history: nothing is known before this.
    complete_since: Option<DateTime<Utc>>,
    /// Oldest first.
    runs: Vec<Plotted>,
}

#[derive(Serialize)]
struct Plotted {
    started_at: DateTime<Utc>,
    outcome: String,
    deleted: u64,
    chunk_ms_mean: Option<f64>,
    chunk_ms_max: Option<f64>,
}

impl Board {
    pub(super) fn new(sweep: &Sweep, live: Live) -> Self {
        Self {
            connect: super::questions(&sweep.connect),
            sweep: sweep.clone(),
            live,
            asked: Mutex::default(),
        }
    }

    pub(super) async fn show(&self) -> StatusView {
        let mut asked = self.asked.lock().await;
        if asked.at.is_none_or(|at| at.elapsed() >= STANDS_FOR) {
            self.ask(&mut asked).await;
            asked.at = Some(Instant::now());
        }
        let seen = asked.answer.as_ref().map(|(_, seen)| seen);
        // By the database's clock, as long as it is known.
        let now = asked.answer.as_ref().map_or_else(clock::now, |(came, seen)| {
            seen.at + TimeDelta::from_std(came.elapsed()).unwrap_or_default()
        });
        let run_summaries = if seen.is_some_and(|seen| seen.history) {
            plotted(&asked.run_summaries)
        } else {
            remembered()
        };
        let none = "it has not answered yet";
        let mut status = Status::new(seen.ok_or(none), Vec::new(), now);
        status.database.reachable = asked.failed.is_none() && seen.is_some();
        status.database.why =
            asked.failed.clone().or_else(|| seen.is_none().then(|| none.to_owned()));
        drop(asked);

        add_remembered(&mut status.runs);
        let (trigger, run) = self.under_way(now);
        let shown =
            run.as_ref().and_then(|run| RunStatus::live(run, &self.sweep.instance, trigger, now));
        if let Some(shown) = shown {
            status.runs.retain(|run| run.run_id != shown.run_id);
            status.runs.insert(0, shown);
        }
        let last = recent_runs::last_run();
        let there = self.sweep.targets.iter().filter(|target| !is_left_out(target, last.as_ref()));
        status.targets = there.map(|target| standing(target, &status.runs)).collect();
        status.conclude();
        let live = LiveView {
            instance: self.sweep.instance.clone(),
            version: env!("CARGO_PKG_VERSION"),
            next_at: *self.live.next.borrow(),
            run,
        };
        StatusView { status, live, activity: activity(run_summaries, now) }
    }

    fn under_way(&self, now: DateTime<Utc>) -> (&'static str, Option<Value>) {
        let progress = self.live.progress.borrow();
        let Some(run) = progress.run else { return ("", None) };
        let elapsed = (now - run.started_at).to_std().unwrap_or_default();
        (run.trigger.as_str(), partial_report(&progress, elapsed))
    }

    async fn ask(&self, asked: &mut Cached) {
        let answer = async {
            let (client, driver) =
                self.connect.connect_with_driver().await.map_err(|error| error.to_string())?;
            let _ended = EndOnDrop(driver);
            let questions = async {
                let own = self.sweep.own_tables(&client).await?;
                let seen = read(&client, &own, i64::try_from(RUNS).unwrap_or(i64::MAX)).await?;
                let ended = seen.runs.iter().find(|run| !run.is_running());
                let newest = ended.map(|run| (run.run_id.clone(), run.finished_at));
                let run_summaries = if newest.is_some() && newest != asked.deeds_of {
                    Some(
                        runs::recent(&client, &own, i64::try_from(PLOTTED).unwrap_or(i64::MAX))
                            .await?,
                    )
                } else {
                    None
                };
                Ok((seen, run_summaries, newest))
            };
            questions.await.map_err(|error: tokio_postgres::Error| chain(&error))
        };
        let answer = tokio::time::timeout(WITHIN, answer).await;
        match answer.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok((seen, run_summaries, newest)) => {
                if let Some(run_summaries) = run_summaries {
                    (asked.run_summaries, asked.deeds_of) = (run_summaries, newest);
                }
                asked.answer = Some((Instant::now(), seen));
                asked.failed = None;
            }
            Err(why) => asked.failed = Some(why),
        }
    }
}

/// The last run of this process did not find its table, and had nothing to do there.
fn is_left_out(target: &Target, last: Option<&recent_runs::Ran>) -> bool {
    let targets =
        last.and_then(|ran| ran.report["targets"].as_array()).filter(|targets| !targets.is_empty());
    targets.is_some_and(|targets| !targets.iter().any(|of| of["target"] == target.name.as_str()))
}

/// The last count of a backlog: by this process, or as the newest report has it that counted it.
fn standing(target: &Target, runs: &[RunStatus]) -> BacklogSnapshot {
    let sample = recent_runs::backlog(&target.name);
    let reported = runs.iter().find_map(|run| {
        let at = run.finished_at?;
        let of_target =
            run.targets.as_array()?.iter().find(|of| of["target"] == target.name.as_str())?;
        let (rows, capped) =
            (of_target["remaining"].as_u64()?, of_target["remaining_capped"].as_bool()?);
        // Capped at nothing: nobody looked.
        (rows > 0 || !capped).then_some((rows, capped, at))
    });
    match (sample, reported) {
        (Some(sample), Some((rows, capped, at))) if at > sample.at + SAME_RUN => {
            BacklogSnapshot::reported(target, rows, capped, at)
        }
        (Some(sample), _) => BacklogSnapshot::sampled(target, &sample),
        (None, Some((rows, capped, at))) => BacklogSnapshot::reported(target, rows, capped, at),
        (None, None) => BacklogSnapshot::unknown(target, "not counted yet: a run counts it"),
    }
}

/// A connection that is given up is ended, or it would wait for a server that does not answer.
struct EndOnDrop(AbortHandle);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Between the count of a backlog and the end of the run that counted it, by two clocks.
const SAME_RUN: TimeDelta = TimeDelta::seconds(30);

/// Runs of this process that the database does not tell of.
fn add_remembered(runs: &mut Vec<RunStatus>) {
    for run in recent_runs::runs().iter().filter_map(RunStatus::remembered) {
        match runs.iter_mut().find(|known| known.run_id == run.run_id) {
            // What the database said last may be of before its end.
            Some(known) => *known = run,
            None => runs.push(run),
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
    runs.truncate(RUNS);
}

fn plotted(run_summaries: &[RunSummary]) -> Vec<Plotted> {
    let plotted = |deed: &RunSummary| Plotted {
        started_at: deed.started_at,
        outcome: deed.outcome.clone().unwrap_or_else(|| "running".to_owned()),
        deleted: u64::try_from(deed.deleted).unwrap_or(0),
        chunk_ms_mean: deed.chunk_ms_mean,
        chunk_ms_max: deed.chunk_ms_max,
    };
    run_summaries.iter().map(plotted).collect()
}

/// The same, of this process's own runs.
fn remembered() -> Vec<Plotted> {
    let plotted = |ran: &recent_runs::Ran| {
        let run = RunStatus::remembered(ran)?;
        let targets = run.targets.as_array()?;
        let of = |name: &str| {
            targets
                .iter()
                .filter_map(|target| target["chunk_ms"][name].as_f64())
                .collect::<Vec<_>>()
        };
        let chunks = targets.iter().filter_map(|target| {
            Some((target["chunk_ms"]["mean"].as_f64()?, target["chunks"].as_f64()?))
        });
        let (time, count) = chunks.fold((0.0, 0.0), |(time, count), (mean, chunks)| {
            (time + mean * chunks, count + chunks)
        });
        Some(Plotted {
            started_at: run.started_at,
            outcome: run.outcome.clone(),
            deleted: run.deleted,
            chunk_ms_mean: (count > 0.0).then(|| time / count),
            chunk_ms_max: of("max").into_iter().reduce(f64::max),
        })
    };
    recent_runs::runs().iter().filter_map(plotted).collect()
}

/// Of runs that are newest first.
fn activity(mut runs: Vec<Plotted>, now: DateTime<Utc>) -> Activity {
    let since = now - TimeDelta::hours(24);
    runs.retain(|run| run.started_at > since);
    let complete_since = runs.last().filter(|_| runs.len() >= PLOTTED).map(|run| run.started_at);
    runs.reverse();
    Activity { since, complete_since, runs }
}
