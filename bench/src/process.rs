//! Runs a program to completion and measures its time and its peak memory.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// The interval at which to check whether the program has exited. It is negligible compared with
/// the measured seconds.
const POLL: Duration = Duration::from_millis(1);

/// Number of [`POLL`] intervals between two readings of the program's memory. The kernel records
/// the peak, so only growth after the last reading is missed.
const POLLS_A_READING: u32 = 10;

/// Returns the program to measure. This is the given program, or, if none is given, the program
/// with this name in the directory of the benchmark.
pub(crate) fn program(given: Option<&Path>, name: &str) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is not built: run `cargo build --release -p {name}`",
        path.display()
    );
    Ok(path)
}

/// The result of a program that exited successfully.
pub(crate) struct Ran {
    pub(crate) elapsed: Duration,
    /// Peak resident memory, in KiB.
    pub(crate) peak_kib: Option<u64>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a program. Fails if the program fails.
pub(crate) fn run(command: Command) -> Result<Ran> {
    run_accepting(command, &[0])
}

/// Runs a program. Fails if it exits with a code that is not in `codes`.
pub(crate) fn run_accepting(mut command: Command, codes: &[i32]) -> Result<Ran> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let began = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
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
        bail!("{} exited with {status}:\n{stdout}{stderr}", command.get_program().display());
    }
    Ok(Ran { elapsed, peak_kib, stdout, stderr })
}

/// Returns the peak resident memory (`VmHWM`) of a running process, in KiB.
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

/// Returns whether a log line with these fields reports a committed chunk. Earlier builds, which
/// can also be measured, log no field `event`.
pub(crate) fn is_chunk(fields: &serde_json::Value) -> bool {
    fields["event"] == "chunk_committed" || fields["message"] == "a chunk was committed"
}
