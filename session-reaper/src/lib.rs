//! session-reaper deletes expired and revoked rows from PostgreSQL in bounded chunks, and reports
//! the result.
//!
//! Read [`sweep`] first: it implements one run, from the connection to the report. The other modules
//! configure, schedule and observe runs.
//!
//! ```text
//! main ─→ cli, config ─→ commands::run ────┬─→ sweep ─→ schema
//!                     └→ commands::daemon ─┤      sweep::run         the steps of a run
//!                        schedule          │      sweep::target_run  one target
//!                        ops               │      sweep::pass        one reason: the loop
//!                        ops::page         └→ status: shown by commands::status and the page
//! ```
//!
//! - [`cli`] defines the command line; [`config`] is the one place that parses and validates it.
//! - [`commands`] has one file per subcommand; [`exit`] defines their exit codes.
//! - [`discover`] reads a catalog and proposes targets; the subcommand `discover` prints them.
//! - [`schedule`], [`ops`] and [`notify`] belong to the daemon: the schedule, the operations port,
//!   and the messages to the service manager. `watchdog` counts the loop's progress for [`notify`].
//! - [`status`] assembles the status that the subcommand `status` and the daemon's page show.
//!   [`registration`] stores the time of a daemon's next run, and [`recent_runs`] keeps the runs of
//!   this process in memory.
//! - [`stop`] passes shutdown signals down as a value; [`clock`] reads the clock of this host;
//!   [`nearest`] suggests a correction for a misspelled name.
//! - [`metrics`] defines the metrics, [`export`] pushes or writes those of a single run,
//!   [`telemetry`] sets up logs and spans, [`bar`] draws the progress bar, and [`summary`] formats
//!   the output of `run`.

pub mod bar;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod discover;
pub mod exit;
pub mod export;
pub mod metrics;
pub mod nearest;
pub mod notify;
pub mod ops;
pub mod recent_runs;
pub mod registration;
pub mod schedule;
pub mod status;
pub mod stop;
pub mod summary;
pub mod sweep;
pub mod telemetry;
mod watchdog;
