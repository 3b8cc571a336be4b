//! What an error of the database means for the loop.

use schema::connect::chain;
use tokio_postgres::Error;
use tokio_postgres::error::{DbError as ServerError, SqlState};

use super::identity::{Changed, NOT_OURS};

/// What an error means for the loop.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DbError {
    /// `lock_timeout` or `statement_timeout` struck: smaller, and again.
    Timeout(Bound),
    /// Two transactions could not both go on, and ours gave way: the same again.
    Conflict(String),
    /// The connection, and with it the lock, is gone.
    Lost(String),
    /// Another server process answered than the one that holds the lock.
    Pooler,
    /// The table is not there any more.
    Gone(String),
    /// A table is not what it was when the run began.
    Changed(Changed),
    /// Anything else: this target is not to be worked on.
    Other(String),
}

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout(bound) => write!(f, "{bound} reached"),
            Self::Pooler => f.write_str("another server process answered"),
            Self::Changed(changed) => {
                write!(f, "changed since the run began: {}", changed.as_str())
            }
            Self::Conflict(why) | Self::Lost(why) | Self::Gone(why) | Self::Other(why) => {
                f.write_str(why)
            }
        }
    }
}

/// Which bound struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Lock,
    Statement,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Lock => "LOCK_TIMEOUT",
            Self::Statement => "STATEMENT_TIMEOUT",
        })
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        Self::of(&error)
    }
}

impl DbError {
    pub(super) fn of(error: &Error) -> Self {
        let text = chain(error);
        // What is left out of the text where it may quote a row, and what our own statements raise.
        let message = error.as_db_error().map(ServerError::message).unwrap_or_default();
        let Some(code) = error.code() else {
            // What is no answer of the server's is an end of the connection, or a breach of its
            // protocol.
            return Self::Lost(text);
        };
        match *code {
            SqlState::LOCK_NOT_AVAILABLE => Self::Timeout(Bound::Lock),
            SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => {
                Self::Conflict(text)
            }
            SqlState::QUERY_CANCELED => Self::Timeout(Bound::Statement),
            SqlState::INVALID_TEXT_REPRESENTATION if message.contains(NOT_OURS) => Self::Pooler,
            SqlState::INVALID_TEXT_REPRESENTATION if let Some(changed) = Changed::of(message) => {
                Self::Changed(changed)
            }
            // A statement that we prepared is unknown, or one that we have yet to prepare is known.
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
            _ => Self::Other(text),
        }
    }
}
