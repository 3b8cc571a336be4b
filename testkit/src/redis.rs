use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{HANG, Program, free_port};

/// A Redis server that belongs to one test, in its own directory. The test may kill, hang, empty
/// and restore it.
pub struct Redis {
    port: u16,
    directory: TempDir,
    server: Option<Program>,
}

impl Redis {
    /// Starts an empty Redis. The program is `REDIS_SERVER`, or `redis-server` in the PATH.
    #[must_use]
    pub fn start() -> Self {
        let mut redis =
            Self { port: free_port(), directory: TempDir::new().unwrap(), server: None };
        redis.run();
        redis
    }

    /// Returns the URL of the Redis that all tests share. Each program that uses it must have its
    /// own key prefix.
    #[must_use]
    pub fn shared_url() -> String {
        std::env::var("REDIS_URL").expect("REDIS_URL is not set: run `make test`")
    }

    /// Returns the URL of the server.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the address of the server, `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the server. Data that the server did not save is lost.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts the server again on the same port, with the data of the dump, if there is a dump.
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
            assert!(Instant::now() < deadline, "redis-server does not respond");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes the dump that the next [`run`](Self::run) loads.
    pub fn save(&self) {
        assert!(self.command("SAVE").starts_with("+OK"));
    }

    /// Deletes the dump.
    pub fn forget(&self) {
        let _ = std::fs::remove_file(self.directory.path().join("dump.rdb"));
    }

    /// Stops the server from responding, without closing connections.
    pub fn hang(&self) {
        self.server.as_ref().unwrap().signal("STOP");
    }

    /// Lets the server respond again.
    pub fn wake(&self) {
        self.server.as_ref().unwrap().signal("CONT");
    }

    /// Sends an inline command and returns the first part of the raw response (RESP2).
    #[must_use]
    pub fn command(&self, command: &str) -> String {
        self.try_command(command).unwrap_or_else(|| panic!("no response to {command}"))
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
    assert!(found.status.success(), "{program} is not in the PATH; set REDIS_SERVER");
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}
