//! auth-api: wallets log in by signing a challenge and get a session of access and refresh tokens.
//!
//! Read [`routes`] first: one URL table, one file an endpoint. A request walks
//! `routes → credentials` (what the client holds: is it genuine?) `→ schema` (what the database
//! says of it) `→ denylist` (what Redis must know of it).
//!
//! - [`credentials`]: challenge, signature, refresh token, access token, and the keys behind them.
//!   Pure: no I/O.
//! - [`denylist`]: which sessions are revoked, in Redis, believed only when it is provably
//!   complete.
//! - [`audit`]: who began, used and ended which session; `revocation` ends one; [`last_seen`]: when
//!   a cookie session was last seen.
//! - [`admin`]: what operators see and end, whether by HTTP or from a shell.
//! - [`clients`]: the other services that may ask about tokens; [`reload`]: what SIGHUP reads
//!   again.
//! - [`limits`]: how often one may ask, counted in Redis; [`repeats`]: refusals that are summed up
//!   in the log.
//! - [`redis`]: the one connection to it, and the breaker that spares requests a Redis that hangs.
//! - [`state`]: what every request shares; [`clock`]: the database's time; [`http`]: bodies,
//!   problems, the request log.
//! - [`config`]: the environment, read once; [`commands`]: one subcommand a file, and `files` what
//!   they write; [`telemetry`]: logs and [`metrics`].
//!
//! `main → commands → app → routes → credentials, denylist, schema`; nothing reaches back up.

pub mod admin;
pub mod app;
mod audit;
pub mod clients;
pub mod clock;
pub mod commands;
pub mod config;
pub mod credentials;
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
pub mod telemetry;
