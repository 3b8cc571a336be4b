//! `bench-reap`: measures, prints the results, and writes them to a file on request.

use anyhow::Result;
use bench::{Options, measure};
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let results = measure(&options).await?.to_string();
    bench::write_results(&results, options.write.as_deref())
}
