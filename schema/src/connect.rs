//! Connections to PostgreSQL: TLS, a time limit on every wait, and a name in `pg_stat_activity`.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::task::AbortHandle;
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How to connect to the database, and the settings and time limits of its connections.
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
    /// The server took longer than `connect_timeout` of the URL, or [`CONNECT_TIMEOUT`].
    #[error("cannot connect to PostgreSQL: timed out")]
    Timeout,
}

/// Time limit for connecting. It is long enough for a TLS handshake between regions, and short
/// enough to report an unreachable host while an operator is watching.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl ConnectOptions {
    /// Parses `url`, in libpq's URL or key-value form. `sslmode` has libpq's meaning: `disable`,
    /// `prefer` and `require` at most encrypt, and `verify-full` also verifies the certificate
    /// against the system's root certificates.
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
        // If the peer disappears without a FIN, this is detected within a minute instead of two
        // hours while waiting for a response, and within 15 seconds while waiting for an
        // acknowledgement.
        config.keepalives_idle(Duration::from_secs(30));
        config.keepalives_interval(Duration::from_secs(10));
        config.keepalives_retries(3);
        config.tcp_user_timeout(Duration::from_secs(15));
        Ok(Self { config, tls: tls(verify)?, settings: String::new() })
    }

    /// Adds a setting for each new connection, for example `("statement_timeout", "5s")`.
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
    pub(crate) async fn open(
        &self,
    ) -> Result<(Client, Connection<Socket, TlsStream>), ConnectError> {
        // Each host has its own time limit. The driver does not limit the handshake, which gets the
        // rest of the total.
        let hosts = self.config.get_hosts().len().max(self.config.get_hostaddrs().len()).max(1);
        let each = self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
        let deadline = each * u32::try_from(hosts).unwrap_or(1);
        tokio::time::timeout(deadline, self.config.connect(self.tls.clone()))
            .await
            .map_err(|_| ConnectError::Timeout)?
            .map_err(|e| ConnectError::Connect(chain(&e)))
    }

    /// Returns the settings as one batch, to be sent once the connection is polled.
    pub(crate) fn settings(&self) -> &str {
        &self.settings
    }

    /// Opens a connection outside any pool. A task of the current runtime drives it, and it closes
    /// when the [`Client`] is dropped.
    pub async fn connect(&self) -> Result<Client, ConnectError> {
        self.connect_with_driver().await.map(|(client, _driver)| client)
    }

    /// Opens a connection like [`connect`](Self::connect), and also returns a handle of the task
    /// that drives it. Aborting the task closes the connection immediately, and all queries on it
    /// fail. This is how a query is abandoned if the server does not respond.
    pub async fn connect_with_driver(&self) -> Result<(Client, AbortHandle), ConnectError> {
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
        Ok((client, driver.abort_handle()))
    }
}

/// Parses libpq's URL or key-value form. The driver does not support `verify-full`, which [`tls`]
/// implements.
fn parse(url: &str) -> Result<Config, tokio_postgres::Error> {
    url.replace("sslmode=verify-full", "sslmode=require").parse()
}

/// Returns whether the URL or key-value form of a database contains a password, or `None` if it
/// cannot be parsed.
#[must_use]
pub fn has_password(url: &str) -> Option<bool> {
    parse(url).ok().map(|config| config.get_password().is_some())
}

type TlsStream = <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<Socket>>::Stream;

/// Formats an error and all its causes on one line. Values of rows in errors of the server are
/// omitted, and control characters are escaped, because the text is written to logs and terminals.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = escaped(&error.to_string());
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.downcast_ref().map_or_else(|| escaped(&inner.to_string()), reported);
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// Formats an error of the server. DETAIL, CONTEXT and HINT, which quote rows, are replaced by the
/// table, the constraint and the SQLSTATE. The messages of data exceptions (class 22) are replaced,
/// too, because they quote the value that could not be read.
fn reported(error: &DbError) -> String {
    use std::fmt::Write as _;
    let (code, message) = (error.code(), error.message());
    let quotes = code.code().starts_with("22") && *code != SqlState::DIVISION_BY_ZERO;
    let message = if quotes { "a value could not be read, or is out of range" } else { message };
    let mut text = format!("{}: {}", error.severity(), escaped(message));
    for (what, name) in [("constraint", error.constraint()), ("table", error.table())] {
        if let Some(name) = name.filter(|name| !message.contains(*name)) {
            // Writing to a String cannot fail.
            let _ = write!(text, ", {what} {}", escaped(name));
        }
    }
    let _ = write!(text, " (SQLSTATE {})", code.code());
    text
}

/// Escapes control characters, and characters that change the direction of text, as `\u{1b}`.
#[must_use]
pub fn escaped(text: &str) -> String {
    if !text.contains(is_hidden) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Returns whether a character is a control character, separates lines, or sets the direction of
/// text.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn tls(verify: bool) -> Result<MakeRustlsConnect, ConnectError> {
    // rustls panics if it must choose between several compiled-in providers, so install ours.
    let _ = aws_lc_rs::default_provider().install_default();
    if verify {
        return MakeRustlsConnect::with_native_certs().map(|(tls, _skipped)| tls).map_err(|e| {
            ConnectError::Url(format!("no system certificates for sslmode=verify-full: {e:?}"))
        });
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectError::Url(chain(&e)))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(EncryptOnly(provider)))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// A verifier for libpq's `sslmode=prefer` and `require`, which encrypt without authenticating the
/// server. A stricter default would lock out users of Debian, whose server certificate is
/// self-signed. `verify-full` is available.
#[derive(Debug)]
struct EncryptOnly(Arc<CryptoProvider>);

impl ServerCertVerifier for EncryptOnly {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
