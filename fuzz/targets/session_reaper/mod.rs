//! The fuzz targets of session-reaper. Each one is a function of arbitrary bytes that asserts its
//! invariants.

mod reaper_toml;

pub use reaper_toml::reaper_toml;
