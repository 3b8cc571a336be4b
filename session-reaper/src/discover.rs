//! What `discover` knows: from a database's catalog to a `reaper.toml` that it would make sense to have.
//!
//! [`discover`] is the recipe. The [`catalog`] says what tables there are, in one read-only transaction; [`recognise`] finds
//! those of presets; [`judge`] goes through the columns of all others by the [`signs`], which are data; [`proposal`]
//! writes down what came of it. A row is never read: what is known of values is what ANALYZE has left in `pg_stats`.

mod catalog;
mod findings;
mod judge;
mod names;
mod proposal;
mod recognise;
mod signs;

use std::collections::HashSet;

use schema::connect::ConnectOptions;

pub use catalog::DiscoverError;
pub use findings::Findings;

use crate::config::presets;

/// Looks at the catalog and says what could be reaped.
pub async fn discover(connect: &ConnectOptions) -> Result<Findings, DiscoverError> {
    let presets = presets();
    let catalog = catalog::read(connect, &recognise::wanted(&presets)).await?;
    let mut presets = recognise::presets(&presets, &catalog);
    // Those of a preset that is only perhaps meant are looked at for themselves, too.
    let taken: HashSet<u32> =
        presets.iter().filter(|found| found.live()).flat_map(findings::FoundPreset::oids).collect();
    let targets = catalog.tables.iter().filter(|table| !taken.contains(&table.oid));
    let targets = targets.filter_map(|table| judge::target(table, &catalog)).collect();
    presets.sort_by_key(|found| !found.live());
    let mut findings = Findings::new(&catalog, presets, targets);
    findings.config = proposal::text(&findings);
    Ok(findings)
}
