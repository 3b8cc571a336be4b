//! From a database's catalog to a proposed `reaper.toml`.
//!
//! [`discover`] is the recipe. The [`catalog`] lists the tables, in one read-only transaction, and
//! the [`sample`] shows what their columns hold; [`recognise`] finds those of presets; [`judge`]
//! goes through the columns of all others by the [`signs`], the [`nouns`] and what stands
//! [`beside`], which are data, and collects the [`doubts`]; [`proposal`] writes the file. What
//! cannot be known is commented out, with the reason.

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

use schema::connect::ConnectOptions;

pub use catalog::DiscoverError;
pub use findings::Findings;

use crate::config::presets;
use findings::Unrecognised;

/// Finds what could be reaped.
pub async fn discover(connect: &ConnectOptions) -> Result<Findings, DiscoverError> {
    let presets = presets();
    let catalog = catalog::read(connect, &recognise::wanted(&presets)).await?;
    let mut presets = recognise::presets(&presets, &catalog);
    // Tables of a preset that is only perhaps meant are judged by themselves, too.
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
