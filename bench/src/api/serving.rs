//! Runs an auth-api for the benchmark, with its default settings except for the rate limits and a
//! few timeouts.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hyper::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use super::client::{Connection, get};
use crate::process;

/// How long auth-api may take to become ready. The limit ends only a benchmark that hangs.
const PATIENCE: Duration = Duration::from_mins(10);
/// The interval at which to check whether auth-api is ready.
const POLL: Duration = Duration::from_millis(20);

/// The unit in which the system counts processor time (`USER_HZ` is 100 on every Linux platform
/// that Rust supports).
const TICK: Duration = Duration::from_millis(10);
/// Number of log lines that are shown if auth-api exits.
const SHOWN: usize = 20;

/// A running auth-api, which is stopped when this value is dropped.
pub(super) struct Serving {
    child: Child,
    directory: TempDir,
    /// Address of the API.
    pub(super) api: SocketAddr,
    /// Address of the operations port, which serves the metrics.
    pub(super) operations: SocketAddr,
    /// ID and secret of a client that may introspect tokens.
    pub(super) service: (String, String),
    settings: Vec<(&'static str, String)>,
}

impl Serving {
    /// Creates the tables in an empty database and starts auth-api with it.
    pub(super) async fn start(
        program: &Path,
        database_url: &str,
        redis_url: &str,
        prefix: &str,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let keys = directory.path().join("keys");
        let call = |args: &[&str]| {
            let mut command = Command::new(program);
            command.env_clear().env("DATABASE_URL", database_url).args(args);
            process::run(command)
        };
        call(&["migrate"])?;
        call(&["keys", "generate", "--dir", &keys.to_string_lossy()])?;
        let secret = call(&["keys", "secret"])?.stdout.trim().to_owned();

        let clients = directory.path().join("clients").to_string_lossy().into_owned();
        let client = call(&["clients", "add", "bench", "--introspection-clients-file", &clients])?;
        let service = ("bench".to_owned(), client.stdout.trim().to_owned());

        let settings = vec![
            ("DATABASE_URL", database_url.to_owned()),
            ("REDIS_URL", redis_url.to_owned()),
            ("REDIS_PREFIX", prefix.to_owned()),
            ("BIND", "127.0.0.1:0".to_owned()),
            ("OPS_BIND", "127.0.0.1:0".to_owned()),
            ("PUBLIC_URL", "https://auth.example.test".to_owned()),
            ("STELLAR_NETWORK", "testnet".to_owned()),
            ("AUTH_SECRET", secret),
            ("SIGNING_KEYS_DIR", keys.to_string_lossy().into_owned()),
            ("INTROSPECTION_CLIENTS_FILE", clients),
            // On a busy machine, responses are slow. The benchmark measures this delay, so requests
            // must not fail because of it.
            ("DATABASE_CHECKOUT_TIMEOUT", "1m".to_owned()),
            ("DATABASE_STATEMENT_TIMEOUT", "90s".to_owned()),
            ("REFRESH_REUSE_GRACE", "5m".to_owned()),
            // All requests come from one address.
            ("RATE_LIMIT", "off".to_owned()),
        ];
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("LOG_FORMAT", "json")
            .envs(settings.iter().map(|(name, value)| (name, value)));
        command.arg("serve").stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(fs::File::create(directory.path().join("log"))?);
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut serving =
            Self { child, directory, api: nowhere, operations: nowhere, service, settings };
        serving.become_ready().await?;
        Ok(serving)
    }

    /// Returns the settings of auth-api as command-line options.
    pub(super) fn flags(&self) -> impl Iterator<Item = String> {
        let flag = |(name, value): &(&str, String)| {
            format!("--{}={value}", name.to_lowercase().replace('_', "-"))
        };
        self.settings.iter().map(flag)
    }

    /// Returns the metrics that Prometheus would scrape now.
    pub(super) async fn metrics(&self) -> Result<String> {
        let answer =
            Connection::open(self.operations).await?.ask_for(get("/metrics", None)?).await?;
        Ok(String::from_utf8(answer.body.into())?)
    }

    /// Returns the processor time that auth-api has used.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // proc_pid_stat(5): `utime` and `stime` are the 12th and 13th fields after the name, which
        // may contain any characters.
        let (_, fields) = stat.rsplit_once(')').context("/proc/…/stat contains no name")?;
        let ticks = fields.split_ascii_whitespace().skip(11).take(2).map(str::parse::<u64>);
        Ok(TICK * u32::try_from(ticks.sum::<Result<u64, _>>()?)?)
    }

    async fn become_ready(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while !self.is_ready().await? {
            if let Some(status) = self.child.try_wait()? {
                bail!("auth-api exited with {status}:\n{}", self.end_of_log()?);
            }
            if Instant::now() > until {
                bail!("auth-api was not ready in time:\n{}", self.end_of_log()?);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Returns whether auth-api listens and has built its denylist once.
    async fn is_ready(&mut self) -> Result<bool> {
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        // Compare the message, because earlier builds, which can also be measured, log no field
        // `event`.
        let Some(line) = lines.into_iter().find(|line| line["fields"]["message"] == "listening")
        else {
            return Ok(false);
        };
        let address = |name: &str| {
            line["fields"][name]
                .as_str()
                .context("no address in the log")?
                .parse()
                .context("invalid address in the log")
        };
        (self.api, self.operations) = (address("api")?, address("ops")?);
        let ready = Connection::open(self.operations).await?.ask(get("/readyz", None)?).await?;
        let body: Value = serde_json::from_slice(&ready.body)?;
        Ok(ready.status == StatusCode::OK && body["redis"]["denylist"] == "complete")
    }

    fn end_of_log(&self) -> Result<String> {
        let log = fs::read_to_string(self.directory.path().join("log"))?;
        let lines: Vec<&str> = log.lines().collect();
        Ok(lines[lines.len().saturating_sub(SHOWN)..].join("\n"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Ignore the error, which occurs if auth-api has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
