//! The reaper's history.
