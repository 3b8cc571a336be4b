//! The text output for people: tables, the summary of a run, and the progress bar.

pub(crate) mod database;
pub mod progress_bar;
pub mod summary;
pub(crate) mod table;
