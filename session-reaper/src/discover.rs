//! Proposes a `reaper.toml` from the catalog of a database.
//!
//! [`discover`] performs all steps. [`catalog`] lists the tables in one read-only transaction, and
//! [`sample`] reads sample values of their columns. [`recognise`] finds the tables of presets (the
//! built-in targets of known applications). [`judge`] evaluates the columns of all other tables
//! with the lists in [`signs`] (names of time columns), [`nouns`] (words in table names) and
//! [`beside`] (other columns), and collects the [`doubts`]. [`proposal`] writes the file, in which
//! uncertain targets are commented out, with the reason.

mod beside;
mod catalog;
mod doubts;
mod findings;
mod judge;
mod names;
mod nouns;
mod proposal;
mod reading;
mod recognise;
mod sample;
mod shapes;
mod signs;
mod table;
mod toml_string;
mod values;

use std::collections::HashSet;

use pg::connect::ConnectOptions;

pub use catalog::DiscoverError;
pub use findings::Findings;

use crate::config::presets;
use findings::Unrecognised;

/// Finds tables that could be reaped.
pub async fn discover(connect: &ConnectOptions) -> Result<Findings, DiscoverError> {
    let presets = presets();
    let catalog = catalog::read(connect, &recognise::wanted(&presets)).await?;
    let mut presets = recognise::presets(&presets, &catalog);
    // The tables of an uncertain preset are also evaluated on their own.
    let taken: HashSet<u32> = presets
        .iter()
        .filter(|found| found.live())
        .flat_map(|found| found.oids(&catalog))
        .collect();
    let (mut targets, mut unrecognised) = (Vec::new(), Vec::new());
    for table in catalog.tables.iter().filter(|table| !taken.contains(&table.oid)) {
        let found = judge::targets(table, &catalog);
        if found.is_empty() && reading::is_fleeting(table) {
            unrecognised.push(Unrecognised::new(table));
        }
        targets.extend(found);
    }
    presets.sort_by_key(|found| !found.live());
    let mut findings = Findings::new(&catalog, presets, targets, unrecognised);
    findings.config = proposal::text(&findings);
    Ok(findings)
}
