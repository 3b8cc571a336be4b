//! The targets. They are files that ordinary tests include, too (`auth-api/tests/corpus.rs`,
//! `session-reaper/tests/corpus.rs`), so that what the fuzzer has found worth keeping is tried in every run of the tests.

#[path = "../targets/auth_api/mod.rs"]
pub mod auth_api;
#[path = "../targets/session_reaper/mod.rs"]
pub mod session_reaper;
