//! Why there is no run, plan or check to report on.

use schema::connect::{ConnectError, chain};
use tokio_postgres::Error;

use super::auth_api::NotAuthApi;
use crate::exit::Exit;

/// Nothing was done, and why.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The database cannot be reached, or was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nobody configured the targets, and they do not apply to this database.
    #[error(transparent)]
    NotAuthApi(#[from] NotAuthApi),
}

impl SweepError {
    /// The database was reached, and then failed to answer.
    pub(super) fn lost(error: &Error) -> Self {
        Self::Connect(ConnectError::Connect(chain(error)))
    }

    /// What the process should end with.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Connect(_) => Exit::Unreachable,
            Self::NotAuthApi(_) => Exit::Misconfigured,
        }
    }

    /// Its name in logs, which does not change with its wording.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::Connect(_) => "database_unreachable",
            Self::NotAuthApi(_) => "not_configured",
        }
    }
}
