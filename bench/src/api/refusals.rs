//! Measures whether the response time of a 401 reveals the reason for the rejection. Genuine
//! credentials that are rejected for different reasons are sent in random order over one
//! connection. The difference between the medians of two reasons is compared with the *noise*, the
//! difference that chance alone causes.

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

/// Options for refusals.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Refusals")]
#[group(skip)]
pub struct Options {
    /// Number of rejections for each kind of credential and each reason
    #[arg(long, default_value_t = 2_000)]
    pub tries: usize,
    /// Number of credentials for each kind and reason, used in rotation
    #[arg(long, default_value_t = 50)]
    pub credentials: usize,
    /// Number of sessions of other accounts; also applies to endpoints
    #[arg(long, default_value_t = 100_000, value_name = "ROWS")]
    pub others: u64,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.tries >= 4, "--tries: must be at least 4, for the quartiles");
        ensure!(self.credentials >= 1, "--credentials: must be at least 1");
        Ok(())
    }
}

/// Measures both kinds of credentials with an auth-api that uses this empty database.
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
