//! What auth-api's answers take: the look-up in the denylist beside redis-benchmark on the same
//! Redis ([`denylist`]), whole introspections and where their time goes ([`introspection`]),
//! whether the time of a refusal tells what it was for ([`refusals`]), and each endpoint beside an
//! earlier auth-api ([`endpoints`]).
//!
//! ```text
//! denylist ──────┬→ serving   an auth-api over a database of its own
//! introspection ─┤  client    one connection to it, and logins
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

/// Measures what auth-api's answers take, and prints tables in Markdown.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench-api", version)]
pub struct Options {
    /// What to measure [default: all of it]
    #[arg(value_enum)]
    pub what: Vec<What>,
    /// The server to measure on; databases named `bench_…` are made there
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: String,
    /// The Redis to measure on; keys that begin with `{bench-…}` are made there, and expire
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub redis_url: String,
    /// The program to measure [default: auth-api beside this program]
    #[arg(long, value_name = "PATH")]
    pub auth_api: Option<PathBuf>,
    /// Also write the tables to bench/results/api-NAME.md
    #[arg(long, value_name = "NAME")]
    pub write: Option<String>,
    /// How often all but refusals is measured; results are medians
    #[arg(long, default_value_t = 5)]
    pub rounds: u32,
    /// Of the look-up in the denylist.
    #[command(flatten)]
    pub denylist: denylist::Options,
    /// Of introspection.
    #[command(flatten)]
    pub introspection: introspection::Options,
    /// Of the time of refusals.
    #[command(flatten)]
    pub refusals: refusals::Options,
    /// Of endpoints.
    #[command(flatten)]
    pub endpoints: endpoints::Options,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The look-up in the denylist, beside redis-benchmark
    Denylist,
    /// Whole introspections, and where their time goes
    Introspection,
    /// Whether the time of a 401 tells what it was for
    Refusals,
    /// What each endpoint does in a second, beside an earlier auth-api
    Endpoints,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Results {
    /// Of the server.
    pub settings: String,
    /// The server survives a crash with what it has committed.
    pub durable: bool,
    /// If it was asked for.
    pub denylist: Option<denylist::Results>,
    /// If it was asked for.
    pub introspection: Option<introspection::Results>,
    /// If it was asked for.
    pub refusals: Option<refusals::Results>,
    /// If it was asked for.
    pub endpoints: Option<endpoints::Results>,
}

/// Measures what is asked for. What was made on the server is gone again afterwards, also when
/// something failed.
pub async fn measure(options: &Options) -> Result<Results> {
    ensure!(options.rounds >= 1, "--rounds: at least one");
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
            "{processors} processors for everything, this bench too. {}.\n",
            self.settings
        )?;
        if !self.durable {
            writeln!(
                f,
                "**This server is not durable: what is written here is no measurement.**\n"
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
