//! The reaper's two tables: `reaper_runs`, the run history, and `reaper_state`, which all reapers of
//! a database share. Both are optional.

pub mod migrate;
pub mod own_tables;
pub mod pause;
pub mod runs;
pub mod state;
