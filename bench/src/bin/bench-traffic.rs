//! `bench-traffic`: measures, prints the results, and writes them to a file on request.

use anyhow::Result;
use bench::traffic::{Options, measure};
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let results = measure(&options).await?.to_string();
    let title = options.write.as_ref().map(|name| format!("traffic-{name}"));
    bench::write_results(&results, title.as_deref())
}
