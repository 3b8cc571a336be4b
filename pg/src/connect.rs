//! Opens connections to PostgreSQL with TLS, time limits, and a name in `pg_stat_activity`.

use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_postgres::config::Host;
use tokio_postgres::{CancelToken, Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

pub use crate::connect_error::ConnectError;
use crate::error_text::chain;
use crate::tls::{TlsStream, tls};

/// The parameters for connecting to a database, and the settings and time limits of each
/// connection.
#[derive(Clone)]
pub struct ConnectOptions {
    config: Config,
    tls: MakeRustlsConnect,
    settings: String,
}

impl std::fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The URL may contain a password.
        f.write_str("ConnectOptions(…)")
    }
}

/// The location of a database, without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The name of the database.
    pub name: String,
    /// The host name, the address or the socket directory. Several hosts are separated by commas,
    /// and each is followed by its port if the ports differ.
    pub host: String,
    /// The port; `None` if there are several hosts with different ports.
    pub port: Option<u16>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} on {}", self.name, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The port of a connection string without a port.
const DEFAULT_PORT: u16 = 5432;

/// The time limit for connecting. It is long enough for a TLS handshake between two regions of a
/// cloud provider. It is also short enough that an operator who starts a program sees that the host
/// is unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl ConnectOptions {
    /// Parses `url`, in libpq's URL or key-value form. `sslmode` has libpq's meaning: `disable`
    /// does not encrypt; `prefer` encrypts if the server supports TLS; `require` always encrypts;
    /// and `verify-full` also verifies the certificate against the system's root certificates.
    /// `prefer` and `require` do not verify the certificate.
    ///
    /// An `application_name` in the URL takes precedence over the argument.
    pub fn new(url: &str, application_name: &str) -> Result<Self, ConnectError> {
        let verify = url.contains("sslmode=verify-full");
        let mut config = parse(url).map_err(|e| ConnectError::Url(chain(&e)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(ConnectError::Url("it does not contain a host".into()));
        }
        if config.get_application_name().is_none() {
            config.application_name(application_name);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        // Detect a peer that disappears without a FIN: within a minute (instead of two hours) while
        // waiting for a response, and within 15 seconds while waiting for an acknowledgment.
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3);
        config.tcp_user_timeout(Duration::from_secs(15));
        Ok(Self { config, tls: tls(verify)?, settings: String::new() })
    }

    /// Returns the name of the database.
    #[must_use]
    pub fn database_name(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or_default()
    }

    /// Describes the database without credentials: its name, host and port.
    #[must_use]
    pub fn database(&self) -> String {
        self.address().to_string()
    }

    /// Returns the name, the host and the port of the database.
    #[must_use]
    pub fn address(&self) -> Address {
        let names = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let mut hosts: Vec<String> = names.collect();
        if hosts.is_empty() {
            hosts = self.config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        // As in libpq, there is either one port for all hosts, or one for each host.
        let ports = self.config.get_ports();
        let first = ports.first().copied().unwrap_or(DEFAULT_PORT);
        let port = ports.iter().all(|port| *port == first).then_some(first);
        if port.is_none() {
            for (host, port) in hosts.iter_mut().zip(ports) {
                *host = format!("{host}:{port}");
            }
        }
        let name = self.database_name();
        Address { name: name.to_owned(), host: hosts.join(","), port }
    }

    /// Adds a setting that each new connection gets, such as `("statement_timeout", "5s")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        use std::fmt::Write as _;
        let value = value.replace('\'', "''");
        // Writing to a String cannot fail.
        let _ = write!(self.settings, "SET {name} = '{value}';");
        self
    }

    /// Opens a connection. The caller must poll the returned [`Connection`], and must apply
    /// [`settings`](Self::settings).
    pub async fn open(&self) -> Result<(Client, Connection<Socket, TlsStream>), ConnectError> {
        // The driver applies the time limit to the TCP connection to each host, but not to the TLS
        // handshake. Therefore, one deadline also limits the time for all hosts together, including
        // the TLS handshakes.
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let deadline = each * u32::try_from(hosts).unwrap_or(1);
        tokio::time::timeout(deadline, self.config.connect(self.tls.clone()))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|e| ConnectError::Connect(chain(&e)))
    }

    /// Returns the settings as one batch of statements. Send the batch after a task has started to
    /// poll the connection.
    #[must_use]
    pub fn settings(&self) -> &str {
        &self.settings
    }

    /// Opens a connection outside any pool. A background task of the current runtime reads from and
    /// writes to the socket. The connection closes when the [`Client`] is dropped.
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        self.connect_with_driver().await.map(|(client, _driver)| client)
    }

    /// Opens a connection like [`connect`](Self::connect), and also returns its [`Driver`].
    pub async fn connect_with_driver(&self) -> Result<(Client, Driver), ConnectError> {
        let (client, connection) = self.open().await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(
                    event = "database_connection_closed",
                    error = chain(&error),
                    "database connection closed"
                );
            }
        });
        if !self.settings.is_empty() {
            tokio::time::timeout(CONNECT_TIMEOUT, client.batch_execute(&self.settings))
                .await
                .map_err(|_| ConnectError::Timeout)?
                .map_err(|e| ConnectError::Connect(chain(&e)))?;
        }
        let cancel = client.cancel_token();
        Ok((client, Driver { task: driver.abort_handle(), cancel, tls: self.tls.clone() }))
    }
}

/// The task that reads from and writes to the socket of a connection. Callers use it to abandon a
/// query.
#[derive(Clone)]
pub struct Driver {
    task: AbortHandle,
    cancel: CancelToken,
    tls: MakeRustlsConnect,
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver(…)")
    }
}

impl Driver {
    /// Closes the connection immediately. All queries on the connection fail.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Requests that the server cancel the statement that it is executing on the connection. The
    /// statement fails with the SQLSTATE 57014. The request uses a connection of its own. The
    /// statement may also complete before the request arrives.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.cancel.cancel_query(self.tls.clone()))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|e| ConnectError::Connect(chain(&e)))
    }
}

/// Parses libpq's URL or key-value form. The driver does not support `sslmode=verify-full`, so
/// [`tls`] implements this mode.
fn parse(url: &str) -> Result<Config, tokio_postgres::Error> {
    url.replace("sslmode=verify-full", "sslmode=require").parse()
}

/// Returns whether a connection string (URL or key-value form) contains a password, or `None` if
/// the string cannot be parsed.
#[must_use]
pub fn has_password(url: &str) -> Option<bool> {
    parse(url).ok().map(|config| config.get_password().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_contains_no_credentials() {
        for (url, expected) in [
            ("postgres://ada:secret@db-1/app", "app on db-1:5432"),
            ("postgres://ada:secret@db-1:6432,db-2:5433/app", "app on db-1:6432,db-2:5433"),
            ("postgres://ada@db-1,db-2/app", "app on db-1,db-2:5432"),
            ("host=/run/postgresql user=ada password=secret", "ada on /run/postgresql:5432"),
            ("hostaddr=10.0.0.1 port=5433 dbname=app", "app on 10.0.0.1:5433"),
        ] {
            assert_eq!(ConnectOptions::new(url, "test").unwrap().database(), expected);
        }
    }
}
