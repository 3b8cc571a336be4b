//! What is fuzzed of session-reaper: a function a target, of whatever bytes. Each asserts what must
//! hold of them.

mod reaper_toml;

pub use reaper_toml::reaper_toml;
