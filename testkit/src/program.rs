use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{HANG, clock};

/// Returns the path of one of the binaries of the workspace, which cargo builds next to the test
/// executable.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let path = built().join(name);
    assert!(path.exists(), "{} is not built: run `cargo build --workspace --bins`", path.display());
    path
}

/// Returns the path of one of the examples of the workspace.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let path = built().join("examples").join(name);
    assert!(
        path.exists(),
        "{} is not built: run `cargo build --workspace --examples`",
        path.display()
    );
    path
}

/// Returns the directory of the binaries of the workspace.
fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().to_owned()
}

/// The environment variables that a process inherits if they are set. Programs need some of them to
/// run, and profiling tools set others. None of them configures our programs, so the environment of
/// the shell does not affect the tests.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "LLVM_PROFILE_FILE",
];

/// How long a program may take to exit after SIGTERM when coverage is measured. When coverage is
/// not measured, a program is killed immediately.
const PROFILING: Duration = Duration::from_secs(10);

/// A child process. Its output is kept, and the process is killed when this value is dropped.
pub struct Program {
    child: Child,
    /// Whether the process writes a coverage profile when it exits by itself.
    profiled: bool,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Program {
    /// Starts `program` with these arguments and environment variables. Of the environment of the
    /// test process, the program inherits only the variables that `INHERITED` lists.
    pub fn start(program: impl AsRef<Path>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(args);
        Self::spawn(command, env)
    }

    pub(crate) fn spawn(command: Command, env: &[(&str, &str)]) -> Self {
        Self::spawn_with_stderr(command, env, Stdio::piped())
    }

    /// Like [`Program::spawn`], with standard error redirected to `stderr`. [`Program::stderr`]
    /// returns the output only if this is a pipe.
    pub(crate) fn spawn_with_stderr(
        mut command: Command,
        env: &[(&str, &str)],
        stderr: Stdio,
    ) -> Self {
        command
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let built_here = Path::new(command.get_program()).parent() == Some(&built());
        let profiled = built_here && std::env::var_os("LLVM_PROFILE_FILE").is_some();
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let mut readers = vec![collect(child.stdout.take().unwrap(), Arc::clone(&stdout))];
        readers.extend(child.stderr.take().map(|pipe| collect(pipe, Arc::clone(&stderr))));
        Self { child, profiled, stdout, stderr, readers }
    }

    /// Returns the process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Returns the standard error output so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Returns the fields of all JSON log lines on standard error with this `event`, without the
    /// message, whose wording may change.
    #[must_use]
    pub fn log_events(&self, event: &str) -> Vec<Value> {
        // A debug log is several megabytes long and is searched repeatedly, so only lines that may
        // match are parsed.
        let escaped = Value::from(event).to_string();
        let log = self.stderr.lock().unwrap();
        log.lines()
            .filter(|line| line.contains(&escaped))
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter_map(|mut line| match line["fields"].take() {
                Value::Object(fields) => Some(fields),
                _ => None,
            })
            .filter(|fields| fields.get("event").is_some_and(|found| found == event))
            .map(|mut fields| {
                fields.remove("message");
                Value::Object(fields)
            })
            .collect()
    }

    /// Waits for a JSON log line with this `event` and returns its fields.
    pub async fn log_event(&mut self, event: &str) -> Value {
        let deadline = Instant::now() + HANG;
        loop {
            if let Some(fields) = self.log_events(event).into_iter().next() {
                return fields;
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                self.join_readers();
                panic!("exited with {status} before it logged {event:?}:\n{}", self.stderr());
            }
            assert!(Instant::now() < deadline, "did not log {event:?}:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Sends a signal, by its name without SIG: `TERM`, `INT`, `HUP`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(status.success(), "no process {} to send SIG{name}", self.id());
    }

    /// Sends a signal like [`Self::signal`], to a process that may already have exited.
    pub(crate) fn signal_if_alive(&self, name: &str) {
        let _ = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .stderr(Stdio::null())
            .status();
    }

    /// Waits until the process has exited and its output has been read completely.
    pub async fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + HANG;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.join_readers();
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "has not exited:\n{}{}",
                self.stdout(),
                self.stderr()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Starts a program, waits until it has exited, and returns its exit code and the program.
    pub async fn run(
        program: impl AsRef<Path>,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> (Option<i32>, Self) {
        let mut program = Self::start(program, args, env);
        let status = program.wait().await;
        (status.code(), program)
    }

    /// Returns whether the process has exited. If it has, all of its output has been read.
    pub fn has_ended(&mut self) -> bool {
        let ended = self.child.try_wait().unwrap().is_some();
        if ended {
            self.join_readers();
        }
        ended
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.profiled && matches!(self.child.try_wait(), Ok(None)) {
            self.signal_if_alive("TERM");
            let deadline = Instant::now() + PROFILING;
            while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        clock::remove_shared_memory(self.child.id());
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
