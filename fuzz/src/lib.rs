//! The fuzz targets. The tests `auth-api/tests/it/corpus.rs` and
//! `session-reaper/tests/it/corpus.rs` include the same files, so that every test run checks the
//! inputs in the corpus.

#[path = "../targets/auth_api/mod.rs"]
pub mod auth_api;
#[path = "../targets/session_reaper/mod.rs"]
pub mod session_reaper;
