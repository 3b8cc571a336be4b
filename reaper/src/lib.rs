//! Deletes expired rows from PostgreSQL tables, in small transactions that hardly delay other
//! transactions.
//!
//! This is the engine of session-reaper as a library. A [`Sweep`] specifies a database, [`Target`]s
//! and limits. [`Sweep::check`] runs the preflight checks, [`Sweep::plan`] also counts the rows
//! that would be deleted, and [`Sweep::run`] deletes them and returns a [`RunReport`]. An
//! [`Observer`] receives measurements, [`Progress`] is published after each chunk, and [`Stop`]
//! ends a run early. `examples/embed.rs` is a complete program.
//!
//! # The modules
//!
//! In this list, each module uses only the modules that are listed below it.
//!
//! ```text
//! check, plan, backlog::snapshot   what a run would do, and what is due
//!   └→ run                         the steps of a run
//!        run::target_run           one target
//!        run::worker               the waits between chunks
//!     └→ preflight                 whether it is safe
//!     └→ pass                      one table, for one reason: the loop that deletes
//!     └→ throttle                  reasons to wait
//!        └→ report                 results
//!        └→ connection             the two connections of a run
//!           └→ sql                 the text of every statement
//!              └→ target           what to delete, as data, and its tables in the catalog
//!                 └→ store         the reaper's own two tables
//! ```
//!
//! Read [`run`] first, and then [`pass`].
//!
//! - A run has two connections ([`connection`]). The lock connection holds the advisory locks
//!   ([`run::lock`]) and deletes rows. If this connection is lost, the locks are released and no
//!   more rows are deleted. The auxiliary connection reads the catalog, counts rows and writes the
//!   history ([`run::run_record`]).
//! - [`target::catalog`] finds the tables of a target, [`target::condition`] resolves `where`,
//!   [`target::due`] computes the cutoffs, and [`target::wall`] handles clock changes.
//! - [`pass`] deletes rows [`chunk by chunk`](pass): at a [`pace`](pass::pace), within a
//!   [`budget`](pass::budget), in a [`scan order`](pass::scan_order), and starting at a
//!   [`watermark`](pass::watermarks) if there is one.
//!
//! # Terms
//!
//! - A *target* is a table with the reasons why its rows become due. A *reason* is a column with a
//!   time, and the period for which a row is kept after this time.
//! - A row is *due* if it may be deleted now. The *cutoff* is the time before which a row is due.
//! - A *pass* is the work on one table for one reason. It deletes rows in *chunks*: each chunk is
//!   one transaction that deletes the due rows between two positions (*cursors*) in the table.
//! - A *probe* is the query that finds the end of the next chunk. The *pace* is the size of a chunk
//!   and the idle time after it.
//! - A *throttle* is a condition under which a run waits, such as a lagging replica.
//! - A row is *held* if it is due but could not be deleted, for example because of a foreign key.
//! - A *watermark* is the time up to which an earlier pass left no due rows.
//! - The *outcome* of a run or of a target is how it ended, such as `success` or `partial`.
//! - A *preset* is a built-in list of targets for a known application.

pub mod backlog;
mod check;
mod connection;
pub mod defaults;
mod error;
mod exit;
mod interrupt;
mod limits;
mod observe;
mod pass;
mod plan;
mod preflight;
mod report;
mod run;
mod sql;
mod stop;
mod stop_reason;
pub mod store;
mod target;
mod throttle;
pub mod time;

pub use backlog::snapshot::{BacklogSample, BacklogSnapshot, ReasonBacklog};
pub use backlog::state::BacklogState;
pub use check::{Checked, CheckedServer, CheckedTarget};
pub use connection::statement_bounds::StatementBounds;
pub use error::SweepError;
pub use exit::Exit;
pub use limits::Limits;
pub use observe::{BacklogCount, ChunkOutcome, HeldCause, LockAttempt, NoObserver, Observer};
pub use pass::budget::BudgetLimits;
pub use pass::pace::{LONGEST_REST, PaceLimits};
pub use plan::{Plan, PlannedReason, PlannedTarget};
pub use preflight::first_run_guard::FirstRun;
pub use preflight::{Code, Finding, Level, Rules};
pub use report::partial_report::{of_killed, partial_report};
pub use report::progress::{Progress, Running, TargetProgress, Waiting};
pub use report::run_report::{
    ChunkTimes, ReportedOutcome, ReportedWait, RunReport, TableDetail, TargetReport,
};
pub use report::spans::SPANS;
pub use run::lock::CLASS as LOCK_CLASS;
pub use run::remembered::Remembered;
pub use run::{Finished, Sweep};
pub use stop::{Signal, Stop, Stopper};
pub use store::runs::{Outcome, Trigger};
pub use store::{pause, runs, state};
pub use target::auth_api::NotAuthApi;
pub use target::literal::Literal;
pub use target::name::{Ident, TableName};
pub use target::nearest::nearest;
pub use target::{Absent, Ancient, ChildTable, Order, Reason, SetColumn, Target, Unit, history};
pub use throttle::{ReplicaLimit, ThrottleCause, ThrottleLimits};
