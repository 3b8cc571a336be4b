//! Validation: turns the options, which are text, into a consistent configuration.

use std::net::SocketAddr;
use std::time::Duration;

use hardening::ops_hosts::OpsHosts;
use pg::connect::ConnectOptions;
use redis::IntoConnectionInfo as _;
use schema::pool::PoolOptions;
use secrecy::ExposeSecret as _;
use url::Url;

use super::config_errors::{ConfigError, ConfigErrors, given};
use super::{AccountsConfig, Config, DatabaseConfig, DatabaseOptions, Options, defaults, grace};
use crate::admin::AdminToken;
use crate::credentials::Secrets;
use crate::credentials::clients::Clients;
use crate::domain::{Lifetimes, Network, PublicUrl};
use crate::redis::RedisConfig;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const TEN_YEARS: Duration = Duration::from_hours(24 * 3653);

impl DatabaseOptions {
    /// Checks the settings of the database connection.
    pub fn check(&self) -> Result<DatabaseConfig, ConfigError> {
        let mut config_errors = ConfigErrors::default();
        let config = self.check_into(&mut config_errors);
        config_errors.none_in(config)
    }

    fn check_into(&self, config_errors: &mut ConfigErrors) -> Option<DatabaseConfig> {
        let url = config_errors.secret(
            "DATABASE_URL",
            self.database_url.as_ref(),
            self.database_url_file.as_ref(),
            "postgres://user:password@host/database",
        );
        let connect =
            url.and_then(|url| match ConnectOptions::new(url.expose_secret(), "auth-api") {
                Ok(connect) => Some(connect),
                Err(error) => {
                    config_errors.0.push(error.to_string());
                    None
                }
            });
        // A backend uses about 10 MB on the server, and PostgreSQL reaches its highest throughput
        // with a few backends per core.
        let size = config_errors.parse(
            "DATABASE_POOL_SIZE",
            self.database_pool_size.as_deref(),
            defaults::DATABASE_POOL_SIZE,
            |text| {
                text.parse()
                    .ok()
                    .filter(|size| (1..=1000).contains(size))
                    .ok_or("not a number from 1 to 1000")
            },
        );
        let checkout_timeout = config_errors.span(
            "DATABASE_CHECKOUT_TIMEOUT",
            self.database_checkout_timeout.as_ref(),
            defaults::DATABASE_CHECKOUT_TIMEOUT,
            HOUR,
        );
        let statement_timeout = config_errors.span(
            "DATABASE_STATEMENT_TIMEOUT",
            self.database_statement_timeout.as_ref(),
            defaults::DATABASE_STATEMENT_TIMEOUT,
            HOUR,
        );
        let idle_timeout = config_errors.span(
            "DATABASE_IDLE_TIMEOUT",
            self.database_idle_timeout.as_ref(),
            defaults::DATABASE_IDLE_TIMEOUT,
            HOUR,
        );
        let (connect, size) = (connect?, size?);
        let milliseconds = format!("{}ms", statement_timeout.as_millis().max(1));
        let owner = connect.clone();
        let connect = connect
            .set("statement_timeout", &milliseconds)
            // If a transaction stays idle for this long, the process that began it has probably
            // died. The timeout releases the locks of the transaction.
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
    /// Checks all settings and reports all errors together.
    pub fn check(&self) -> Result<Config, ConfigError> {
        let mut config_errors = ConfigErrors::default();
        let config = self.check_into(&mut config_errors);
        config_errors.none_in(config)
    }

    fn check_into(&self, config_errors: &mut ConfigErrors) -> Option<Config> {
        let database = self.database.check_into(config_errors);
        let address = |text: &str| {
            text.parse::<SocketAddr>().map_err(|_| "not an address such as 127.0.0.1:8080")
        };
        let bind = config_errors.parse("BIND", self.bind.as_deref(), defaults::BIND, address);
        let ops_bind =
            config_errors.parse("OPS_BIND", self.ops_bind.as_deref(), defaults::OPS_BIND, address);
        let admin_bind = config_errors.parse(
            "ADMIN_BIND",
            self.admin_bind.as_deref(),
            defaults::ADMIN_BIND,
            address,
        );
        if admin_bind.is_some_and(|admin| admin.port() != 0 && ops_bind == Some(admin)) {
            config_errors.note(
                "ADMIN_BIND",
                "must differ from OPS_BIND: metrics scrapers must not reach the operators' endpoints",
            );
        }
        let ops_hosts =
            config_errors.parse("OPS_HOSTS", self.ops_hosts.as_deref(), "", OpsHosts::parse);
        let admin_token_file = given(self.admin_token_file.as_ref()).cloned();
        let admin_token = admin_token_file
            .as_ref()
            .and_then(|path| config_errors.parse_file("ADMIN_TOKEN_FILE", path, AdminToken::parse));
        let public_url = self.public_url(config_errors);
        let network = self.network(config_errors);
        let secrets = config_errors
            .secret(
                "AUTH_SECRET",
                self.auth_secret.as_ref(),
                self.auth_secret_file.as_ref(),
                "32 bytes in base64; `auth-api keys secret` generates one",
            )
            .and_then(|text| {
                Secrets::parse(text.expose_secret())
                    .map_err(|error| config_errors.note("AUTH_SECRET", error))
                    .ok()
            });
        let clients_file = self.clients.file().cloned();
        let clients = clients_file.as_ref().map_or(Some(Clients::default()), |path| {
            config_errors.parse_file("INTROSPECTION_CLIENTS_FILE", path, Clients::parse)
        });
        let signing_keys_dir = given(self.signing_keys_dir.as_ref()).cloned();
        if signing_keys_dir.is_none() {
            config_errors.note(
                "SIGNING_KEYS_DIR",
                "missing: a directory of signing keys; `auth-api keys generate --dir DIR` creates a key",
            );
        }
        let signing_key_delay = config_errors.duration(
            "SIGNING_KEY_DELAY",
            self.signing_key_delay.as_ref(),
            defaults::SIGNING_KEY_DELAY,
        );
        let lifetimes = self.lifetimes(config_errors);
        let foreign_generations = self.foreign_generations(config_errors);
        let session_limit = self.session_limit(config_errors);
        let allowed_origins =
            config_errors.parse("ALLOWED_ORIGINS", self.allowed_origins.as_deref(), "", origins);
        let cookie_insecure =
            config_errors.parse("COOKIE_INSECURE", self.cookie_insecure.as_deref(), "0", switch);
        let demo = config_errors.parse("DEMO", self.demo.as_deref(), "0", switch);
        let sync = config_errors.seconds(
            "DENYLIST_SYNC_INTERVAL",
            self.denylist_sync_interval.as_ref(),
            defaults::DENYLIST_SYNC_INTERVAL,
            HOUR,
        );
        let shutdown_timeout = config_errors.duration(
            "SHUTDOWN_TIMEOUT",
            self.shutdown_timeout.as_ref(),
            defaults::SHUTDOWN_TIMEOUT,
        );
        let (rate_limit, trusted_proxies) = self.limits.check(config_errors);
        let bounds = self.bounds.check(config_errors);

        let issuer =
            self.issuer(config_errors).or_else(|| public_url.as_ref().map(|url| url.uri.clone()));
        let secure = public_url.as_ref().is_some_and(|url| url.origin.starts_with("https://"));
        if cookie_insecure == Some(true) && secure {
            config_errors.note(
                "COOKIE_INSECURE",
                "requires a PUBLIC_URL with http://; over HTTPS, cookies are always Secure",
            );
        }
        let redis = self.redis(config_errors, issuer.as_deref().zip(network));
        if let (Some(database), Some(redis)) = (&database, &redis) {
            grace::check(config_errors, lifetimes.reuse_grace, database, redis);
        }
        let (public_url, network) = (public_url?, network?);
        let issuer = issuer?;
        let audience = self.audience.clone().unwrap_or_else(|| public_url.uri.clone());
        if audience.is_empty() {
            config_errors.note("AUDIENCE", "must not be empty");
        }
        Some(Config {
            database: database?,
            redis: redis?,
            bind: bind?,
            ops_bind: ops_bind?,
            ops_hosts: ops_hosts?,
            admin_bind: admin_bind?,
            admin_token,
            admin_token_file,
            public_url,
            network,
            secrets: secrets?,
            auth_secret_file: given(self.auth_secret_file.as_ref()).cloned(),
            clients: clients?,
            clients_file,
            signing_keys_dir: signing_keys_dir?,
            signing_key_delay,
            issuer,
            audience,
            lifetimes,
            allowed_origins: allowed_origins?,
            cookie_insecure: cookie_insecure?,
            demo: demo?,
            foreign_generations: foreign_generations?,
            session_limit: session_limit?,
            denylist_sync_interval: sync,
            rate_limit,
            trusted_proxies,
            bounds,
            shutdown_timeout,
        })
    }

    /// Checks the settings for the commands that manage accounts: PostgreSQL, Redis, the network of
    /// the wallets and the prefix of the Redis keys.
    pub fn check_accounts(&self) -> Result<AccountsConfig, ConfigError> {
        let mut config_errors = ConfigErrors::default();
        let config = self.check_accounts_into(&mut config_errors);
        config_errors.none_in(config)
    }

    fn check_accounts_into(&self, config_errors: &mut ConfigErrors) -> Option<AccountsConfig> {
        let database = self.database.check_into(config_errors);
        let network = self.network(config_errors);
        // By default, the Redis prefix is derived from the issuer, which defaults to PUBLIC_URL.
        let named = self.redis_prefix.is_some() || self.issuer.is_some();
        let public_url = if named { None } else { Some(self.public_url(config_errors)?) };
        let issuer =
            self.issuer(config_errors).or(public_url.map(|url| url.uri)).unwrap_or_default();
        let redis = self.redis(config_errors, Some(&*issuer).zip(network));
        Some(AccountsConfig { database: database?, redis: redis?, network: network? })
    }

    fn public_url(&self, config_errors: &mut ConfigErrors) -> Option<PublicUrl> {
        let what = "the URL that clients use, such as https://auth.example.com";
        let text = config_errors.required("PUBLIC_URL", self.public_url.as_ref(), what)?;
        config_errors.parse("PUBLIC_URL", Some(text), "", public_url)
    }

    fn issuer(&self, config_errors: &mut ConfigErrors) -> Option<String> {
        let text = self.issuer.as_deref()?;
        config_errors.parse("ISSUER", Some(text), "", issuer)
    }

    fn session_limit(&self, config_errors: &mut ConfigErrors) -> Option<u32> {
        config_errors.parse(
            "SESSION_LIMIT",
            self.session_limit.as_deref(),
            defaults::SESSION_LIMIT,
            |text| {
                text.parse()
                    .ok()
                    .filter(|limit| (1..=10_000).contains(limit))
                    .ok_or("not a number from 1 to 10000")
            },
        )
    }

    /// Parses `REFRESH_FOREIGN_GENERATIONS`.
    fn foreign_generations(&self, config_errors: &mut ConfigErrors) -> Option<u16> {
        let generations = self.refresh_foreign_generations.as_deref();
        config_errors.parse(
            "REFRESH_FOREIGN_GENERATIONS",
            generations,
            defaults::REFRESH_FOREIGN_GENERATIONS,
            |text| {
                text.parse()
                    .ok()
                    .filter(|generations| *generations <= 1000)
                    .ok_or("not a number from 0 to 1000")
            },
        )
    }

    fn network(&self, config_errors: &mut ConfigErrors) -> Option<Network> {
        config_errors.parse(
            "STELLAR_NETWORK",
            self.stellar_network.as_deref(),
            defaults::STELLAR_NETWORK,
            |text| match text {
                "pubnet" => Ok(Network::Pubnet),
                "testnet" => Ok(Network::Testnet),
                _ => Err("neither pubnet nor testnet"),
            },
        )
    }

    /// Checks the settings for Redis. The default prefix is derived from the issuer and the
    /// network.
    fn redis(
        &self,
        config_errors: &mut ConfigErrors,
        deployment: Option<(&str, Network)>,
    ) -> Option<RedisConfig> {
        let client = config_errors
            .secret(
                "REDIS_URL",
                self.redis_url.as_ref(),
                self.redis_url_file.as_ref(),
                "redis://host:6379",
            )
            .and_then(|url| {
                let client =
                    url.expose_secret().into_connection_info().and_then(redis::Client::open);
                client.map_err(|error| config_errors.note("REDIS_URL", error)).ok()
            });
        let timeout = config_errors.span(
            "REDIS_TIMEOUT",
            self.redis_timeout.as_ref(),
            defaults::REDIS_TIMEOUT,
            Duration::from_secs(10),
        );
        // The braces of the hash tag are optional.
        let bare = |prefix: &String| {
            prefix.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).map(str::to_owned)
        };
        let given =
            self.redis_prefix.as_ref().map(|prefix| bare(prefix).unwrap_or_else(|| prefix.clone()));
        let prefix = given.or_else(|| {
            deployment.map(|(issuer, network)| default_redis_prefix(issuer, network))
        })?;
        if prefix.is_empty() || prefix.contains(['{', '}']) || prefix.contains(char::is_whitespace)
        {
            config_errors.note(
                "REDIS_PREFIX",
                "must not be empty or contain white space or braces, except one pair around the whole prefix",
            );
        }
        Some(RedisConfig { client: client?, prefix, timeout })
    }

    fn lifetimes(&self, config_errors: &mut ConfigErrors) -> Lifetimes {
        let access_token = config_errors.seconds(
            "ACCESS_TOKEN_TTL",
            self.access_token_ttl.as_ref(),
            defaults::ACCESS_TOKEN_TTL,
            Duration::from_mins(30),
        );
        let session = config_errors.span(
            "SESSION_TTL",
            self.session_ttl.as_ref(),
            defaults::SESSION_TTL,
            TEN_YEARS,
        );
        let session_max_age = config_errors.span(
            "SESSION_MAX_AGE",
            self.session_max_age.as_ref(),
            defaults::SESSION_MAX_AGE,
            TEN_YEARS,
        );
        let extend_threshold = config_errors.duration(
            "EXTEND_THRESHOLD",
            self.extend_threshold.as_ref(),
            DAY.min(session / 30),
        );
        let challenge = config_errors.seconds(
            "CHALLENGE_TTL",
            self.challenge_ttl.as_ref(),
            defaults::CHALLENGE_TTL,
            HOUR,
        );
        let reuse_grace = config_errors.duration(
            "REFRESH_REUSE_GRACE",
            self.refresh_reuse_grace.as_ref(),
            grace::DEFAULT,
        );
        let given = self.step_up_age.as_ref().filter(|age| !matches!(age.as_str(), "" | "off"));
        let step_up =
            given.map(|age| config_errors.seconds("STEP_UP_AGE", Some(age), HOUR, TEN_YEARS));
        let lifetimes = Lifetimes {
            access_token,
            session,
            session_max_age,
            extend_threshold,
            challenge,
            reuse_grace,
            step_up,
        };
        grace::check_longest(config_errors, lifetimes.reuse_grace);
        if lifetimes.extend_threshold >= lifetimes.session {
            config_errors.note(
                "EXTEND_THRESHOLD",
                "must be shorter than SESSION_TTL; otherwise no session is ever extended",
            );
        }
        lifetimes
    }
}

fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" | "" => Ok(false),
        _ => Err("neither 1 nor 0"),
    }
}

/// Derives a prefix from the issuer and the network, so that two deployments that share a Redis
/// server do not use each other's list of revoked sessions.
fn default_redis_prefix(issuer: &str, network: Network) -> String {
    let hash = blake3::Hasher::new()
        .update(issuer.as_bytes())
        .update(b"\0")
        .update(network.caip2().as_bytes())
        .finalize();
    format!("auth-{}", &hash.to_hex()[..12])
}

fn public_url(text: &str) -> Result<PublicUrl, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// or http://".into());
    }
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err("must have no user, query or fragment".into());
    }
    // The URL is part of a line of the message that a wallet signs. The message is ASCII and less
    // than 1 KB.
    if !text.chars().all(|c| c.is_ascii_graphic()) || text.len() > 256 {
        return Err("must be at most 256 printable ASCII characters".into());
    }
    let host = url.host_str().ok_or("must contain a host")?;
    let domain = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Ok(PublicUrl { uri: text.to_owned(), domain, origin: url.origin().ascii_serialization() })
}

/// Parses a URL without query and fragment (RFC 8414 §2). Verifiers compare the issuer character by
/// character, so the URL is kept as written.
fn issuer(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "not a URL such as https://auth.example.com without user, query or fragment";
    let url = Url::parse(text).map_err(|_| FORM)?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        Ok(text.to_owned())
    } else {
        Err(FORM)
    }
}

/// Parses origins. Each origin must have the form in which browsers send it (RFC 6454 §6.2),
/// because any other form would never match.
fn origins(text: &str) -> Result<Vec<String>, String> {
    let listed = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let origin = |text: &str| {
        let written = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let written = written.map(|url| url.origin().ascii_serialization());
        match written {
            Some(origin) if origin == text => Ok(origin),
            Some(origin) => Err(format!("{text} must be written as browsers send it: {origin}")),
            None => Err(format!("{text} is not an origin such as https://app.example.com")),
        }
    };
    listed.map(origin).collect()
}
