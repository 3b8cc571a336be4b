//! Measures the response times of auth-api: the denylist look-up, compared with redis-benchmark on
//! the same Redis ([`denylist`]); complete introspections and their steps ([`introspection`]);
//! whether the response time of a 401 reveals the reason for the rejection ([`refusals`]); and each
//! endpoint, compared with an earlier auth-api ([`endpoints`]).
//!
//! ```text
//! denylist ──────┬→ serving   an auth-api with its own database
//! introspection ─┤  client    a connection to it, and logins
//! refusals ──────┤  others    sessions of other accounts
//! endpoints ─────┘
//! ```

mod client;
pub mod denylist;
pub mod endpoints;
pub mod introspection;
mod others;
pub mod refusals;
mod serving;

use std::fmt;
use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use crate::process::program;
use crate::server::Server;

/// Measure the response times of auth-api and print tables in Markdown
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-api", version)]
pub struct Options {
    /// What to measure [default: everything]
    #[arg(value_enum)]
    pub what: Vec<What>,
    /// The server to measure; the benchmark creates databases named `bench_…` on it
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// The Redis to measure; the benchmark creates keys that begin with `{bench-…}` and that expire
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: String,
    /// The program to measure [default: auth-api in the directory of this program]
    #[arg(long, value_name = "PATH")]
    pub auth_api: Option<PathBuf>,
    /// Also write the tables to bench/results/api-NAME.md
    #[arg(long, value_name = "NAME")]
    pub write: Option<String>,
    /// Number of rounds, except for refusals; results are medians
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    /// Options for the denylist look-up.
    #[command(flatten)]
    pub denylist: denylist::Options,
    /// Options for introspection.
    #[command(flatten)]
    pub introspection: introspection::Options,
    /// Options for refusals.
    #[command(flatten)]
    pub refusals: refusals::Options,
    /// Options for endpoints.
    #[command(flatten)]
    pub endpoints: endpoints::Options,
}

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The denylist look-up, compared with redis-benchmark
    Denylist,
    /// Complete introspections, and the cost of each step
    Introspection,
    /// Whether the response time of a 401 reveals the reason for the rejection
    Refusals,
    /// The rate of each endpoint, compared with an earlier auth-api
    Endpoints,
}

/// The results.
#[derive(Clone, Debug)]
pub struct Results {
    /// Settings of the server.
    pub settings: String,
    /// Whether committed data survives a crash of the server.
    pub durable: bool,
    /// Results of the denylist look-up, if requested.
    pub denylist: Option<denylist::Results>,
    /// Results of introspection, if requested.
    pub introspection: Option<introspection::Results>,
    /// Results of the comparison of rejections, if requested.
    pub refusals: Option<refusals::Results>,
    /// Results of endpoints, if requested.
    pub endpoints: Option<endpoints::Results>,
}

/// Executes the requested measurements. Afterwards, drops all databases that it created on the
/// server, even if a measurement failed.
pub async fn measure(options: &Options) -> Result<Results> {
    ensure!(options.rounds >= 1, "--rounds: must be at least 1");
    options.denylist.check()?;
    options.introspection.check()?;
    options.refusals.check()?;
    options.endpoints.check()?;
    let mut server = Server::at(&options.database_url).await?;
    let results = all(options, &mut server).await;
    let cleared = server.clear().await;
    let results = results?;
    cleared?;
    Ok(results)
}

async fn all(options: &Options, server: &mut Server) -> Result<Results> {
    let program = program(options.auth_api.as_deref(), "auth-api")?;
    let wanted = |what| options.what.is_empty() || options.what.contains(&what);
    let (mut denylist, mut introspection, mut refusals, mut endpoints) = (None, None, None, None);
    if wanted(What::Denylist) {
        let database_url = server.empty("denylist").await?;
        let (of, redis) = (&options.denylist, &options.redis_url);
        denylist =
            Some(denylist::measure(of, options.rounds, &program, &database_url, redis).await?);
    }
    if wanted(What::Introspection) {
        let database_url = server.empty("introspection").await?;
        let (of, redis) = (&options.introspection, &options.redis_url);
        introspection =
            Some(introspection::measure(of, options.rounds, &program, &database_url, redis).await?);
    }
    if wanted(What::Refusals) {
        let database_url = server.empty("refusals").await?;
        refusals = Some(
            refusals::measure(&options.refusals, &program, &database_url, &options.redis_url)
                .await?,
        );
    }
    if wanted(What::Endpoints) {
        let (before, since) =
            (server.empty("endpoints_before").await?, server.empty("endpoints_since").await?);
        let (of, redis) = (&options.endpoints, &options.redis_url);
        endpoints = Some(
            endpoints::measure(
                of,
                (options.rounds, options.refusals.others),
                &program,
                [&before, &since],
                redis,
            )
            .await?,
        );
    }
    let (settings, durable) = (server.settings().await?, server.is_durable().await?);
    Ok(Results { settings, durable, denylist, introspection, refusals, endpoints })
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processors = available_parallelism().map(usize::from).unwrap_or_default();
        writeln!(
            f,
            "{processors} processors, shared by all programs including this benchmark. {}.\n",
            self.settings
        )?;
        if !self.durable {
            writeln!(
                f,
                "**This server is not durable. Do not use these numbers as measurements.**\n"
            )?;
        }
        if let Some(denylist) = &self.denylist {
            writeln!(f, "{denylist}")?;
        }
        if let Some(introspection) = &self.introspection {
            writeln!(f, "{introspection}")?;
        }
        if let Some(refusals) = &self.refusals {
            write!(f, "{refusals}")?;
        }
        if let Some(endpoints) = &self.endpoints {
            writeln!(f)?;
            write!(f, "{endpoints}")?;
        }
        Ok(())
    }
}
