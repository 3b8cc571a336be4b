//! The reapers of a round. Each one runs repeatedly until the writers have ended.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::Program;

use crate::Result;
use crate::plan::Reaper;

/// State that the reapers of a round share.
pub(crate) struct Shared {
    pub(crate) binary: PathBuf,
    /// URL of the database, without options.
    pub(crate) url: String,
    /// URL of the database through the proxy, without options.
    pub(crate) through: String,
    pub(crate) runs: AtomicI32,
    pub(crate) quiet: AtomicBool,
    /// Incremented before and after each event that may interrupt the connections of a run.
    pub(crate) disturbances: AtomicU64,
}

/// A reaper: its plan, its reaper.toml, and its current process.
pub(crate) struct Slot {
    pub(crate) plan: Reaper,
    pub(crate) config: tempfile::NamedTempFile,
    pub(crate) current: Mutex<Option<Current>>,
}

/// A run in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Current {
    pub(crate) run: i32,
    pub(crate) pid: u32,
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) number: i32,
    pub(crate) slot: usize,
    /// `None` if a signal ended the run.
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
    pub(crate) stderr: String,
    /// `true` if no fault can have interrupted the connections of the run.
    pub(crate) undisturbed: bool,
    pub(crate) took: Duration,
}

/// A run that takes longer than this counts as hung.
const HANGS: Duration = Duration::from_mins(5);

impl Shared {
    /// Returns the name of the connections of a run in `pg_stat_activity`.
    pub(crate) fn application(run: i32) -> String {
        format!("chaos-{run}")
    }

    fn url_of(&self, run: i32, proxied: bool) -> String {
        let base = if proxied { &self.through } else { &self.url };
        let joint = if base.contains('?') { '&' } else { '?' };
        let options =
            format!("-c role=session_reaper -c chaos.run={run} -c search_path=app,public");
        let options = options.replace(' ', "%20").replace('=', "%3D").replace(',', "%2C");
        format!("{base}{joint}application_name={}&options={options}", Self::application(run))
    }
}

/// Executes one run.
pub(crate) async fn run(shared: &Shared, index: usize, slot: &Slot, proxied: bool) -> Result<Run> {
    let run = shared.runs.fetch_add(1, Ordering::SeqCst);
    let url = shared.url_of(run, proxied);
    let config = slot.config.path().to_str().ok_or("the path is not UTF-8")?;
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REAPER_CONFIG", config),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "debug"),
        ("DUTY_CYCLE", slot.plan.duty_cycle),
        ("MAX_CHUNK", "1000"),
        ("MAX_THROTTLE", "2s"),
        ("STATEMENT_TIMEOUT", "2s"),
    ];
    let before = shared.disturbances.load(Ordering::SeqCst);
    let began = Instant::now();
    let mut program = Program::start(&shared.binary, &["run", "--yes", "--output", "json"], &env);
    set(&slot.current, Some(Current { run, pid: program.id() }));
    while !program.has_ended() {
        if began.elapsed() > HANGS {
            return Err(format!("run {run} does not end:\n{}", program.stderr()).into());
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    // From now on, no signal is sent: another process may reuse the process ID.
    set(&slot.current, None);
    let undisturbed =
        before.is_multiple_of(2) && shared.disturbances.load(Ordering::SeqCst) == before;
    let code = program.wait().await.code();
    Ok(Run {
        number: run,
        slot: index,
        code,
        report: serde_json::from_str(&program.stdout()).unwrap_or(Value::Null),
        stderr: program.stderr(),
        undisturbed,
        took: began.elapsed(),
    })
}

fn set(current: &Mutex<Option<Current>>, to: Option<Current>) {
    *current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = to;
}

impl Slot {
    /// Returns the current run, if any.
    pub(crate) fn now(&self) -> Option<Current> {
        *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Sends a signal to the current run. Returns `None` if there is none.
    pub(crate) fn signal(&self, name: &str) -> Option<Current> {
        let current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let current = (*current)?;
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &current.pid.to_string()])
            .status();
        sent.is_ok_and(|status| status.success()).then_some(current)
    }
}

/// Runs the reaper repeatedly until the writers have ended.
pub(crate) async fn reap(
    shared: Arc<Shared>,
    index: usize,
    slot: Arc<Slot>,
    proxied: bool,
) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    while !shared.quiet.load(Ordering::SeqCst) {
        runs.push(run(&shared, index, &slot, proxied).await?);
    }
    Ok(runs)
}
