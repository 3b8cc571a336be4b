//! One run over all targets. Read [`Sweep::run`] first, then [`pass`], where rows go.
//!
//! - [`target`]: what to reap, as data; [`catalog`] finds it, [`condition`] has its `where` read, [`due`] has its cutoffs, also where
//!   clocks change ([`wall`]), [`sql`] puts it into words.
//! - [`auth_api`]: whether targets that nobody configured apply to the database.
//! - [`connection`]: the connection that holds the lock and deletes, [`beside`] the auxiliary one; [`lock`]: one reaper at a time.
//! - [`gate`]: whether it is safe to begin; [`check`] tells just that, and [`plan`] what would go.
//! - [`stint`]: one target, [`tables`] what its rows are in.
//! - [`pass`]: one table, one reason, [`chunk`] by chunk, at the [`pace`] that is wanted and within the [`budget`]; [`gear`]
//!   chooses the order in which it goes, [`blocks`] is that of the heap, [`watermarks`] are where earlier runs came to.
//! - [`worker`]: the waiting between chunks, for what [`throttle`] finds in the way; [`reconnect`] after a lost connection.
//! - [`backlog`]: counts of what is due, [`standing`] those of all targets now; [`history`]: the row in `reaper_runs`;
//!   [`report`]: what is told at the end, and [`mod@interim`] before it.

mod auth_api;
mod backlog;
mod backoff;
mod beside;
mod blocks;
mod budget;
mod catalog;
mod check;
mod chunk;
mod condition;
mod connection;
mod due;
mod error;
mod gate;
mod gear;
mod guard;
mod history;
mod interim;
mod lock;
mod name;
mod pace;
mod pass;
mod patience;
mod plan;
mod progress;
mod reconnect;
mod refused;
mod report;
mod run;
mod share;
mod spans;
mod sql;
mod standing;
mod stint;
mod tables;
mod target;
mod throttle;
mod wall;
mod watermarks;
mod worker;
mod writers;

pub use auth_api::NotAuthApi;
pub use budget::BudgetLimits;
pub use check::{Checked, CheckedServer, CheckedTarget};
pub use connection::StatementBounds;
pub use error::SweepError;
pub use gate::{Code, Finding, Level, Rules};
pub use guard::FirstRun;
pub(crate) use interim::time;
pub use interim::{RUNNING, interim, of_killed};
pub use lock::CLASS as LOCK_CLASS;
pub use name::{Ident, TableName};
pub(crate) use pace::LONGEST_REST;
pub use pace::PaceLimits;
pub use plan::{Plan, PlannedReason, PlannedTarget};
pub use progress::{Progress, Running, TargetProgress, Waiting};
pub use report::{ChunkTimes, Report, TableDetail, TargetReport};
pub use run::{Finished, Sweep};
pub use standing::{Standing, StandingReason};
pub use target::{Absent, Ancient, Order, Reason, Target, Unit, history};
pub use throttle::{Cause, ReplicaLimit, ThrottleLimits};
pub use watermarks::Watermarks;
