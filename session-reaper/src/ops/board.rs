//! The data of the status page. It combines data from the database with data from this process. The
//! database is read at most once every few seconds, regardless of the number of open pages. While
//! the database is unreachable, only the data from this process is available.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use pg::connect::{ConnectOptions, Driver};
use pg::error_text::chain;
use reaper::runs::{self, RunSummary};
use serde::Serialize;
use tokio::sync::Mutex;

use super::Live;
use crate::clock;
use crate::recent_runs;
use crate::reload::Sweeps;
use crate::short_queries::questions;
use crate::status::{RunStatus, Snapshot, Status, read};
use reaper::time::as_f64;
use reaper::{
    BacklogSnapshot, BacklogState, ReportedOutcome, RunReport, StatementBounds, Target,
    partial_report,
};

/// How long data from the database is cached. The progress of a run, which changes faster, comes
/// from this process.
const CACHED_FOR: Duration = Duration::from_secs(2);

/// The timeout for the queries, which take milliseconds. The page requests new data every few
/// seconds.
const WITHIN: Duration = Duration::from_secs(2);

/// Number of runs in the table of the page.
const RUNS: usize = 20;

/// Number of runs in the plots, which is sufficient for 24 hours with a run every three minutes.
/// With a run every second, the plots cover only the last eight minutes, and the page states when
/// that period begins.
const PLOTTED: usize = 480;

pub(super) struct Board {
    connect: ConnectOptions,
    sweeps: Sweeps,
    live: Live,
    /// Locked during the queries, so that several requests at the same time cause only one set of
    /// queries.
    cached: Mutex<Cached>,
}

/// The cached result of the queries.
#[derive(Default)]
struct Cached {
    at: Option<Instant>,
    failed: Option<String>,
    /// The last successful result, even if it is old, and the time when it was read.
    answer: Option<(Instant, Snapshot)>,
    run_summaries: Vec<RunSummary>,
    /// The most recently ended run at the time when the run summaries were read. The summaries
    /// change only when another run has ended.
    summaries_of: Option<(String, Option<DateTime<Utc>>)>,
}

/// The object that `status --output json` prints, with additional data about the daemon. The names
/// of the members are a public interface.
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
    /// The report of the active run so far.
    run: Option<RunReport>,
}

#[derive(Serialize)]
struct Activity {
    /// The start of the period. The period ends at `at`.
    since: DateTime<Utc>,
    /// The time from which the list of runs is complete. Set only if the period may contain more
    /// runs than are listed.
    complete_since: Option<DateTime<Utc>>,
    /// The runs, oldest first.
    runs: Vec<Plotted>,
}

#[derive(Serialize)]
struct Plotted {
    started_at: DateTime<Utc>,
    outcome: ReportedOutcome,
    deleted: u64,
    chunk_ms_mean: Option<f64>,
    chunk_ms_max: Option<f64>,
}

impl Board {
    pub(super) fn new(sweeps: Sweeps, live: Live) -> Self {
        let connect = questions(&sweeps.borrow().connect);
        Self { connect, sweeps, live, cached: Mutex::default() }
    }

    /// Returns the timeouts of the statements of a run.
    pub(super) fn bounds(&self) -> StatementBounds {
        self.sweeps.borrow().bounds
    }

    pub(super) async fn show(&self) -> StatusView {
        let sweep = self.sweeps.borrow().clone();
        let mut cached = self.cached.lock().await;
        if cached.at.is_none_or(|at| at.elapsed() >= CACHED_FOR) {
            self.refresh(&mut cached).await;
            cached.at = Some(Instant::now());
        }
        let seen = cached.answer.as_ref().map(|(_, seen)| seen);
        // Use the time on the database's clock, if that time is known.
        let now = cached.answer.as_ref().map_or_else(clock::now, |(came, seen)| {
            seen.at + TimeDelta::from_std(came.elapsed()).unwrap_or_default()
        });
        let run_summaries = if seen.is_some_and(|seen| seen.history) {
            plotted(&cached.run_summaries)
        } else {
            remembered()
        };
        let none = "it has not responded yet";
        let mut status = Status::new(&self.connect, seen.ok_or(none), Vec::new(), now);
        status.database.reachable = cached.failed.is_none() && seen.is_some();
        status.database.why =
            cached.failed.clone().or_else(|| seen.is_none().then(|| none.to_owned()));
        drop(cached);

        add_remembered(&mut status.runs);
        let (trigger, run) = self.under_way(now);
        if let Some(run) = &run {
            let shown = RunStatus::live(run, &sweep.instance, trigger, now);
            status.runs.retain(|run| run.run_id != shown.run_id);
            status.runs.insert(0, shown);
        }
        let last = recent_runs::last_run();
        let present = sweep.targets.iter().filter(|target| !is_skipped(target, last.as_ref()));
        status.targets = present.map(|target| snapshot(target, &status.runs)).collect();
        status.rhythm.join(&self.live.rhythm);
        status.conclude();
        let live = LiveView {
            instance: sweep.instance.clone(),
            version: env!("CARGO_PKG_VERSION"),
            next_at: *self.live.next.borrow(),
            run,
        };
        StatusView { status, live, activity: activity(run_summaries, now) }
    }

    fn under_way(&self, now: DateTime<Utc>) -> (&'static str, Option<RunReport>) {
        let progress = self.live.progress.borrow();
        let Some(run) = progress.run else { return ("", None) };
        let elapsed = (now - run.started_at).to_std().unwrap_or_default();
        (run.trigger.as_str(), partial_report(&progress, elapsed))
    }

    async fn refresh(&self, cached: &mut Cached) {
        let sweep = self.sweeps.borrow().clone();
        let answer = async {
            let (client, driver) =
                self.connect.connect_with_driver().await.map_err(|error| error.to_string())?;
            let _ended = EndOnDrop(driver);
            let queries = async {
                let own = sweep.own_tables(&client).await?;
                let seen = read(&client, &own, i64::try_from(RUNS).unwrap_or(i64::MAX)).await?;
                let ended = seen.runs.iter().find(|run| run.has_ended());
                let newest = ended.map(|run| (run.run_id.clone(), run.finished_at));
                let run_summaries = if newest.is_some() && newest != cached.summaries_of {
                    Some(
                        runs::recent(&client, &own, i64::try_from(PLOTTED).unwrap_or(i64::MAX))
                            .await?,
                    )
                } else {
                    None
                };
                Ok((seen, run_summaries, newest))
            };
            queries.await.map_err(|error: tokio_postgres::Error| chain(&error))
        };
        let answer = tokio::time::timeout(WITHIN, answer).await;
        match answer.unwrap_or_else(|_| Err("no response in time".to_owned())) {
            Ok((seen, run_summaries, newest)) => {
                if let Some(run_summaries) = run_summaries {
                    (cached.run_summaries, cached.summaries_of) = (run_summaries, newest);
                }
                cached.answer = Some((Instant::now(), seen));
                cached.failed = None;
            }
            Err(why) => cached.failed = Some(why),
        }
    }
}

/// Returns whether the last run of this process skipped the target because its table is missing.
fn is_skipped(target: &Target, last: Option<&recent_runs::Ran>) -> bool {
    let report = last.map(|ran| &ran.report).filter(|report| !report.targets.is_empty());
    report.is_some_and(|report| report.target(&target.name).is_none())
}

/// Returns the last count of a target's due rows. This is the last count by this process or the
/// count in the newest report that contains one, whichever is newer.
fn snapshot(target: &Target, runs: &[RunStatus]) -> BacklogSnapshot {
    let sample = recent_runs::backlog(&target.name);
    let reported = runs.iter().find_map(|run| {
        let at = run.finished_at?;
        let of_target = run.targets.iter().find(|of| of.target == target.name)?;
        let (rows, capped) = (of_target.remaining?, of_target.remaining_capped?);
        let state = of_target.remaining_state.unwrap_or_default();
        // In the reports of earlier versions, a count that is capped at zero means that the backlog
        // was not counted.
        let known = state != BacklogState::Unknown && (rows > 0 || !capped);
        known.then_some(((rows, capped, state), at))
    });
    if recent_runs::is_unknown(&target.name) {
        return BacklogSnapshot::unknown(
            target,
            "the rows were not counted, because the count failed or the target is unsafe; see the log",
        );
    }
    match (sample, reported) {
        (Some(sample), Some((count, at))) if at > sample.at + SAME_RUN => {
            BacklogSnapshot::reported(target, count, at)
        }
        (Some(sample), _) => BacklogSnapshot::sampled(target, &sample),
        (None, Some((count, at))) => BacklogSnapshot::reported(target, count, at),
        (None, None) => BacklogSnapshot::unknown(
            target,
            "not counted yet: the daemon counts it at its start, and in each run",
        ),
    }
}

/// Ends a connection when the value is dropped. Otherwise, a connection whose query has timed out
/// would wait for an unresponsive server.
struct EndOnDrop(Driver);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Maximum time between a count of due rows and the end of the run that made the count. The two
/// times are read from different clocks.
const SAME_RUN: TimeDelta = TimeDelta::seconds(30);

/// Adds the runs of this process that the database does not contain.
fn add_remembered(runs: &mut Vec<RunStatus>) {
    for run in recent_runs::runs().iter().map(RunStatus::remembered) {
        match runs.iter_mut().find(|known| known.run_id == run.run_id) {
            // The database may have been read before the end of the run.
            Some(known) => *known = run,
            None => runs.push(run),
        }
    }
    runs.sort_by_key(|run| std::cmp::Reverse(run.started_at));
    runs.truncate(RUNS);
}

fn plotted(run_summaries: &[RunSummary]) -> Vec<Plotted> {
    let plotted = |run: &RunSummary| Plotted {
        started_at: run.started_at,
        outcome: run.outcome.as_deref().map_or(ReportedOutcome::Running, ReportedOutcome::of),
        deleted: u64::try_from(run.deleted).unwrap_or(0),
        chunk_ms_mean: run.chunk_ms_mean,
        chunk_ms_max: run.chunk_ms_max,
    };
    run_summaries.iter().map(plotted).collect()
}

/// Returns the values to plot for the runs of this process.
fn remembered() -> Vec<Plotted> {
    let plotted = |ran: &recent_runs::Ran| {
        let report = &ran.report;
        let chunks =
            report.targets.iter().filter_map(|target| Some((target.chunk_ms?, target.chunks)));
        let (time, count) = chunks.clone().fold((0.0, 0.0), |(time, count), (times, chunks)| {
            (time + times.mean * as_f64(chunks), count + as_f64(chunks))
        });
        Plotted {
            started_at: report.started_at,
            outcome: report.outcome.clone(),
            deleted: report.deleted_rows(),
            chunk_ms_mean: (count > 0.0).then(|| time / count),
            chunk_ms_max: chunks.map(|(times, _)| times.max).reduce(f64::max),
        }
    };
    recent_runs::runs().iter().map(plotted).collect()
}

/// Returns the activity of the last 24 hours. `runs` is sorted by time, newest first.
fn activity(mut runs: Vec<Plotted>, now: DateTime<Utc>) -> Activity {
    let since = now - TimeDelta::hours(24);
    runs.retain(|run| run.started_at > since);
    let complete_since = runs.last().filter(|_| runs.len() >= PLOTTED).map(|run| run.started_at);
    runs.reverse();
    Activity { since, complete_since, runs }
}
