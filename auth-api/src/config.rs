//! The configuration: `options` defines flags and environment variables, `check` validates them
//! once, and `config_errors` collects all errors, so that they are reported together.

mod bounds;
mod check;
mod config_errors;
mod defaults;
mod grace;
mod limits;
mod options;
mod proxies;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use hardening::ops_hosts::OpsHosts;
use pg::connect::ConnectOptions;
use schema::pool::PoolOptions;

pub use self::bounds::Bounds;
pub use self::config_errors::ConfigError;
pub(crate) use self::config_errors::parse_file;
pub use self::options::{ClientsOptions, DatabaseOptions, Options};
pub(crate) use self::proxies::network_of;
pub use self::proxies::{InvalidProxies, InvalidProxyHeader, ProxyHeader, TrustedProxies};
use crate::admin::AdminToken;
use crate::credentials::Secrets;
use crate::credentials::clients::Clients;
use crate::domain::{Lifetimes, Network, PublicUrl};
use crate::limits::Quotas;
use crate::redis::RedisConfig;

/// A valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Settings for PostgreSQL.
    pub database: DatabaseConfig,
    /// Settings for Redis.
    pub redis: RedisConfig,
    /// Address of the API.
    pub bind: SocketAddr,
    /// Address of the operations port, which serves health and metrics.
    pub ops_bind: SocketAddr,
    /// Hosts that the operations port and the operators' endpoints accept in `Host`.
    pub ops_hosts: OpsHosts,
    /// Address of the operators' endpoints, which are served only if there is an `admin_token`.
    pub admin_bind: SocketAddr,
    /// Token that operators present. `None` if the operators' endpoints are disabled.
    pub admin_token: Option<AdminToken>,
    /// File that `admin_token` was read from, if any.
    pub admin_token_file: Option<PathBuf>,
    /// Public URL of the API.
    pub public_url: PublicUrl,
    /// Stellar network of the wallets.
    pub network: Network,
    /// Secrets that authenticate challenges and tokens.
    pub secrets: Secrets,
    /// File that `secrets` was read from, if any.
    pub auth_secret_file: Option<PathBuf>,
    /// Services that may introspect and revoke tokens.
    pub clients: Clients,
    /// File that `clients` was read from, if any.
    pub clients_file: Option<PathBuf>,
    /// Directory of the signing keys.
    pub signing_keys_dir: PathBuf,
    /// Minimum age at which a key signs tokens.
    pub signing_key_delay: Duration,
    /// `iss` claim of access tokens.
    pub issuer: String,
    /// `aud` claim of access tokens.
    pub audience: String,
    /// Lifetimes of credentials and sessions.
    pub lifetimes: Lifetimes,
    /// Origins whose pages may use the API with a cookie, in addition to the origin of
    /// `public_url`.
    pub allowed_origins: Vec<String>,
    /// Whether cookies are also sent over plain HTTP.
    pub cookie_insecure: bool,
    /// Whether the demo page is served.
    pub demo: bool,
    /// A session is revoked if retries from other networks occur for this number of consecutive
    /// refresh tokens. If 0, this check is disabled.
    pub foreign_generations: u16,
    /// Maximum number of live sessions per account.
    pub session_limit: u32,
    /// Interval between two rebuilds of the denylist, the list of revoked sessions in Redis.
    pub denylist_sync_interval: Duration,
    /// Rate limits. `None` if rate limits are disabled.
    pub rate_limit: Option<Quotas>,
    /// Proxies whose forwarding headers are trusted.
    pub trusted_proxies: TrustedProxies,
    /// Limits on connections and requests.
    pub bounds: Bounds,
    /// Time limit for requests in progress at shutdown.
    pub shutdown_timeout: Duration,
}

/// Settings for PostgreSQL, with a time limit on every wait for the server.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Connection options with statement timeouts.
    pub connect: ConnectOptions,
    /// Connection options without statement timeouts, for migrations, which may take arbitrarily
    /// long.
    pub owner: ConnectOptions,
    /// Size and timeouts of the connection pool.
    pub pool: PoolOptions,
    statement_timeout: Duration,
}

/// Settings for the commands that manage accounts.
#[derive(Clone, Debug)]
pub struct AccountsConfig {
    /// Settings for PostgreSQL.
    pub database: DatabaseConfig,
    /// Settings for Redis.
    pub redis: RedisConfig,
    /// Stellar network of the wallets.
    pub network: Network,
}

impl DatabaseConfig {
    /// Opens a single connection, for a command.
    pub async fn open(&self) -> Result<AsyncPgConnection, ConnectionError> {
        schema::pool::connect(&self.connect).await
    }

    /// Returns the time after which a query, or a transaction with several queries, is abandoned
    /// because the server has not responded. It is twice the server's own statement timeout, plus
    /// one second for the network.
    #[must_use]
    pub fn query_bound(&self) -> Duration {
        self.statement_timeout * 2 + Duration::from_secs(1)
    }
}

/// Formats a duration in the syntax of the settings. The humantime library would write 90 days as
/// months.
fn duration(duration: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    let seconds = duration.as_secs();
    if seconds > 0 && seconds.is_multiple_of(DAY) && duration.subsec_nanos() == 0 {
        return format!("{}d", seconds / DAY);
    }
    humantime::format_duration(duration).to_string().replace(' ', "")
}

impl fmt::Display for Config {
    /// Writes the effective configuration as `NAME=value` lines, with secrets redacted. These
    /// lines are the output of `auth-api config`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lifetimes = &self.lifetimes;
        let path = |path: Option<&PathBuf>| {
            path.map(|path| path.display().to_string()).unwrap_or_default()
        };
        let lines = [
            ("DATABASE_URL", "[redacted]".into()),
            ("DATABASE_POOL_SIZE", self.database.pool.size.to_string()),
            ("DATABASE_CHECKOUT_TIMEOUT", duration(self.database.pool.checkout_timeout)),
            ("DATABASE_STATEMENT_TIMEOUT", duration(self.database.statement_timeout)),
            ("DATABASE_IDLE_TIMEOUT", duration(self.database.pool.idle_timeout)),
            ("REDIS_URL", "[redacted]".into()),
            ("REDIS_PREFIX", self.redis.prefix.clone()),
            ("REDIS_TIMEOUT", duration(self.redis.timeout)),
            ("BIND", self.bind.to_string()),
            ("OPS_BIND", self.ops_bind.to_string()),
            ("OPS_HOSTS", self.ops_hosts.to_string()),
            ("ADMIN_BIND", self.admin_bind.to_string()),
            ("ADMIN_TOKEN_FILE", path(self.admin_token_file.as_ref())),
            ("PUBLIC_URL", self.public_url.uri.clone()),
            ("STELLAR_NETWORK", self.network.caip2().trim_start_matches("stellar:").into()),
            ("AUTH_SECRET", "[redacted]".into()),
            ("SIGNING_KEYS_DIR", self.signing_keys_dir.display().to_string()),
            ("SIGNING_KEY_DELAY", duration(self.signing_key_delay)),
            ("INTROSPECTION_CLIENTS_FILE", path(self.clients_file.as_ref())),
            ("ISSUER", self.issuer.clone()),
            ("AUDIENCE", self.audience.clone()),
            ("ACCESS_TOKEN_TTL", duration(lifetimes.access_token)),
            ("SESSION_TTL", duration(lifetimes.session)),
            ("SESSION_MAX_AGE", duration(lifetimes.session_max_age)),
            ("EXTEND_THRESHOLD", duration(lifetimes.extend_threshold)),
            ("CHALLENGE_TTL", duration(lifetimes.challenge)),
            ("REFRESH_REUSE_GRACE", duration(lifetimes.reuse_grace)),
            ("STEP_UP_AGE", lifetimes.step_up.map_or_else(|| "off".to_owned(), duration)),
            ("REFRESH_FOREIGN_GENERATIONS", self.foreign_generations.to_string()),
            ("SESSION_LIMIT", self.session_limit.to_string()),
            ("ALLOWED_ORIGINS", self.allowed_origins.join(",")),
            ("COOKIE_INSECURE", u8::from(self.cookie_insecure).to_string()),
            ("DEMO", u8::from(self.demo).to_string()),
            ("DENYLIST_SYNC_INTERVAL", duration(self.denylist_sync_interval)),
            ("SHUTDOWN_TIMEOUT", duration(self.shutdown_timeout)),
        ];
        let limits = limits::lines(self.rate_limit.as_ref());
        let proxies = [
            ("TRUSTED_PROXIES", self.trusted_proxies.to_string()),
            ("PROXY_HEADER", self.trusted_proxies.header().name().to_string()),
        ];
        let mut lines = lines.into_iter().chain(limits).chain(proxies).chain(self.bounds.lines());
        lines.try_for_each(|(name, value)| writeln!(f, "{name}={value}"))
    }
}
