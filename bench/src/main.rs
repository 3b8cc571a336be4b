//! `bench-reap`: measure, print, and write when asked.

use anyhow::Result;
use bench::{Options, measure};
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let results = measure(&options).await?.to_string();
    bench::tell(&results, options.write.as_deref())
}
