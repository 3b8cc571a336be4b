//! The library of `auth-api`, an API for logging in with a Stellar wallet.
//!
//! Read [`routes`] first: it contains the table of URLs and one file per endpoint. A request passes
//! through `routes → credentials` (verifies what the client presents) `→ schema` (reads and writes
//! the session in PostgreSQL) `→ denylist` (records revocations in Redis).
//!
//! - [`credentials`]: challenges, signatures, refresh tokens, access tokens, and their keys. This
//!   module does no network or database I/O.
//! - [`denylist`]: the list of revoked sessions in Redis. The list is used only while it is
//!   provably complete.
//! - [`audit`]: events about who started, used and ended which session; `revocation` ends sessions;
//!   [`last_seen`] records the time at which a cookie session was last used.
//! - [`admin`]: lists and revocations for operators, over HTTP or from a shell.
//! - [`clients`]: authentication of other services that introspect or revoke tokens; [`reload`]:
//!   reloads files on SIGHUP.
//! - [`limits`]: rate limits, counted in Redis; [`repeats`]: repeated rejections, which are counted
//!   and logged as one line, so that a flood does not fill the log.
//! - [`redis`]: the connection to Redis, with a circuit breaker, so that requests do not wait for a
//!   Redis server that does not respond.
//! - [`state`]: the state shared by all requests; [`clock`]: the database's time; [`http`]: bodies,
//!   problem documents, the request log.
//! - [`config`]: the settings, read once; [`commands`]: one file per subcommand; `files`: reading
//!   and atomic replacement of small files; [`telemetry`]: logs and [`metrics`].
//!
//! `main → commands → app → routes → credentials, denylist, schema`: each layer uses only layers to
//! its right.

pub mod admin;
pub mod app;
mod audit;
pub mod clients;
pub mod clock;
pub mod commands;
pub mod config;
pub mod credentials;
pub mod database;
pub mod denylist;
mod device;
pub mod domain;
mod family_keys;
mod files;
pub mod http;
pub mod last_seen;
pub mod limits;
pub mod metrics;
pub mod redis;
mod reload;
pub mod repeats;
mod revocation;
pub mod routes;
pub mod state;
pub mod tasks;
pub mod telemetry;
