//! Runs over all targets. Start with [`Sweep::run`], then read [`pass`], which deletes rows.
//!
//! - [`target`]: the configured targets, as data. [`catalog`] finds their tables, [`condition`]
//!   resolves `where`, [`due`] computes the cutoffs ([`wall`] handles clock changes), and [`sql`]
//!   builds the statements.
//! - [`auth_api`]: whether the built-in targets apply to a database without a configuration.
//! - [`connection`]: the lock connection, which holds the locks and deletes rows. [`auxiliary`]:
//!   the auxiliary connection. [`lock`]: the advisory locks that keep two reapers off one target.
//! - [`preflight`]: the checks before the first delete. [`check`] only runs these checks, and
//!   [`plan`] also counts the rows that would be deleted.
//! - [`target_run`]: the work on one target. [`tables`]: the tables that contain its rows.
//! - [`pass`]: the work on one table for one reason, [`chunk`] by chunk, at a [`pace`] and within
//!   the [`budget`]. [`scan_order`] chooses the scan order, [`blocks`] implements the scan order of
//!   the heap, and [`watermarks`] contain the positions that earlier runs reached.
//! - [`worker`]: the pauses between chunks, with the reasons that [`throttle`] finds.
//!   [`reconnect`]: recovery from a lost connection.
//! - [`backlog`]: counts of due rows. [`backlog_snapshot`]: the current backlog of all targets.
//!   [`run_record`]: the row in `reaper_runs`. [`report`]: the report at the end of a run.
//!   [`mod@partial_report`]: the report of a run in progress.

mod auth_api;
mod auxiliary;
mod backlog;
mod backlog_snapshot;
mod backoff;
mod blocks;
mod budget;
mod catalog;
mod check;
mod chunk;
mod condition;
mod connection;
mod db_error;
mod deadline;
mod due;
mod error;
mod first_run_guard;
mod identity;
mod lock;
mod name;
mod operator;
mod pace;
mod partial_report;
mod pass;
mod plan;
mod preflight;
mod progress;
mod query;
mod reconnect;
mod refused;
mod report;
mod run;
mod run_record;
mod scan_order;
mod spans;
mod sql;
mod statement_bounds;
mod stop_reason;
mod table_share;
mod tables;
mod target;
mod target_run;
mod throttle;
mod wall;
mod watermarks;
mod worker;
mod writers;

pub use auth_api::NotAuthApi;
pub use backlog_snapshot::{BacklogSnapshot, ReasonBacklog};
pub use budget::BudgetLimits;
pub use check::{Checked, CheckedServer, CheckedTarget};
pub use error::SweepError;
pub use first_run_guard::FirstRun;
pub use lock::CLASS as LOCK_CLASS;
pub use name::{Ident, TableName};
pub(crate) use pace::LONGEST_REST;
pub use pace::PaceLimits;
pub(crate) use partial_report::time;
pub use partial_report::{RUNNING, of_killed, partial_report};
pub use plan::{Plan, PlannedReason, PlannedTarget};
pub use preflight::{Code, Finding, Level, Rules};
pub use progress::{Progress, Running, TargetProgress, Waiting};
pub use report::{ChunkTimes, Report, TableDetail, TargetReport};
pub use run::{Finished, Sweep};
pub(crate) use spans::SPANS;
pub use statement_bounds::StatementBounds;
pub use target::{Absent, Ancient, Order, Reason, Target, Unit, history};
pub use throttle::{ReplicaLimit, ThrottleCause, ThrottleLimits};
pub use watermarks::Watermarks;
