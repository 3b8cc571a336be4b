//! The reasons why a run stops its work before everything is examined.

use std::fmt;

use crate::store::runs::Outcome;

use crate::connection::db_error::DbError;
use crate::interrupt::Interrupted;
use crate::pass::budget::BudgetLimit;
use crate::stop::Signal;
use crate::throttle::{ThrottleCause, ThrottleReason};

/// The reason that ended a run, the work on a target, or a pass (the work on one table for one
/// reason).
#[derive(Clone, Debug)]
pub(crate) enum StopReason {
    /// The process received a signal.
    Signal(Signal),
    /// A limit of the run was reached.
    Budget(BudgetLimit),
    /// The run was throttled for as long as the named setting allows.
    Throttled(ThrottleReason, String),
    /// Another reaper holds the lock of the target. Contains a description of that reaper, if
    /// known.
    Locked(Option<String>),
    /// Another reaper acquired the lock while the connection was lost.
    TakenOver,
    /// The target cannot be processed, but other targets can.
    Failed(String),
    /// The table no longer exists.
    TableGone(String),
    /// The lock connection was lost, and the locks were released.
    ConnectionLost(String),
    /// A pooler connects each transaction to an arbitrary server process.
    Pooler,
    /// A preflight check found the target or the server unsafe, or the first run would delete
    /// nearly all rows of the table.
    Unsafe(String),
    /// The every-run guard rejected the target: nearly all rows would be deleted, although earlier
    /// runs each deleted less than half of the table.
    Held(String),
}

const POOLER: &str = "a transaction-pooling proxy stands between session-reaper and PostgreSQL: the statements of \
     session-reaper reach different server processes, so its lock protects nothing. Nothing was deleted without the lock. \
     Connect to PostgreSQL directly, or through a pooler in session mode";

impl StopReason {
    /// Returns the outcome of a target (how it ended) that stopped for this reason while due rows
    /// were left.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Signal(_) => Outcome::Interrupted,
            Self::Throttled(reason, _) if reason.cause == ThrottleCause::Pause => Outcome::Paused,
            Self::Budget(_) | Self::Throttled(..) | Self::TakenOver => Outcome::Partial,
            Self::Locked(_) => Outcome::SkippedLock,
            Self::Failed(_)
            | Self::TableGone(_)
            | Self::ConnectionLost(_)
            | Self::Pooler
            | Self::Unsafe(_)
            | Self::Held(_) => Outcome::Failed,
        }
    }

    /// Returns whether the target stopped only because the whole run must end.
    pub(crate) fn is_of_the_run(&self) -> bool {
        matches!(self, Self::Signal(_) | Self::Budget(_) | Self::Throttled(..))
    }

    /// Returns the reason for a failed step of the preparation, such as "the locks could not be
    /// taken".
    pub(crate) fn failed_to(step: &str, error: DbError) -> Self {
        match error {
            DbError::Pooler => Self::Pooler,
            error => Self::Failed(format!("{step}: {error}")),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "stopped by {signal}"),
            Self::Budget(limit) => write!(f, "{limit} is used up and due rows are left"),
            Self::Throttled(reason, limit) => {
                write!(f, "throttled until {limit} was reached: {reason}")
            }
            Self::Locked(None) => f.write_str("another reaper holds the lock"),
            Self::Locked(Some(holder)) => write!(f, "another reaper holds the lock: {holder}"),
            Self::TakenOver => {
                f.write_str("another reaper took the lock while the connection was lost")
            }
            Self::Pooler => f.write_str(POOLER),
            Self::Failed(why)
            | Self::TableGone(why)
            | Self::ConnectionLost(why)
            | Self::Unsafe(why)
            | Self::Held(why) => f.write_str(why),
        }
    }
}

impl From<Interrupted> for StopReason {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Signal(signal) => Self::Signal(signal),
            Interrupted::Runtime(runtime) => Self::Budget(BudgetLimit::Runtime(runtime)),
        }
    }
}

impl From<DbError> for StopReason {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Lost(why) => Self::ConnectionLost(why),
            DbError::Pooler => Self::Pooler,
            DbError::Gone(why) => Self::TableGone(why),
            DbError::Changed(_) => Self::TableGone(error.to_string()),
            DbError::Rejected(rejection) => Self::Failed(rejection.why),
            DbError::Conflict(why) | DbError::Other(why) => Self::Failed(why),
            DbError::Timeout(bound) => Self::Failed(format!("{bound} reached")),
        }
    }
}

impl From<tokio_postgres::Error> for StopReason {
    fn from(error: tokio_postgres::Error) -> Self {
        DbError::from(error).into()
    }
}
