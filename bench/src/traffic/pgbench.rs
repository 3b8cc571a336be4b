//! Runs pgbench at a fixed rate and reads its transaction log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

use super::latency::Transaction;
use crate::server::Copy;

const LOOK_UP: &str = include_str!("../../sql/traffic/look_up.sql");
const ROTATE: &str = include_str!("../../sql/traffic/rotate.sql");

/// Index of the script that simulates a refresh (a rotation) among the scripts of pgbench.
pub(super) const ROTATION: u8 = 1;

/// Maximum runtime of pgbench in seconds. Normally pgbench is stopped earlier. The limit applies if
/// this program is killed.
const AT_THE_LATEST: &str = "3600";

/// How long pgbench may take to exit after its connections were terminated.
const TO_END: Duration = Duration::from_secs(20);

/// The configuration of the traffic.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) pg_bin: Option<PathBuf>,
    /// Number of connections.
    pub(super) clients: u32,
    /// Transactions per second, or `None` for the maximum rate.
    pub(super) rate: Option<u32>,
    /// Number of rows that the traffic uses.
    pub(super) live: u64,
}

/// A running pgbench.
pub(super) struct Running {
    child: Child,
    directory: TempDir,
}

impl Traffic {
    pub(super) fn start(&self, url: &str) -> Result<Running> {
        let directory = tempfile::tempdir()?;
        let file = |name: &str| directory.path().join(name);
        fs::write(file("look_up.sql"), LOOK_UP)?;
        fs::write(file("rotate.sql"), ROTATE)?;
        let program = self
            .pg_bin
            .as_deref()
            .map_or_else(|| PathBuf::from("pgbench"), |bin| bin.join("pgbench"));
        let mut command = Command::new(&program);
        command.args([
            "--no-vacuum",
            "--protocol",
            "prepared",
            "--log",
            "--jobs",
            "2",
            "--time",
            AT_THE_LATEST,
        ]);
        command.args([
            "--client",
            &self.clients.to_string(),
            "--define",
            &format!("live={}", self.live),
        ]);
        if let Some(rate) = self.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        command.arg("--log-prefix").arg(file("log"));
        // Three look-ups for each rotation.
        command
            .arg("--file")
            .arg(suffixed(&file("look_up.sql"), "@3"))
            .arg("--file")
            .arg(file("rotate.sql"));
        command.arg(url).current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(file("stderr"))?);
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Running { child, directory })
    }
}

impl Running {
    /// Stops pgbench and reads its log. pgbench writes the end of the log when its connections are
    /// terminated, but not when it is killed by a signal.
    pub(super) async fn end(mut self, copy: &Copy) -> Result<Vec<Transaction>> {
        ensure!(self.child.try_wait()?.is_none(), "pgbench exited too early:\n{}", self.stderr());
        copy.end("pgbench").await?;
        let until = Instant::now() + TO_END;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < until, "pgbench did not exit");
            thread::sleep(Duration::from_millis(20));
        }
        let mut transactions = Vec::new();
        for entry in fs::read_dir(self.directory.path())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("log.") {
                for line in fs::read_to_string(entry.path())?.lines() {
                    transactions.push(
                        Transaction::parse(line)
                            .with_context(|| format!("pgbench logged {line:?}"))?,
                    );
                }
            }
        }
        if transactions.is_empty() {
            bail!("pgbench executed no transactions:\n{}", self.stderr());
        }
        Ok(transactions)
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ignore the error, which occurs if pgbench has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
