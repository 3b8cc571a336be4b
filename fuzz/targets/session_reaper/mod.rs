//! The fuzz targets of session-reaper. Each target is a function that takes arbitrary bytes and
//! asserts invariants.

mod reaper_toml;

pub use reaper_toml::reaper_toml;
