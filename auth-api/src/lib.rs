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
//! - [`state`]: the state shared by all requests; [`clock`]: the database's time; [`http`]: request
//!   bodies, error responses, the request log.
//! - [`config`]: the settings, read once; [`commands`]: one file per subcommand; `files`: reading
//!   and atomic replacement of small files; [`telemetry`]: logs and [`metrics`].
//!
//! `main → commands → app → routes → credentials, denylist, schema`: each layer uses only layers to
//! its right.
//!
//! # Terms
//!
//! - A *challenge* is the text that a wallet signs to log in. Its *nonce* contains random bytes and
//!   a keyed hash, by which auth-api recognizes the text.
//! - A *refresh* exchanges a refresh token for new tokens. It *rotates* the refresh token: the
//!   token is replaced by its *successor*.
//! - A *token family* is all refresh tokens of one session. The *generation* of a token is the
//!   number of rotations before it.
//! - A *tag* is a keyed hash at the end of a token, made with `AUTH_SECRET`. A token with a valid
//!   tag is *authentic*. An authentic token that was never issued is *forged*.
//! - A *retry* is a refresh with a replaced token that is accepted: it comes within the *grace
//!   period* after the rotation or has the `Idempotency-Key` of the first attempt. Any other use of
//!   a replaced token is *reuse* and ends the session.
//! - A *foreign* retry comes from another network and does not have this key.
//! - A successor is stored *sealed*: encrypted so that only the holder of the replaced token can
//!   obtain it.
//! - The *denylist* is the list of revoked sessions in Redis. A session in it is *denied*. The
//!   *marker* is the key in Redis that states that the list is complete.
//! - The *transport* of a session is `token` (access and refresh tokens) or `cookie`.

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
