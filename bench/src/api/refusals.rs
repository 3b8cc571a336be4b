//! Whether the time of a 401 tells what it was for: genuine credentials that are refused for
//! different reasons, in random order over one connection, and the difference of the medians beside
//! what chance alone makes of it.

mod credentials;
mod noise;
mod results;
mod tries;

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;
use uuid::Uuid;

use super::others;
use super::serving::Serving;
pub use credentials::{Carrier, Reason};
pub use results::{Line, Refused, Results};

/// How the time of refusals is measured.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Refusals")]
#[group(skip)]
pub struct Options {
    /// Refusals of each kind of credential for each reason
    #[arg(long, default_value_t = 2_000)]
    pub tries: usize,
    /// Credentials of a kind that are refused for the same reason, by turns
    #[arg(long, default_value_t = 50)]
    pub credentials: usize,
    /// Sessions that others have, also while endpoints are measured
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub others: u64,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.tries >= 4, "--tries: at least four, or there are no quartiles");
        ensure!(self.credentials >= 1, "--credentials: at least one");
        Ok(())
    }
}

/// Measures both kinds of credentials on an auth-api over this empty database.
pub(super) async fn measure(
    options: &Options,
    program: &Path,
    database_url: &str,
    redis_url: &str,
) -> Result<Results> {
    let prefix = format!("bench-refusals-{}", Uuid::now_v7().simple());
    let serving = Serving::start(program, database_url, redis_url, &prefix).await?;
    let client = others::fill(database_url, options.others).await?;
    let mut refused = Vec::new();
    for carrier in Carrier::ALL {
        let credentials = credentials::prepare(options, &serving, &client, carrier).await?;
        eprintln!("{}: {} refusals", carrier.name(), options.tries * credentials.len());
        let (address, tries) = (serving.api, options.tries);
        let took =
            tokio::task::spawn_blocking(move || tries::all(address, &credentials, tries)).await??;
        refused.push(Refused::of(carrier, took));
    }
    Ok(Results { options: options.clone(), refused })
}
