//! The errors of connecting.

/// Why a connection could not be configured or opened. The message contains the whole chain of
/// causes, which `tokio_postgres::Error` does not print: it would only report "error performing TLS
/// handshake" for an invalid certificate.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not usable, for this reason.
    #[error("DATABASE_URL is not usable: {0}")]
    Url(String),
    /// The server was not reachable or rejected the connection.
    #[error("cannot connect to PostgreSQL: {0}")]
    Connect(String),
    /// The server took longer than `connect_timeout` of the URL, or [`CONNECT_TIMEOUT`](crate::connect::CONNECT_TIMEOUT).
    #[error("cannot connect to PostgreSQL: timed out")]
    Timeout,
}
