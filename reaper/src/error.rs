//! The errors because of which a run, a plan or a check cannot start or complete.

use std::time::Duration;

use pg::connect::ConnectError;
use pg::error_text::chain;
use tokio_postgres::Error;

use crate::exit::Exit;
use crate::interrupt::Interrupted;
use crate::stop::Signal;
use crate::store::runs::Outcome;
use crate::target::auth_api::NotAuthApi;

/// The reason why a run, a plan or a check could not start or complete.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database cannot be reached, or the connection was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A shutdown was requested while the run was connecting.
    #[error("stopped by {0} while connecting to the database")]
    Stopped(Signal),
    /// The maximum runtime was over while the run was connecting.
    #[error("MAX_RUNTIME ({}) was used up while connecting to the database", humantime::format_duration(*.0))]
    OutOfTime(Duration),
    /// There is no configuration, and the built-in targets do not apply to this database.
    #[error(transparent)]
    NotAuthApi(#[from] NotAuthApi),
}

impl SweepError {
    /// Returns the error for a database that could be reached but then failed to respond.
    pub(crate) fn lost(error: &Error) -> Self {
        Self::Connect(ConnectError::Connect(chain(error)))
    }

    /// Returns the outcome (how the run ended, for logs and metrics) of a run that ended with this
    /// error.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Stopped(_) => Outcome::Interrupted,
            Self::OutOfTime(_) => Outcome::Partial,
            Self::Connect(_) | Self::NotAuthApi(_) => Outcome::Failed,
        }
    }

    /// Returns the exit code of the process.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connect(_) => Exit::Unreachable,
            Self::Stopped(signal) => Exit::Stopped(*signal),
            Self::OutOfTime(_) => Exit::Unfinished,
            Self::NotAuthApi(_) => Exit::Misconfigured,
        }
    }

    /// Returns the name of the event in logs. The name does not depend on the wording of the error.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::Connect(_) => "database_unreachable",
            Self::Stopped(_) => "run_interrupted_while_connecting",
            Self::OutOfTime(_) => "runtime_used_up_while_connecting",
            Self::NotAuthApi(_) => "not_configured",
        }
    }
}

impl From<Interrupted> for SweepError {
    fn from(interrupted: Interrupted) -> Self {
        match interrupted {
            Interrupted::Signal(signal) => Self::Stopped(signal),
            Interrupted::Runtime(runtime) => Self::OutOfTime(runtime),
        }
    }
}
