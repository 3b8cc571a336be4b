//! One run over all targets. Read [`Sweep::run`] first, then [`pass`], where rows go.
//!
//! - [`target`]: what to reap, as data; [`catalog`] finds it, [`condition`] has its `where` read,
//!   [`due`] has its cutoffs, also where clocks change ([`wall`]), [`sql`] puts it into words.
//! - [`auth_api`]: whether targets that nobody configured apply to the database.
//! - [`connection`]: the connection that holds the lock and deletes, [`auxiliary`] the auxiliary
//!   one; [`lock`]: one reaper at a time.
//! - [`preflight`]: whether it is safe to begin; [`check`] tells just that, and [`plan`] what would
//!   go.
//! - [`target_run`]: one target, [`tables`] what its rows are in.
//! - [`pass`]: one table, one reason, [`chunk`] by chunk, at the [`pace`] that is wanted and within
//!   the [`budget`]; [`scan_order`] chooses the order in which it goes, [`blocks`] is that of the
//!   heap, [`watermarks`] are where earlier runs came to.
//! - [`worker`]: the waiting between chunks, for what [`throttle`] finds in the way; [`reconnect`]
//!   after a lost connection.
//! - [`backlog`]: counts of what is due, [`backlog_snapshot`] those of all targets now;
//!   [`history`]: the row in `reaper_runs`; [`report`]: what is told at the end, and
//!   [`mod@partial_report`] before it.

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
mod history;
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
