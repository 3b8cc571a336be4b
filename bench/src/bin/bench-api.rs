//! `bench-api`: measure, print, and write when asked.

use anyhow::Result;
use bench::api::{Options, measure};
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let results = measure(&options).await?.to_string();
    let title = options.write.as_ref().map(|name| format!("api-{name}"));
    bench::tell(&results, title.as_deref())
}
