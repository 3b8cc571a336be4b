//! Measures the command of a look-up with redis-benchmark.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use url::Url;
use uuid::Uuid;

use super::Options;
use crate::process;

/// The redis-benchmark command.
pub(super) struct RedisBenchmark {
    program: PathBuf,
    args: Vec<String>,
}

/// The results of redis-benchmark, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Commands {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Commands per second.
    pub rate: f64,
}

impl RedisBenchmark {
    pub(super) fn new(options: &Options, redis_url: &str, prefix: &str) -> Result<Self> {
        let url = Url::parse(redis_url).context("REDIS_URL must be a URL")?;
        let host = url.host_str().context("REDIS_URL has no host")?.to_owned();
        let port = url.port().unwrap_or(6379).to_string();
        let (connections, requests) =
            (options.connections.to_string(), options.requests.to_string());
        // The keys that auth-api reads: the key of a session that is not denied, and the marker
        // that shows that the denylist is complete.
        let (session, complete) = (
            format!("{{{prefix}}}:deny:{}", Uuid::now_v7()),
            format!("{{{prefix}}}:deny:complete"),
        );
        let args = [
            "-h",
            &host,
            "-p",
            &port,
            "-c",
            &connections,
            "-n",
            &requests,
            "--csv",
            "MGET",
            &session,
            &complete,
        ];
        Ok(Self {
            program: options.redis_benchmark.clone(),
            args: args.map(str::to_owned).to_vec(),
        })
    }

    pub(super) async fn run(&self) -> Result<Commands> {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        let ran = tokio::task::spawn_blocking(move || process::run(command)).await??;
        Commands::parse(&ran.stdout)
            .with_context(|| format!("unexpected output of redis-benchmark:\n{}", ran.stdout))
    }
}

impl Commands {
    /// Parses two lines, which contain names and values in quotes.
    fn parse(csv: &str) -> Option<Self> {
        let fields = |line: &str| -> Option<Vec<String>> {
            let inner = line.trim().strip_prefix('"')?.strip_suffix('"')?;
            Some(inner.split("\",\"").map(str::to_owned).collect())
        };
        let mut lines = csv.lines().filter_map(fields);
        let values: HashMap<String, String> =
            lines.next()?.into_iter().zip(lines.next()?).collect();
        let value = |name: &str| values.get(name)?.parse().ok();
        Some(Self {
            p50: value("p50_latency_ms")?,
            p99: value("p99_latency_ms")?,
            rate: value("rps")?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn values_are_matched_by_column_name() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"MGET {p}:deny:1 {p}:deny:complete\",\"90909.09\",\"0.277\",\"0.040\",\"0.255\",\"0.479\",\"0.607\",\"1.535\"\n";
        let commands = Commands::parse(csv).unwrap();
        assert_eq!((commands.p50, commands.p99, commands.rate), (0.255, 0.607, 90_909.09));
        assert!(Commands::parse("Could not connect to Redis").is_none());
    }
}
