use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{HANG, Program, free_port};

/// A Redis of the test's own, in a directory of its own, that may be killed, hung, emptied and
/// restored.
pub struct Redis {
    port: u16,
    directory: TempDir,
    server: Option<Program>,
}

impl Redis {
    /// Starts one, empty. The program is `REDIS_SERVER`, or `redis-server` on the PATH.
    #[must_use]
    pub fn start() -> Self {
        let mut redis =
            Self { port: free_port(), directory: TempDir::new().unwrap(), server: None };
        redis.run();
        redis
    }

    /// The Redis that all tests share. Whoever uses it has a prefix of its own.
    #[must_use]
    pub fn shared_url() -> String {
        std::env::var("REDIS_URL").expect("REDIS_URL names the Redis to test with: run `make test`")
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it; what it did not save is lost.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again on the same port, with what its dump holds, if there is one.
    pub fn run(&mut self) {
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into());
        let port = self.port.to_string();
        let directory = self.directory.path().to_str().unwrap();
        let args = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            directory,
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        self.server = Some(Program::start(which(&program), &args, &[]));
        let deadline = Instant::now() + HANG;
        while self.try_command("PING").is_none_or(|answer| !answer.starts_with("+PONG")) {
            assert!(Instant::now() < deadline, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes the dump that the next [`run`](Self::run) starts from.
    pub fn save(&self) {
        assert!(self.command("SAVE").starts_with("+OK"));
    }

    /// Removes the dump.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.directory.path().join("dump.rdb"));
    }

    /// Stops it from answering, without closing a connection.
    pub fn hang(&self) {
        self.server.as_ref().unwrap().signal("STOP");
    }

    /// Lets it answer again.
    pub fn wake(&self) {
        self.server.as_ref().unwrap().signal("CONT");
    }

    /// Sends an inline command and returns the first part of the raw answer (RESP2).
    #[must_use]
    pub fn command(&self, command: &str) -> String {
        self.try_command(command).unwrap_or_else(|| panic!("no answer to {command}"))
    }

    fn try_command(&self, command: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(HANG)).ok()?;
        stream.write_all(format!("{command}\r\n").as_bytes()).ok()?;
        let mut answer = vec![0; 65536];
        let length = stream.read(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer[..length]).into_owned())
    }
}

fn which(program: &str) -> String {
    if program.contains('/') {
        return program.to_owned();
    }
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    assert!(found.status.success(), "{program} is not on the PATH; set REDIS_SERVER");
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}
