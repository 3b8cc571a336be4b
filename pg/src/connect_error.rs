//! The errors that can occur when a connection is configured or opened.

/// The reason for which a connection could not be configured or opened. The message includes all
/// causes, which the message of a `tokio_postgres::Error` does not. For an invalid certificate, for
/// example, that message is only "error performing TLS handshake".
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not usable. Contains the reason.
    #[error("DATABASE_URL is not usable: {0}")]
    Url(String),
    /// The server was not reachable or rejected the connection.
    #[error("cannot connect to PostgreSQL: {0}")]
    Connect(String),
    /// Opening the connection took longer than the time limit. The limit for each host is the
    /// `connect_timeout` in the URL. If the URL has none, the limit is
    /// [`CONNECT_TIMEOUT`](crate::connect::CONNECT_TIMEOUT).
    #[error("cannot connect to PostgreSQL: timed out")]
    Timeout,
}
