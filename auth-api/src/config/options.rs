//! What can be set, as clap reads it: text, to be checked all at once.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::bounds::BoundOptions;
use super::limits::LimitOptions;

/// What can be set, as it was written. Each flag is also a variable; secrets may come from a file.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Configuration")]
pub struct Options {
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,
    /// `redis://` or `rediss://` URL of the denylist and the limits [required]
    #[arg(long, env, hide_env_values = true)]
    pub(super) redis_url: Option<String>,
    /// A file that holds `REDIS_URL`
    #[arg(long, env, value_parser = path())]
    pub(super) redis_url_file: Option<PathBuf>,
    /// What all keys in Redis begin with [default: made from issuer and network]
    #[arg(long, env)]
    pub(super) redis_prefix: Option<String>,
    /// How long a command may take before a request goes on without Redis [default: 50ms]
    #[arg(long, env)]
    pub(super) redis_timeout: Option<String>,
    /// Where the API listens [default: 127.0.0.1:8080]
    #[arg(long, env)]
    pub(super) bind: Option<String>,
    /// Where health and metrics are served; not for the public [default: 127.0.0.1:9080]
    #[arg(long, env)]
    pub(super) ops_bind: Option<String>,
    /// Names, comma-separated, by which the operations port and the operators' port may be reached
    /// besides IP addresses and `localhost`; a request with another `Host` is refused [default:
    /// none]
    #[arg(long, env)]
    pub(super) ops_hosts: Option<String>,
    /// Where operators are served, if there is `ADMIN_TOKEN_FILE`; apart from `OPS_BIND`, so that
    /// who may scrape cannot reach them [default: 127.0.0.1:9082]
    #[arg(long, env)]
    pub(super) admin_bind: Option<String>,
    /// A file with the operators' token, at least 32 characters (`auth-api admin token`); without
    /// one there is no `/admin`. Read again at SIGHUP
    #[arg(long, env, value_parser = path())]
    pub(super) admin_token_file: Option<PathBuf>,
    /// The URL that clients use; its host is what wallets show when they sign [required]
    #[arg(long, env)]
    pub(super) public_url: Option<String>,
    /// `pubnet` or `testnet` [default: pubnet]
    #[arg(long, env)]
    pub(super) stellar_network: Option<String>,
    /// 32 bytes as base64; several, comma-separated: the first makes new credentials, all verify.
    /// The file is read again at SIGHUP [required]
    #[arg(long, env, hide_env_values = true)]
    pub(super) auth_secret: Option<String>,
    /// A file that holds `AUTH_SECRET`
    #[arg(long, env, value_parser = path())]
    pub(super) auth_secret_file: Option<PathBuf>,
    /// A directory of Ed25519 PKCS#8 PEM files named `20261121T090000Z-anything.pem`; the name is
    /// the `kid`. Read again at SIGHUP [required]
    #[arg(long, env, value_parser = path())]
    pub(super) signing_keys_dir: Option<PathBuf>,
    /// How old a key must be before it signs, so that verifiers have seen it published; a sole key
    /// signs at once [default: 10m]
    #[arg(long, env)]
    pub(super) signing_key_delay: Option<String>,
    #[command(flatten)]
    pub(super) clients: ClientsOptions,
    /// `iss` of access tokens [default: `PUBLIC_URL`]
    #[arg(long, env)]
    pub(super) issuer: Option<String>,
    /// `aud` of access tokens [default: `PUBLIC_URL`]
    #[arg(long, env)]
    pub(super) audience: Option<String>,
    /// Lifetime of an access token, at most 30m [default: 15m]
    #[arg(long, env)]
    pub(super) access_token_ttl: Option<String>,
    /// Lifetime of a session that is not used [default: 30d]
    #[arg(long, env)]
    pub(super) session_ttl: Option<String>,
    /// Lifetime of a session in any case [default: 90d]
    #[arg(long, env)]
    pub(super) session_max_age: Option<String>,
    /// A session's expiry is written when this much is won by it [default: 1d, or a thirtieth of a
    /// short `SESSION_TTL`]
    #[arg(long, env)]
    pub(super) extend_threshold: Option<String>,
    /// Lifetime of a challenge, at most 1h [default: 5m]
    #[arg(long, env)]
    pub(super) challenge_ttl: Option<String>,
    /// How long a refresh may be repeated and get the same refresh token: 15s longer than an
    /// answer may take, at most 5m; 0s for none [default: 30s]
    #[arg(long, env)]
    pub(super) refresh_reuse_grace: Option<String>,
    /// How recent a login must be to end other sessions than one's own (RFC 9470), in whole
    /// seconds; `off`: of any age [default: off]
    #[arg(long, env)]
    pub(super) step_up_age: Option<String>,
    /// So many generations in a row with a retry from another network, without the key of the
    /// attempt, end the session; 0: none do, they are only reported [default: 2]
    #[arg(long, env)]
    pub(super) refresh_foreign_generations: Option<String>,
    /// Live sessions of an account at the most [default: 10]
    #[arg(long, env)]
    pub(super) session_limit: Option<String>,
    /// Origins, comma-separated, whose pages may use the API with a cookie, as browsers write them: `https://app.example.com` [default: none]
    #[arg(long, env)]
    pub(super) allowed_origins: Option<String>,
    /// `1`: cookies for plain HTTP on this machine, named `session`, without Secure [default: 0]
    #[arg(long, env)]
    pub(super) cookie_insecure: Option<String>,
    /// `1`: a page at `/demo` that logs a wallet in and shows what goes over the wire [default: 0]
    #[arg(long, env)]
    pub(super) demo: Option<String>,
    /// Between two rebuilds of the denylist [default: 30s]
    #[arg(long, env)]
    pub(super) denylist_sync_interval: Option<String>,
    /// How long requests under way may take when we are told to stop [default: 20s]
    #[arg(long, env)]
    pub(super) shutdown_timeout: Option<String>,
    #[command(flatten)]
    pub(super) limits: LimitOptions,
    #[command(flatten)]
    pub(super) bounds: BoundOptions,
}

/// Where the clients are: all that the commands on them need.
#[derive(Args, Clone, Debug, Default)]
pub struct ClientsOptions {
    /// The other services that may introspect and revoke tokens, a line each as `auth-api clients
    /// add` writes it. Read again at SIGHUP [default: none]
    #[arg(long, env, value_name = "FILE", value_parser = path())]
    introspection_clients_file: Option<PathBuf>,
}

impl ClientsOptions {
    /// Which file that is.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        given(self.introspection_clients_file.as_ref())
    }
}

/// Any path. One that is empty counts as not given: that is how templates leave a variable out.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// A path that is not empty.
pub(super) fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

/// How to reach PostgreSQL: all that `migrate` needs.
#[derive(Args, Clone, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "the fields name the flags")]
pub struct DatabaseOptions {
    /// `postgres://user:password@host/database`; `sslmode=verify-full` checks the server's
    /// certificate [required]
    #[arg(long, env, hide_env_values = true)]
    pub(super) database_url: Option<String>,
    /// A file that holds `DATABASE_URL`
    #[arg(long, env, value_parser = path())]
    pub(super) database_url_file: Option<PathBuf>,
    /// Connections at the most [default: 16]
    #[arg(long, env)]
    pub(super) database_pool_size: Option<String>,
    /// How long a request waits for a connection before it is answered 503 [default: 2s]
    #[arg(long, env)]
    pub(super) database_checkout_timeout: Option<String>,
    /// How long a statement may take [default: 5s]
    #[arg(long, env)]
    pub(super) database_statement_timeout: Option<String>,
    /// How long an unused connection is kept [default: 5m]
    #[arg(long, env)]
    pub(super) database_idle_timeout: Option<String>,
}
