//! A program from its start to its end: how long it took, how much memory it had at its peak, what
//! it said.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// How often it is asked whether it has ended: nothing beside the seconds that are measured.
const POLL: Duration = Duration::from_millis(1);

/// How often its memory is read. The kernel keeps the peak, so that only growth in the last moment
/// is missed.
const POLLS_A_READING: u32 = 10;

/// The program to measure: this one, or the one beside us.
pub(crate) fn program(said: Option<&Path>, name: &str) -> Result<PathBuf> {
    if let Some(path) = said {
        return Ok(path.to_owned());
    }
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is not built: cargo build --release -p {name}", path.display());
    Ok(path)
}

/// A program that ended well.
pub(crate) struct Ran {
    pub(crate) elapsed: Duration,
    /// Its resident memory at its peak, in KiB.
    pub(crate) peak_kib: Option<u64>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it; fails when it does.
pub(crate) fn run(command: Command) -> Result<Ran> {
    run_accepting(command, &[0])
}

/// Runs it; fails when it ends with another code than these.
pub(crate) fn run_accepting(mut command: Command, codes: &[i32]) -> Result<Ran> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let began = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("{} cannot be run", command.get_program().display()))?;
    let (mut peak_kib, mut polls) = (None, 0_u32);
    let status = loop {
        if polls.is_multiple_of(POLLS_A_READING) {
            peak_kib = peak(child.id()).or(peak_kib);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        polls = polls.wrapping_add(1);
        thread::sleep(POLL);
    };
    let elapsed = began.elapsed();
    let (stdout, stderr) = (text(&mut stdout)?, text(&mut stderr)?);
    if !status.code().is_some_and(|code| codes.contains(&code)) {
        bail!("{} ended with {status}:\n{stdout}{stderr}", command.get_program().display());
    }
    Ok(Ran { elapsed, peak_kib, stdout, stderr })
}

/// `VmHWM` of a process that runs.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
}

fn text(file: &mut File) -> Result<String> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    Ok(text)
}
