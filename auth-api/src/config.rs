//! The configuration: read from flags and the environment in this module alone, checked once, with every mistake told.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use redis::IntoConnectionInfo as _;
use schema::connect::ConnectOptions;
use schema::pool::PoolOptions;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::credentials::Secrets;

/// What can be set, as it was written. Each flag is also a variable; secrets may come from a file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct Options {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,
    /// `redis://` or `rediss://` URL of the denylist
    #[arg(long, env, hide_env_values = true)]
    redis_url: Option<String>,
    /// A file that holds `REDIS_URL`
    #[arg(long, env)]
    redis_url_file: Option<PathBuf>,
    /// What all keys in Redis begin with [default: made from issuer and network]
    #[arg(long, env)]
    redis_prefix: Option<String>,
    /// How long a command may take before the database is asked instead [default: 50ms]
    #[arg(long, env)]
    redis_timeout: Option<String>,
    /// Where the API listens [default: 127.0.0.1:8080]
    #[arg(long, env)]
    bind: Option<String>,
    /// Where health and metrics listen [default: 127.0.0.1:9080]
    #[arg(long, env)]
    ops_bind: Option<String>,
    /// The URL that clients use; its host is what wallets show when they sign
    #[arg(long, env)]
    public_url: Option<String>,
    /// `pubnet` or `testnet` [default: pubnet]
    #[arg(long, env)]
    stellar_network: Option<String>,
    /// 32 bytes as base64; several, comma-separated: the first makes new credentials, all verify
    #[arg(long, env, hide_env_values = true)]
    auth_secret: Option<String>,
    /// A file that holds `AUTH_SECRET`
    #[arg(long, env)]
    auth_secret_file: Option<PathBuf>,
    /// A directory of Ed25519 PKCS#8 PEM files named `20261121T090000Z-anything.pem`
    #[arg(long, env)]
    signing_keys_dir: Option<PathBuf>,
    /// How old a key must be before it signs, so that verifiers have seen it published [default: 10m]
    #[arg(long, env)]
    signing_key_delay: Option<String>,
    /// `iss` of access tokens [default: `PUBLIC_URL`]
    #[arg(long, env)]
    issuer: Option<String>,
    /// `aud` of access tokens [default: `PUBLIC_URL`]
    #[arg(long, env)]
    audience: Option<String>,
    /// Lifetime of an access token, at most 30m [default: 15m]
    #[arg(long, env)]
    access_token_ttl: Option<String>,
    /// Lifetime of a session that is not used [default: 30d]
    #[arg(long, env)]
    session_ttl: Option<String>,
    /// Lifetime of a session in any case [default: 90d]
    #[arg(long, env)]
    session_max_age: Option<String>,
    /// A session's expiry is written when this much is won by it [default: 1d, or a thirtieth of a short `SESSION_TTL`]
    #[arg(long, env)]
    extend_threshold: Option<String>,
    /// Lifetime of a challenge [default: 5m]
    #[arg(long, env)]
    challenge_ttl: Option<String>,
    /// How long a refresh may be repeated and get the same answer [default: 10s]
    #[arg(long, env)]
    refresh_reuse_grace: Option<String>,
    /// Live sessions of an account at the most [default: 10]
    #[arg(long, env)]
    session_limit: Option<String>,
    /// Between two rebuilds of the denylist [default: 30s]
    #[arg(long, env)]
    denylist_sync_interval: Option<String>,
    /// How long requests under way may take when we are told to stop [default: 20s]
    #[arg(long, env)]
    shutdown_timeout: Option<String>,
}

/// How to reach PostgreSQL: all that `migrate` needs.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the fields name the flags")]
pub struct DatabaseOptions {
    /// `postgres://user:password@host/database`; `sslmode=verify-full` checks the server's certificate
    #[arg(long, env, hide_env_values = true)]
    database_url: Option<String>,
    /// A file that holds `DATABASE_URL`
    #[arg(long, env)]
    database_url_file: Option<PathBuf>,
    /// Connections at the most [default: 16]
    #[arg(long, env)]
    database_pool_size: Option<String>,
    /// How long a request waits for a connection before it is answered 503 [default: 2s]
    #[arg(long, env)]
    database_checkout_timeout: Option<String>,
    /// How long a statement may take [default: 5s]
    #[arg(long, env)]
    database_statement_timeout: Option<String>,
    /// How long an unused connection is kept [default: 5m]
    #[arg(long, env)]
    database_idle_timeout: Option<String>,
}

/// A Stellar network, as CAIP-2 names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The public network.
    Pubnet,
    /// The test network.
    Testnet,
}

impl Network {
    /// `stellar:pubnet` or `stellar:testnet`: the chain in a challenge, and the issuer of a wallet's account.
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
    /// Within which a refresh may be repeated.
    pub reuse_grace: Duration,
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
    /// The URL that clients use.
    pub public_url: PublicUrl,
    /// Whose wallets log in.
    pub network: Network,
    /// What challenges and tokens are made genuine with.
    pub secrets: Secrets,
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
    /// Live sessions of an account at the most.
    pub session_limit: u32,
    /// Between two rebuilds of the denylist.
    pub denylist_sync_interval: Duration,
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

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL carries a password.
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration has {} mistake{}:\n  {}", .0.len(), if .0.len() == 1 { "" } else { "s" }, .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TEN_YEARS: Duration = Duration::from_hours(24 * 3653);

/// Collects mistakes instead of stopping at the first.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    fn none_in<T>(self, checked: Option<T>) -> Result<T, ConfigError> {
        match checked {
            Some(checked) if self.0.is_empty() => Ok(checked),
            _ => Err(ConfigError(self.0)),
        }
    }

    fn note(&mut self, name: &str, what: impl fmt::Display) {
        self.0.push(format!("{name}: {what}"));
    }

    fn parse<T, E: fmt::Display>(
        &mut self,
        name: &str,
        value: Option<&str>,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = value.unwrap_or(default);
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.note(name, format_args!("{error} (it is {value:?})"));
                None
            }
        }
    }

    /// What was written, or the default where that is a mistake: so that contradictions are found all the same.
    fn duration(&mut self, name: &str, value: Option<&String>, default: Duration) -> Duration {
        let Some(value) = value else { return default };
        self.parse(name, Some(value), "", |text| {
            humantime::parse_duration(text).map_err(|_| "not a duration such as 30s, 15m or 30d")
        })
        .unwrap_or(default)
    }

    /// A duration that makes no sense at zero, nor beyond `longest`.
    fn span(&mut self, name: &str, value: Option<&String>, default: Duration, longest: Duration) -> Duration {
        let span = self.duration(name, value, default);
        if span.is_zero() {
            self.note(name, "must be longer than nothing");
        }
        if span > longest {
            self.note(name, format_args!("at most {}", humantime::format_duration(longest)));
        }
        span
    }

    /// The same for what stands in tokens and messages, which count whole seconds.
    fn seconds(&mut self, name: &str, value: Option<&String>, default: Duration, longest: Duration) -> Duration {
        let span = self.span(name, value, default, longest);
        if span.subsec_nanos() != 0 {
            self.note(name, "must be whole seconds");
        }
        span
    }

    fn required<'v>(&mut self, name: &str, value: Option<&'v String>, what: &str) -> Option<&'v String> {
        let value = value.filter(|value| !value.is_empty());
        if value.is_none() {
            self.note(name, format_args!("missing: {what}"));
        }
        value
    }

    /// A secret from its variable or from the file that `NAME_FILE` names.
    fn secret(
        &mut self,
        name: &str,
        value: Option<&String>,
        file: Option<&PathBuf>,
        what: &str,
    ) -> Option<SecretString> {
        match (value, file) {
            (Some(_), Some(_)) => {
                self.note(name, format_args!("given twice, also as {name}_FILE: leave one out"));
                None
            }
            (None, Some(path)) => match std::fs::read_to_string(path) {
                Ok(text) if !text.trim().is_empty() => Some(text.trim().into()),
                Ok(_) => {
                    self.note(&format!("{name}_FILE"), format_args!("{} is empty", path.display()));
                    None
                }
                Err(error) => {
                    self.note(&format!("{name}_FILE"), format_args!("{}: {error}", path.display()));
                    None
                }
            },
            (value, None) => self.required(name, value, what).map(|value| value.trim().into()),
        }
    }
}

impl DatabaseConfig {
    /// How long we wait for a query, or a transaction of some, whatever became of the server: twice what the server
    /// itself allows for one statement, and a second for the way.
    #[must_use]
    pub fn query_bound(&self) -> Duration {
        self.statement_timeout * 2 + Duration::from_secs(1)
    }
}

impl DatabaseOptions {
    /// Checks what is needed to reach the database.
    pub fn check(&self) -> Result<DatabaseConfig, ConfigError> {
        let mut mistakes = Mistakes::default();
        let config = self.check_into(&mut mistakes);
        mistakes.none_in(config)
    }

    fn check_into(&self, mistakes: &mut Mistakes) -> Option<DatabaseConfig> {
        let url = mistakes.secret(
            "DATABASE_URL",
            self.database_url.as_ref(),
            self.database_url_file.as_ref(),
            "postgres://user:password@host/database",
        );
        let connect = url.and_then(|url| match ConnectOptions::new(url.expose_secret(), "auth-api") {
            Ok(connect) => Some(connect),
            Err(error) => {
                mistakes.0.push(error.to_string());
                None
            }
        });
        // A back end costs the server about 10 MB and PostgreSQL is busiest at a few times its cores.
        let size = mistakes.parse("DATABASE_POOL_SIZE", self.database_pool_size.as_deref(), "16", |text| {
            text.parse().ok().filter(|size| (1..=1000).contains(size)).ok_or("not a number from 1 to 1000")
        });
        // Longer than any statement of ours takes under load; shorter than a person waits.
        let checkout_timeout = mistakes.span(
            "DATABASE_CHECKOUT_TIMEOUT",
            self.database_checkout_timeout.as_ref(),
            Duration::from_secs(2),
            HOUR,
        );
        // Every statement of ours is a look-up by key: one that takes seconds waits for a lock or for a sick disk.
        let statement_timeout = mistakes.span(
            "DATABASE_STATEMENT_TIMEOUT",
            self.database_statement_timeout.as_ref(),
            Duration::from_secs(5),
            HOUR,
        );
        let idle_timeout =
            mistakes.span("DATABASE_IDLE_TIMEOUT", self.database_idle_timeout.as_ref(), Duration::from_mins(5), HOUR);
        let (connect, size) = (connect?, size?);
        let milliseconds = format!("{}ms", statement_timeout.as_millis().max(1));
        let owner = connect.clone();
        let connect = connect
            .set("statement_timeout", &milliseconds)
            // A transaction of ours that stands still has lost its process; its locks must not stay.
            .set("idle_in_transaction_session_timeout", &milliseconds);
        Some(DatabaseConfig {
            connect,
            owner,
            pool: PoolOptions { size, checkout_timeout, idle_timeout },
            statement_timeout,
        })
    }
}

impl Options {
    /// Checks everything and tells everything that is wrong.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let mut mistakes = Mistakes::default();
        let config = self.check_into(&mut mistakes);
        mistakes.none_in(config)
    }

    fn check_into(&self, mistakes: &mut Mistakes) -> Option<Config> {
        let database = self.database.check_into(mistakes);
        let redis_client = mistakes
            .secret("REDIS_URL", self.redis_url.as_ref(), self.redis_url_file.as_ref(), "redis://host:6379")
            .and_then(|url| {
                let client = url.expose_secret().into_connection_info().and_then(redis::Client::open);
                client.map_err(|error| mistakes.note("REDIS_URL", error)).ok()
            });
        // Far above what a look-up takes (a tenth of a millisecond), far below what a user notices.
        let redis_timeout = mistakes.span(
            "REDIS_TIMEOUT",
            self.redis_timeout.as_ref(),
            Duration::from_millis(50),
            Duration::from_secs(10),
        );
        let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| "not an address such as 127.0.0.1:8080");
        let bind = mistakes.parse("BIND", self.bind.as_deref(), "127.0.0.1:8080", address);
        let ops_bind = mistakes.parse("OPS_BIND", self.ops_bind.as_deref(), "127.0.0.1:9080", address);
        let public_url = mistakes
            .required(
                "PUBLIC_URL",
                self.public_url.as_ref(),
                "the URL that clients use, such as https://auth.example.com",
            )
            .and_then(|text| mistakes.parse("PUBLIC_URL", Some(text), "", public_url));
        let network = mistakes.parse("STELLAR_NETWORK", self.stellar_network.as_deref(), "pubnet", |text| match text {
            "pubnet" => Ok(Network::Pubnet),
            "testnet" => Ok(Network::Testnet),
            _ => Err("neither pubnet nor testnet"),
        });
        let secrets = mistakes
            .secret(
                "AUTH_SECRET",
                self.auth_secret.as_ref(),
                self.auth_secret_file.as_ref(),
                "32 bytes as base64; `auth-api keys secret` prints a fresh one",
            )
            .and_then(|text| {
                Secrets::parse(text.expose_secret()).map_err(|error| mistakes.note("AUTH_SECRET", error)).ok()
            });
        if self.signing_keys_dir.is_none() {
            mistakes
                .note("SIGNING_KEYS_DIR", "missing: a directory; `auth-api keys generate --dir D` makes a key in one");
        }
        let signing_key_delay =
            mistakes.duration("SIGNING_KEY_DELAY", self.signing_key_delay.as_ref(), Duration::from_mins(10));
        let lifetimes = self.lifetimes(mistakes);
        let session_limit = mistakes.parse("SESSION_LIMIT", self.session_limit.as_deref(), "10", |text| {
            text.parse().ok().filter(|limit| (1..=10_000).contains(limit)).ok_or("not a number from 1 to 10000")
        });
        let sync = mistakes.seconds(
            "DENYLIST_SYNC_INTERVAL",
            self.denylist_sync_interval.as_ref(),
            Duration::from_secs(30),
            HOUR,
        );
        // Under the half minute that supervisors commonly leave between SIGTERM and SIGKILL.
        let shutdown_timeout =
            mistakes.duration("SHUTDOWN_TIMEOUT", self.shutdown_timeout.as_ref(), Duration::from_secs(20));

        let (public_url, network) = (public_url?, network?);
        let issuer = self.issuer.clone().unwrap_or_else(|| public_url.uri.clone());
        let audience = self.audience.clone().unwrap_or_else(|| public_url.uri.clone());
        for (name, value) in [("ISSUER", &issuer), ("AUDIENCE", &audience)] {
            if value.is_empty() {
                mistakes.note(name, "must not be empty");
            }
        }
        let prefix = self.redis_prefix.clone().unwrap_or_else(|| default_redis_prefix(&issuer, network));
        if prefix.is_empty() || prefix.contains(['{', '}']) || prefix.contains(char::is_whitespace) {
            mistakes.note("REDIS_PREFIX", "must be a word without braces: they are put around it");
        }
        Some(Config {
            database: database?,
            redis: RedisConfig { client: redis_client?, prefix, timeout: redis_timeout },
            bind: bind?,
            ops_bind: ops_bind?,
            public_url,
            network,
            secrets: secrets?,
            signing_keys_dir: self.signing_keys_dir.clone()?,
            signing_key_delay,
            issuer,
            audience,
            lifetimes,
            session_limit: session_limit?,
            denylist_sync_interval: sync,
            shutdown_timeout,
        })
    }

    fn lifetimes(&self, mistakes: &mut Mistakes) -> Lifetimes {
        let access_token = mistakes.seconds(
            "ACCESS_TOKEN_TTL",
            self.access_token_ttl.as_ref(),
            Duration::from_mins(15),
            Duration::from_mins(30),
        );
        let session = mistakes.span("SESSION_TTL", self.session_ttl.as_ref(), Duration::from_hours(30 * 24), TEN_YEARS);
        let session_max_age =
            mistakes.span("SESSION_MAX_AGE", self.session_max_age.as_ref(), Duration::from_hours(90 * 24), TEN_YEARS);
        let extend_threshold =
            mistakes.duration("EXTEND_THRESHOLD", self.extend_threshold.as_ref(), DAY.min(session / 30));
        let challenge = mistakes.seconds("CHALLENGE_TTL", self.challenge_ttl.as_ref(), Duration::from_mins(5), HOUR);
        let reuse_grace =
            mistakes.duration("REFRESH_REUSE_GRACE", self.refresh_reuse_grace.as_ref(), Duration::from_secs(10));
        let lifetimes = Lifetimes { access_token, session, session_max_age, extend_threshold, challenge, reuse_grace };
        if lifetimes.reuse_grace > Duration::from_mins(5) {
            mistakes.note("REFRESH_REUSE_GRACE", "at most 5m: for that long a stolen token goes unnoticed");
        }
        if lifetimes.extend_threshold >= lifetimes.session {
            mistakes.note("EXTEND_THRESHOLD", "must be shorter than SESSION_TTL, or no session is ever extended");
        }
        lifetimes
    }
}

/// Two deployments on one Redis must not believe each other's marker.
fn default_redis_prefix(issuer: &str, network: Network) -> String {
    let hash =
        blake3::Hasher::new().update(issuer.as_bytes()).update(b"\0").update(network.caip2().as_bytes()).finalize();
    format!("auth-{}", &hash.to_hex()[..12])
}

fn public_url(text: &str) -> Result<PublicUrl, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("must have no user, query or fragment".into());
    }
    // It stands in the message that a wallet signs: one line of ASCII, under 1 KB in all.
    if !text.chars().all(|c| c.is_ascii_graphic()) || text.len() > 256 {
        return Err("must be at most 256 characters of ASCII".into());
    }
    let host = url.host_str().ok_or("must name a host")?;
    let domain = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(PublicUrl { uri: text.to_owned(), domain })
}

impl fmt::Display for Config {
    /// The effective configuration as variables, secrets left out: what `auth-api config` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = |duration: Duration| humantime::format_duration(duration).to_string().replace(' ', "");
        let lifetimes = &self.lifetimes;
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
            ("PUBLIC_URL", self.public_url.uri.clone()),
            ("STELLAR_NETWORK", self.network.caip2().trim_start_matches("stellar:").into()),
            ("AUTH_SECRET", "[redacted]".into()),
            ("SIGNING_KEYS_DIR", self.signing_keys_dir.display().to_string()),
            ("SIGNING_KEY_DELAY", duration(self.signing_key_delay)),
            ("ISSUER", self.issuer.clone()),
            ("AUDIENCE", self.audience.clone()),
            ("ACCESS_TOKEN_TTL", duration(lifetimes.access_token)),
            ("SESSION_TTL", duration(lifetimes.session)),
            ("SESSION_MAX_AGE", duration(lifetimes.session_max_age)),
            ("EXTEND_THRESHOLD", duration(lifetimes.extend_threshold)),
            ("CHALLENGE_TTL", duration(lifetimes.challenge)),
            ("REFRESH_REUSE_GRACE", duration(lifetimes.reuse_grace)),
            ("SESSION_LIMIT", self.session_limit.to_string()),
            ("DENYLIST_SYNC_INTERVAL", duration(self.denylist_sync_interval)),
            ("SHUTDOWN_TIMEOUT", duration(self.shutdown_timeout)),
        ];
        lines.iter().try_for_each(|(name, value)| writeln!(f, "{name}={value}"))
    }
}
