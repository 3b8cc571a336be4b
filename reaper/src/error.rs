//! Errors that prevent a run, a plan or a check.

use pg::connect::ConnectError;
use pg::error_text::chain;
use tokio_postgres::Error;

use crate::exit::Exit;
use crate::target::auth_api::NotAuthApi;

/// The reason why a run, a plan or a check could not start or complete.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database cannot be reached, or the connection was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There is no configuration, and the built-in targets do not apply to this database.
    #[error(transparent)]
    NotAuthApi(#[from] NotAuthApi),
}

impl SweepError {
    /// Returns the error for a database that could be reached but then failed to respond.
    pub(crate) fn lost(error: &Error) -> Self {
        Self::Connect(ConnectError::Connect(chain(error)))
    }

    /// Returns the exit code of the process.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connect(_) => Exit::Unreachable,
            Self::NotAuthApi(_) => Exit::Misconfigured,
        }
    }

    /// Returns the name of the event in logs. The name does not depend on the wording of the error.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::Connect(_) => "database_unreachable",
            Self::NotAuthApi(_) => "not_configured",
        }
    }
}
