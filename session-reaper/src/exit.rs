//! What the process ends with: an interface for supervisors and scripts. Usage errors end with 2,
//! by clap.

use std::process::ExitCode;

use crate::stop::Signal;

/// An exit code, by its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; also when another reaper was at it.
    Done,
    /// Failed.
    Failed,
    /// Partly done: a target failed, or the budget ran out with rows left.
    Partly,
    /// It would not be safe to go on.
    Unsafe,
    /// The database cannot be reached.
    Unreachable,
    /// The configuration has errors, or there is none for this database.
    Misconfigured,
    /// A signal asked for it.
    Stopped(Signal),
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Partly => 3,
            // EX_DATAERR, EX_UNAVAILABLE, EX_CONFIG of sysexits.h.
            Self::Unsafe => 65,
            Self::Unreachable => 69,
            Self::Misconfigured => 78,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
