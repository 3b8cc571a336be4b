//! Benchmarks of session-reaper. It is compared with the best loops that can be written by hand,
//! with the loop that most projects use, and with a single DELETE. All of these ways to delete rows
//! are measured in one run, one after another, on identical copies of a table.
//!
//! Read [`measure()`] first, which runs the rounds of measurements. The measurements are defined as
//! data: the states of the table in [`case`], the ways to empty it in [`way`], and the subcommands
//! with a time limit in [`gate`].
//!
//! ```text
//! main ─→ measure ─→ server   a template for each layout, a copy for each measurement
//!            │       process  runs a program, measures its time and its peak memory
//!            └─→ results ─→ goals
//! ```
//!
//! [`traffic`] measures how much a run slows down other queries. [`api`] measures how long auth-api
//! takes to respond.

pub mod api;
pub mod case;
pub mod gate;
mod goals;
mod measure;
mod process;
mod results;
mod server;
mod statistics;
pub mod traffic;
pub mod way;

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

pub use measure::{Options, measure};
pub use results::{COLUMNS, Measured, Results};

/// Prints results. If `name` is given, also writes the results to `bench/results/NAME.md`.
pub fn write_results(results: &str, name: Option<&str>) -> Result<()> {
    std::io::stdout().write_all(results.as_bytes())?;
    if let Some(name) = name {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        let file = directory.join(format!("{name}.md"));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(&file, format!("# {name}\n\n{results}"))
            .with_context(|| file.display().to_string())?;
    }
    Ok(())
}
