//! `bench-reap`: measure, print, and write when asked.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use bench::{Options, measure};
use clap::Parser as _;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let results = measure(&options).await?.to_string();
    std::io::stdout().write_all(results.as_bytes())?;
    if let Some(name) = &options.write {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let file = directory.join(format!("{name}.md"));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(&file, format!("# {name}\n\n{results}")).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
