//! Classifies database errors by how a run handles them.

use std::time::Duration;

use pg::error_text::chain;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError as ServerError, SqlState};

use crate::sql::identity::{Changed, NOT_OURS};

/// A database error, classified by how a run handles it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DbError {
    /// `lock_timeout` or `statement_timeout` was reached. The chunk (the rows that one transaction
    /// deletes) is retried with fewer rows.
    Timeout(Bound),
    /// A deadlock or a serialization failure. The chunk is retried with the same rows.
    Conflict(String),
    /// The connection was lost, and therefore the locks were released.
    Lost(String),
    /// The statement reached a server process that does not hold the locks, because a pooler (a
    /// proxy that shares server connections) routed it there.
    Pooler,
    /// The table does not exist anymore.
    Gone(String),
    /// A table was altered or replaced since the run began.
    Changed(Changed),
    /// The server rejected the chunk because of the contents of a row.
    Rejected(Rejection),
    /// Any other error. The work on the target ends.
    Other(String),
}

/// An error that depends on the contents of rows. The class of its SQLSTATE is 22 (a data
/// exception), 23 (the violation of a constraint) or P0 (an error that a function raises).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection {
    /// The SQLSTATE.
    pub(crate) code: String,
    pub(crate) why: String,
    /// The foreign key that was violated; `None` if the error is not such a violation.
    pub(crate) foreign_key: Option<Constraint>,
}

/// The name of a constraint, and the schema and the name of its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) name: String,
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout(bound) => write!(f, "{bound} reached"),
            Self::Pooler => f.write_str("the statement reached another server process"),
            Self::Changed(changed) => {
                write!(f, "changed since the run began: {}", changed.as_str())
            }
            Self::Rejected(rejection) => f.write_str(&rejection.why),
            Self::Conflict(why) | Self::Lost(why) | Self::Gone(why) | Self::Other(why) => {
                f.write_str(why)
            }
        }
    }
}

/// The timeout that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Lock,
    Statement,
    /// The server interrupted the statement: `statement_timeout` was reached, or another session
    /// canceled the statement. The error does not show which.
    StatementOrCancel,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lock => "LOCK_TIMEOUT",
            Self::Statement | Self::StatementOrCancel => "STATEMENT_TIMEOUT",
        })
    }
}

impl DbError {
    /// Distinguishes a timeout from a cancellation by another session. If a statement was
    /// interrupted before `timeout` had passed, another session canceled it. `elapsed` is at least
    /// the duration of the statement.
    pub(crate) fn after(self, elapsed: Duration, timeout: Duration) -> Self {
        match self {
            Self::Timeout(Bound::StatementOrCancel) if elapsed < timeout => Self::Conflict(
                "another session canceled the statement (pg_cancel_backend)".to_owned(),
            ),
            Self::Timeout(Bound::StatementOrCancel) => Self::Timeout(Bound::Statement),
            other => other,
        }
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl DbError {
    pub(crate) fn of(error: &Error) -> Self {
        let text = chain(error);
        // `text` omits a message that may quote a row. The original message is needed to recognize
        // the errors that session-reaper's own statements raise.
        let message = error.as_db_error().map(ServerError::message).unwrap_or_default();
        let Some(code) = error.code() else {
            // An error without a code does not come from the server: the connection ended, or the
            // protocol was violated.
            return Self::Lost(text);
        };
        match *code {
            SqlState::LOCK_NOT_AVAILABLE => Self::Timeout(Bound::Lock),
            SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => {
                Self::Conflict(text)
            }
            SqlState::QUERY_CANCELED => {
                // A function may also raise this error. The name of the server's function does not
                // depend on the language of the messages.
                let routine = error.as_db_error().and_then(ServerError::routine);
                Self::Timeout(if routine == Some("ProcessInterrupts") {
                    Bound::StatementOrCancel
                } else {
                    Bound::Statement
                })
            }
            SqlState::INVALID_TEXT_REPRESENTATION if message.contains(NOT_OURS) => Self::Pooler,
            SqlState::INVALID_TEXT_REPRESENTATION if let Some(changed) = Changed::of(message) => {
                Self::Changed(changed)
            }
            // A prepared statement does not exist in this server process, or the name of a new
            // prepared statement is already in use: a pooler has switched to another server
            // process.
            SqlState::UNDEFINED_PSTATEMENT | SqlState::DUPLICATE_PSTATEMENT => Self::Pooler,
            SqlState::UNDEFINED_TABLE => Self::Gone(text),
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::CONNECTION_EXCEPTION
            | SqlState::CONNECTION_DOES_NOT_EXIST
            | SqlState::CONNECTION_FAILURE
            | SqlState::DATABASE_DROPPED
            | SqlState::IDLE_SESSION_TIMEOUT
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Lost(text),
            _ if ["22", "23", "P0"].iter().any(|class| code.code().starts_with(class)) => {
                let violates =
                    matches!(*code, SqlState::FOREIGN_KEY_VIOLATION | SqlState::RESTRICT_VIOLATION);
                let foreign_key = error.as_db_error().filter(|_| violates).and_then(|error| {
                    let text = |part: Option<&str>| part.map(str::to_owned);
                    Some(Constraint {
                        schema: text(error.schema())?,
                        table: text(error.table())?,
                        name: text(error.constraint())?,
                    })
                });
                Self::Rejected(Rejection { code: code.code().to_owned(), why: text, foreign_key })
            }
            _ => Self::Other(text),
        }
    }
}
