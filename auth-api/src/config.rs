//! The configuration: read from flags and the environment in this module alone (`options`), checked
//! once (`check`), with every mistake told (`config_errors`).

mod bounds;
mod check;
mod config_errors;
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
use schema::connect::ConnectOptions;
use schema::pool::PoolOptions;
use url::{Host, Url};

pub use self::bounds::Bounds;
pub use self::config_errors::ConfigError;
pub(crate) use self::config_errors::parse_file;
pub use self::options::{ClientsOptions, DatabaseOptions, Options};
pub(crate) use self::proxies::network_of;
pub use self::proxies::{InvalidProxies, InvalidProxyHeader, ProxyHeader, TrustedProxies};
use crate::admin::AdminToken;
use crate::credentials::Secrets;
use crate::credentials::clients::Clients;
use crate::limits::Quotas;

/// A Stellar network, as CAIP-2 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The public network.
    Pubnet,
    /// The test network.
    Testnet,
}

impl Network {
    /// `stellar:pubnet` or `stellar:testnet`: the chain in a challenge, and the issuer of a
    /// wallet's account.
    #[must_use]
    pub fn caip2(self) -> &'static str {
        match self {
            Self::Pubnet => "stellar:pubnet",
            Self::Testnet => "stellar:testnet",
        }
    }
}

/// The URL that clients use, and the host that wallets show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// As it was written: the `URI` of a challenge.
    pub uri: String,
    /// Its host, with the port unless that is the scheme's: the `domain` of a challenge.
    pub domain: String,
    /// What browsers call pages of it: scheme, host and port.
    pub origin: String,
}

/// The lifetimes of what we issue.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of an access token.
    pub access_token: Duration,
    /// Of a session that is not used.
    pub session: Duration,
    /// Of a session in any case.
    pub session_max_age: Duration,
    /// What an extension must win to be written.
    pub extend_threshold: Duration,
    /// Of a challenge.
    pub challenge: Duration,
    /// Within which a refresh may be repeated without a key of the attempt.
    pub reuse_grace: Duration,
    /// How old a login may be to end other sessions; `None`: of any age.
    pub step_up: Option<Duration>,
}

impl Lifetimes {
    /// For how long after a rotation clients are shown the times of before it. Twice the grace:
    /// whoever times a retry by what is shown comes too late for one.
    #[must_use]
    pub fn rotation_hidden(&self) -> Duration {
        self.reuse_grace * 2
    }
}

/// A configuration that holds together.
#[derive(Clone, Debug)]
pub struct Config {
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// Where the API listens.
    pub bind: SocketAddr,
    /// Where health and metrics listen.
    pub ops_bind: SocketAddr,
    /// The hosts that this port and the operators' answer to.
    pub ops_hosts: OpsHosts,
    /// Where operators are served, if there are any.
    pub admin_bind: SocketAddr,
    /// What operators show there; nothing: there are none.
    pub admin_token: Option<AdminToken>,
    /// Where `admin_token` came from.
    pub admin_token_file: Option<PathBuf>,
    /// The URL that clients use.
    pub public_url: PublicUrl,
    /// Whose wallets log in.
    pub network: Network,
    /// What challenges and tokens are made genuine with.
    pub secrets: Secrets,
    /// Where `secrets` came from, if from a file.
    pub auth_secret_file: Option<PathBuf>,
    /// Other services that may ask about tokens.
    pub clients: Clients,
    /// Where `clients` came from.
    pub clients_file: Option<PathBuf>,
    /// Where the signing keys are.
    pub signing_keys_dir: PathBuf,
    /// How old a key must be before it signs.
    pub signing_key_delay: Duration,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// How long things live.
    pub lifetimes: Lifetimes,
    /// Pages that may use the API with a cookie, besides those of `public_url`.
    pub allowed_origins: Vec<String>,
    /// The cookie goes over plain HTTP, too.
    pub cookie_insecure: bool,
    /// There is a page that shows what the API does.
    pub demo: bool,
    /// So many generations in a row with a retry from another network are reuse; 0: none are.
    pub foreign_generations: u16,
    /// Live sessions of an account at the most.
    pub session_limit: u32,
    /// Between two rebuilds of the denylist.
    pub denylist_sync_interval: Duration,
    /// How often one may ask; nothing: as often as one likes.
    pub rate_limit: Option<Quotas>,
    /// Whose word on whom they speak for is taken.
    pub trusted_proxies: TrustedProxies,
    /// What connections and requests may take.
    pub bounds: Bounds,
    /// How long requests may take at shutdown.
    pub shutdown_timeout: Duration,
}

/// PostgreSQL, with the bounds on everything that waits for it.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// How to connect.
    pub connect: ConnectOptions,
    /// The same without bounds on statements: a migration takes as long as it takes.
    pub owner: ConnectOptions,
    /// How many connections, and for how long.
    pub pool: PoolOptions,
    statement_timeout: Duration,
}

/// Redis, with the bound on every command.
#[derive(Clone)]
pub struct RedisConfig {
    /// Where.
    pub client: redis::Client,
    /// What keys begin with, without the braces of the hash tag.
    pub prefix: String,
    /// How long a command may take.
    pub timeout: Duration,
}

impl PublicUrl {
    /// The URL of a path of ours.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.uri.trim_end_matches('/'))
    }

    /// Whether clients reach it over plain HTTP from other machines than this one and its private
    /// network, as far as the URL shows.
    #[must_use]
    pub fn is_public_without_tls(&self) -> bool {
        let Ok(url) = Url::parse(&self.uri) else { return false };
        let public = match url.host() {
            Some(Host::Ipv4(ip)) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
            Some(Host::Ipv6(ip)) => {
                !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local())
            }
            Some(Host::Domain(name)) => {
                let suffix = name.trim_end_matches('.').rsplit_once('.').map(|(_, suffix)| suffix);
                suffix.is_some_and(|suffix| !PRIVATE_SUFFIXES.contains(&suffix))
            }
            None => false,
        };
        url.scheme() == "http" && public
    }
}

/// Top-level names that are never public (RFC 2606, RFC 6761, RFC 6762, RFC 8375 and ICANN's
/// `internal`).
const PRIVATE_SUFFIXES: [&str; 8] =
    ["localhost", "test", "example", "invalid", "local", "internal", "lan", "arpa"];

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL carries a password.
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What a command on accounts needs.
#[derive(Clone, Debug)]
pub struct AccountsConfig {
    /// PostgreSQL.
    pub database: DatabaseConfig,
    /// Redis.
    pub redis: RedisConfig,
    /// Whose wallets log in.
    pub network: Network,
}

impl DatabaseConfig {
    /// One connection, for a command.
    pub async fn open(&self) -> Result<AsyncPgConnection, ConnectionError> {
        schema::pool::connect(&self.connect).await
    }

    /// How long we wait for a query, or a transaction of some, whatever became of the server: twice
    /// what the server itself allows for one statement, and a second for the way.
    #[must_use]
    pub fn query_bound(&self) -> Duration {
        self.statement_timeout * 2 + Duration::from_secs(1)
    }
}

impl fmt::Display for Config {
    /// The effective configuration as variables, secrets left out: what `auth-api config` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration =
            |duration: Duration| humantime::format_duration(duration).to_string().replace(' ', "");
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
