//! session-reaper deletes expired and revoked rows from PostgreSQL in chunks (transactions with a
//! limited number of rows), and reports the result.
//!
//! The crate [`reaper`] is the engine: it implements one run, from the connection to the report.
//! This crate is the program around it, which configures, schedules and observes runs.
//!
//! ```text
//! main ─→ cli, config ─→ commands::run ────┬─→ reaper::Sweep ─→ pg
//!                     └→ commands::daemon ─┤      observer: metrics, recent_runs, watchdog
//!                        schedule          │
//!                        ops               │
//!                        ops::page         └→ status: shown by commands::status and the page
//! ```
//!
//! - [`cli`] defines the command line; only [`config`] parses and validates the options.
//! - [`commands`] has one file per subcommand; [`reaper::Exit`] defines their exit codes, and
//!   [`signals`] handles SIGINT and SIGTERM.
//! - [`discover`] reads a catalog and proposes targets; the subcommand `discover` prints them.
//! - [`schedule`], [`ops`] and [`notify`] belong to the daemon: the schedule, the operations port,
//!   and the messages to the service manager. `watchdog` counts the steps of the daemon's loop, so
//!   that [`ops`] and [`notify`] can report whether the loop is alive.
//! - [`status`] assembles the status that the subcommand `status` and the daemon's page show.
//!   [`registration`] stores the time of a daemon's next run, and [`recent_runs`] keeps the runs of
//!   this process in memory. [`clock`] reads the clock of this host.
//! - [`observer`] updates the [`metrics`] from the events of a run, [`export`] pushes or writes the
//!   metrics of a single run, [`telemetry`] sets up logs and spans, and [`output`] formats tables,
//!   the summary of a run and the progress bar.
//!
//! The crate [`reaper`] explains the terms *target*, *reason*, *due*, *pass*, *chunk*, *throttle*,
//! *outcome* and *preset*. The *backlog* of a target is the number of its rows that are due.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod discover;
pub mod export;
pub mod metrics;
pub mod notify;
pub mod observer;
pub mod ops;
pub mod output;
pub mod recent_runs;
pub mod registration;
pub mod reload;
pub mod schedule;
mod short_queries;
pub mod signals;
pub mod status;
pub mod telemetry;
mod watchdog;
