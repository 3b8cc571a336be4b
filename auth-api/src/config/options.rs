//! The options as text. clap does not parse the values, so that `check` can report all errors
//! together.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::bounds::BoundOptions;
use super::config_errors::given;
use super::limits::LimitOptions;

/// All options, as text. Each flag is also an environment variable; secrets may be read from a
/// file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct Options {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,
    /// URL of the Redis server that stores the denylist and the rate-limit counters, `redis://` or
    /// `rediss://` [required]
    #[arg(long, env, hide_env_values = true)]
    pub(super) redis_url: Option<String>,
    /// File that contains `REDIS_URL`
    #[arg(long, env, value_parser = path())]
    pub(super) redis_url_file: Option<PathBuf>,
    /// Prefix of all keys in Redis, with or without the braces of a hash tag (`{…}`) [default:
    /// `auth-` and 12 hexadecimal digits derived from `ISSUER` and `STELLAR_NETWORK`]
    #[arg(long, env)]
    pub(super) redis_prefix: Option<String>,
    /// Timeout for a Redis command, up to 10s; if a command times out, the request continues
    /// without Redis [default: 50ms]
    #[arg(long, env)]
    pub(super) redis_timeout: Option<String>,
    /// Address and port of the API [default: 127.0.0.1:8080]
    #[arg(long, env)]
    pub(super) bind: Option<String>,
    /// Address and port of health checks and metrics, which must not be public [default:
    /// 127.0.0.1:9080]
    #[arg(long, env)]
    pub(super) ops_bind: Option<String>,
    /// Comma-separated host names accepted in the `Host` header on `OPS_BIND` and `ADMIN_BIND`, in
    /// addition to IP addresses and `localhost`; requests with any other `Host` are rejected
    /// [default: none]
    #[arg(long, env)]
    pub(super) ops_hosts: Option<String>,
    /// Address and port of the operators' endpoints, which are served only if `ADMIN_TOKEN_FILE` is
    /// set. The address must differ from `OPS_BIND`, so that metrics scrapers cannot reach these
    /// endpoints [default: 127.0.0.1:9082]
    #[arg(long, env)]
    pub(super) admin_bind: Option<String>,
    /// File that contains the operators' token, at least 32 characters (generate it with
    /// `auth-api admin token`); if not set, the operators' endpoints (`/admin`) are disabled.
    /// Reloaded on SIGHUP
    #[arg(long, env, value_parser = path())]
    pub(super) admin_token_file: Option<PathBuf>,
    /// Public URL of the API, without user, query or fragment. The text that wallets display and
    /// sign contains the host of this URL [required]
    #[arg(long, env)]
    pub(super) public_url: Option<String>,
    /// Stellar network of the wallets: `pubnet` or `testnet` [default: pubnet]
    #[arg(long, env)]
    pub(super) stellar_network: Option<String>,
    /// Secret that authenticates challenges, refresh tokens and cookies: 32 bytes in base64.
    /// Several secrets can be listed, separated by commas: new credentials are made with the first
    /// secret, and credentials made with any of the secrets are accepted. `AUTH_SECRET_FILE` is
    /// reloaded on SIGHUP [required]
    #[arg(long, env, hide_env_values = true)]
    pub(super) auth_secret: Option<String>,
    /// File that contains `AUTH_SECRET`
    #[arg(long, env, value_parser = path())]
    pub(super) auth_secret_file: Option<PathBuf>,
    /// Directory of the keys that sign access tokens: Ed25519 keys in PKCS#8 PEM files named like
    /// `20261121T090000Z-anything.pem`; the name without `.pem` is the `kid`. Reloaded on SIGHUP
    /// [required]
    #[arg(long, env, value_parser = path())]
    pub(super) signing_keys_dir: Option<PathBuf>,
    /// Age at which a key starts to sign tokens. The delay gives verifiers time to fetch the key.
    /// If there is only one key, it signs immediately [default: 10m]
    #[arg(long, env)]
    pub(super) signing_key_delay: Option<String>,
    #[command(flatten)]
    pub(super) clients: ClientsOptions,
    /// `iss` claim of access tokens: a URL without user, query or fragment [default: `PUBLIC_URL`]
    #[arg(long, env)]
    pub(super) issuer: Option<String>,
    /// `aud` claim of access tokens [default: `PUBLIC_URL`]
    #[arg(long, env)]
    pub(super) audience: Option<String>,
    /// Lifetime of an access token, in whole seconds, up to 30m [default: 15m]
    #[arg(long, env)]
    pub(super) access_token_ttl: Option<String>,
    /// Sliding lifetime of a session: a session that is not used for this long expires [default:
    /// 30d]
    #[arg(long, env)]
    pub(super) session_ttl: Option<String>,
    /// Absolute lifetime of a session, regardless of how often it is used [default: 90d]
    #[arg(long, env)]
    pub(super) session_max_age: Option<String>,
    /// Minimum extension of a session. A new expiration time is stored only if it is later than the
    /// stored expiration time by at least this much. Must be shorter than `SESSION_TTL` [default:
    /// 1d, or a thirtieth of `SESSION_TTL` if that is shorter]
    #[arg(long, env)]
    pub(super) extend_threshold: Option<String>,
    /// Lifetime of a challenge, in whole seconds, up to 1h [default: 5m]
    #[arg(long, env)]
    pub(super) challenge_ttl: Option<String>,
    /// Grace period after a refresh, up to 5m. In this period, a retry without the
    /// `Idempotency-Key` of the first attempt returns the same refresh token. After this period,
    /// such a retry ends the session. Must be 0s (no grace period), or at least 15s longer than the
    /// longest response time, which is `DATABASE_CHECKOUT_TIMEOUT`, twice
    /// `DATABASE_STATEMENT_TIMEOUT` plus 1s, and `REDIS_TIMEOUT` together [default: 30s]
    #[arg(long, env)]
    pub(super) refresh_reuse_grace: Option<String>,
    /// Maximum age of the caller's login, in whole seconds, for requests that end other sessions
    /// (RFC 9470); `off` disables this check [default: off]
    #[arg(long, env)]
    pub(super) step_up_age: Option<String>,
    /// A retry of a refresh is foreign if it comes from another network and lacks the
    /// `Idempotency-Key` of the first attempt. A session is revoked after foreign retries of this
    /// number of consecutive refresh tokens, up to 1000. With 0, foreign retries are only reported
    /// [default: 2]
    #[arg(long, env)]
    pub(super) refresh_foreign_generations: Option<String>,
    /// Maximum number of live sessions per account, 1 to 10000; a login above the limit ends the
    /// oldest session [default: 10]
    #[arg(long, env)]
    pub(super) session_limit: Option<String>,
    /// Comma-separated origins whose pages may use the API with a cookie, in addition to the origin
    /// of `PUBLIC_URL`. Write each origin as browsers send it, such as `https://app.example.com`
    /// [default: none]
    #[arg(long, env)]
    pub(super) allowed_origins: Option<String>,
    /// Allow cookies over plain HTTP on this machine: `1` names the cookie `session`, omits
    /// `Secure`, and requires a `PUBLIC_URL` with http:// [default: 0]
    #[arg(long, env)]
    pub(super) cookie_insecure: Option<String>,
    /// Serve a page at `/demo` that logs in with a wallet and shows the requests and responses: `1`
    /// or `0` [default: 0]
    #[arg(long, env)]
    pub(super) demo: Option<String>,
    /// Interval between two rebuilds of the denylist, in whole seconds, up to 1h [default: 30s]
    #[arg(long, env)]
    pub(super) denylist_sync_interval: Option<String>,
    /// Time allowed for requests in progress to complete after SIGTERM or SIGINT [default: 20s]
    #[arg(long, env)]
    pub(super) shutdown_timeout: Option<String>,
    #[command(flatten)]
    pub(super) limits: LimitOptions,
    #[command(flatten)]
    pub(super) bounds: BoundOptions,
}

/// The file of introspection clients. The commands that manage these clients need no other setting.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientsOptions {
    /// File that lists the services that may introspect and revoke tokens, one per line, in the
    /// format that `auth-api clients add` writes. Reloaded on SIGHUP [default: none]
    #[arg(long, env, value_name = "FILE", value_parser = path())]
    introspection_clients_file: Option<PathBuf>,
}

impl ClientsOptions {
    /// Returns the path of the file.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        given(self.introspection_clients_file.as_ref())
    }
}

/// Parses any path. An empty path counts as not set, because deployment templates may leave a
/// variable empty.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The settings of the database connection. `migrate` needs no other settings.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the fields name the flags")]
pub struct DatabaseOptions {
    /// URL of the PostgreSQL database, `postgres://user:password@host/database`;
    /// `sslmode=verify-full` verifies the server's certificate [required]
    #[arg(long, env, hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// File that contains `DATABASE_URL`
    #[arg(long, env, value_parser = path())]
    pub(super) database_url_file: Option<PathBuf>,
    /// Maximum number of database connections, 1 to 1000 [default: 16]
    #[arg(long, env)]
    pub(super) database_pool_size: Option<String>,
    /// Maximum time that a request waits for a database connection before it fails with 503, up to
    /// 1h [default: 2s]
    #[arg(long, env)]
    pub(super) database_checkout_timeout: Option<String>,
    /// Time limit for a database statement, up to 1h [default: 5s]
    #[arg(long, env)]
    pub(super) database_statement_timeout: Option<String>,
    /// Idle time after which an unused connection is closed, up to 1h [default: 5m]
    #[arg(long, env)]
    pub(super) database_idle_timeout: Option<String>,
}
