//! session-reaper deletes expired and revoked rows from PostgreSQL, in bounded chunks, and says
//! what it did.
//!
//! Read [`sweep`] first: it is what one run does, from the advisory lock to the report. The rest is
//! around it.
//!
//! ```text
//! main ─→ cli, config ─→ commands::run ────┬─→ sweep ─→ schema
//!                     └→ commands::daemon ─┤      sweep::run     the recipe of a run
//!                        schedule  when    │      sweep::stint   one target
//!                        ops       /readyz │      sweep::pass    one reason: the loop
//!                        ops::page /       └→ status: how things stand, for commands::status and the page
//! ```
//!
//! - [`cli`] is the command line, [`config`] the one place that reads and checks what was given
//!   there.
//! - [`commands`] has one file a subcommand; [`exit`] the codes that they end with.
//! - [`discover`] reads a catalog and proposes targets, which the subcommand of that name prints.
//! - [`schedule`], [`ops`] and [`notify`] are the daemon's: when to run, what operators see, what
//!   its service manager is told.
//! - [`status`] puts together what `status` and the daemon's page show; [`registration`] is where a
//!   daemon says when it runs next, [`recent_runs`] what a process remembers of its own runs.
//! - [`stop`] is being asked to stop, passed down as a value; [`clock`] this host's clock;
//!   [`nearest`] what a misspelt name may mean.
//! - [`metrics`] has the metrics, [`export`] hands those of a single run on, [`telemetry`] has the
//!   logs and spans, [`bar`] the progress bar, [`summary`] what `run` prints.

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
