//! Tests that run session-reaper as a program. They are compiled into one test program, with a file
//! for each subject.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

mod accounts;
mod ancient;
mod cascades;
mod check;
mod child_tables;
mod chunk_size;
mod clock;
mod conditions;
mod configuration;
mod corpus;
mod daemon;
mod dependents;
mod discover;
mod exports;
mod groups;
mod groups_and_writers;
mod held_rows;
mod help;
mod history;
mod hostile;
mod identity_provider_presets;
mod init;
mod interrupted;
mod journal;
mod layouts;
mod leaks;
mod liveness;
mod locked_rows;
mod metrics;
mod migrate;
mod notify;
mod ops_port;
mod other_servers;
mod otlp;
mod outcomes;
mod overlapping;
mod page;
mod plan;
mod preset_tables;
mod presets;
mod query_plans;
mod real_packages;
mod reason_conditions;
mod recipes;
mod reference;
mod reload;
mod replaced_tables;
mod retries;
mod rows;
mod set_columns;
mod status;
mod stopping;
mod targets;
mod throttles;
mod ticks;
mod two_daemons;
mod unconfigured;
mod wall_clock;
