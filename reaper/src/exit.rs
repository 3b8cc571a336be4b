//! Exit codes: an interface for service managers and scripts. clap exits with 2 on usage errors.

use std::process::ExitCode;

use crate::stop::Signal;
use crate::stop_reason::StopReason;
use crate::store::runs::Outcome;

/// The meaning of an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Completed, or another reaper holds the lock.
    Done,
    /// Failed.
    Failed,
    /// Partly completed: a target failed, or a budget was used up while due rows were left.
    Partly,
    /// Continuing would be unsafe.
    Unsafe,
    /// The database is unreachable.
    Unreachable,
    /// The configuration is invalid, or there is none for this database.
    Misconfigured,
    /// Stopped by a signal.
    Stopped(Signal),
}

impl Exit {
    /// Returns the numeric exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Partly => 3,
            // EX_DATAERR, EX_UNAVAILABLE and EX_CONFIG in sysexits.h.
            Self::Unsafe => 65,
            Self::Unreachable => 69,
            Self::Misconfigured => 78,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }
}

impl Exit {
    /// Returns the exit code of a run that was not stopped early. `refused` is the exit code for a
    /// target that a preflight check or a guard rejected.
    pub(crate) fn of(outcome: Outcome, refused: Option<Self>, signal: Option<Signal>) -> Self {
        match outcome {
            Outcome::Success | Outcome::SkippedLock => Self::Done,
            Outcome::Partial => refused.unwrap_or(Self::Partly),
            Outcome::Paused => Self::Partly,
            Outcome::Failed => refused.unwrap_or(Self::Failed),
            Outcome::Interrupted => signal.map_or(Self::Failed, Self::Stopped),
        }
    }
}

/// The exit code of a run that could not continue for this reason.
impl From<&StopReason> for Exit {
    fn from(reason: &StopReason) -> Self {
        match reason {
            StopReason::Pooler | StopReason::Unsafe(_) => Self::Unsafe,
            StopReason::Held(_) => Self::Partly,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
