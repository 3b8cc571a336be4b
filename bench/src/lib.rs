//! What session-reaper costs, beside the best loops that one could write by hand, beside what most
//! projects have, and beside one DELETE; all in one run, interleaved, on tables that are alike to
//! the byte.
//!
//! Read [`measure()`] first: the rounds. What is measured is data: [`case`] has the states of the
//! table, [`way`] the ways to empty it, [`gate`] the subcommands that have to be quick.
//!
//! ```text
//! main ─→ measure ─→ server   a template for each layout, a copy for each measurement
//!            │       process  a program, its time and its peak memory
//!            └─→ results ─→ goals
//! ```
//!
//! What others notice meanwhile is measured by [`traffic`]; what auth-api's answers take, by
//! [`api`].

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

/// Prints results, and writes them to `bench/results/NAME.md` where there is a name.
pub fn tell(results: &str, name: Option<&str>) -> Result<()> {
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
