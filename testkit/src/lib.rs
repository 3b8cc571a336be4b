//! Support for the tests of both programs. It uses no mocks: PostgreSQL and Redis are real,
//! programs run as processes, and wallets sign.
//!
//! - [`Database`]: a migrated database for one test, on the server in `DATABASE_URL`.
//! - [`Server`]: a PostgreSQL server for one test, with its own settings. [`Replica`] follows such
//!   a server and can be paused.
//! - [`PgBouncer`]: a connection pooler in front of a server.
//! - [`Redis`]: a Redis for one test, which may kill, empty, hang and restore it. The other tests
//!   share the Redis in `REDIS_URL`.
//! - [`Program`]: one of our binaries as a process, with its logs. [`AuthApi`] is a running
//!   auth-api with an HTTP client. [`Service`] is a service that may introspect and revoke tokens.
//! - [`reap`], [`reap_by`]: run session-reaper to completion. [`Parking`] stops a delete in the
//!   middle of a statement.
//! - [`promtool`], [`scraped`], [`documented`]: check metrics with the Prometheus tool, and read
//!   them from a scrape and from docs/metrics.md.
//! - [`Browser`]: a headless Chromium for testing pages.
//! - [`Proxy`]: a TCP proxy between a program and a server. The proxy counts bytes, records
//!   statements, cuts connections, and stalls.
//! - [`Receiver`]: an HTTP server that keeps the requests of a program and sends prepared
//!   responses.
//! - [`mod@reference`]: the tables of environment variables in the documentation.
//! - [`Wallet`]: a Stellar key that signs messages as defined in SEP-53. [`Jwt`]: a decoded access
//!   token that a test can alter.
//!
//! `make test` starts the servers and sets the environment variables. Functions panic on failure,
//! because only tests call them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "for tests only"
)]

mod auth_api;
mod browser;
mod clock;
mod database;
mod jwt;
mod metrics;
pub mod migrations;
mod pgbouncer;
mod ports;
mod program;
mod proxy;
mod reaper;
mod receiver;
mod redis;
pub mod reference;
mod server;
mod unprivileged;
pub mod vectors;
mod wallet;

pub use auth_api::{Answer, AuthApi, Service, Tokens};
pub use browser::{Browser, Page, Screen};
pub use clock::libfaketime;
pub use database::Database;
pub use jwt::Jwt;
pub use metrics::{Metrics, documented, promtool, scraped, without_database};
pub use pgbouncer::{PgBouncer, PoolMode};
pub use ports::free_port;
pub use program::{Program, binary, example};
pub use proxy::{Proxy, Statement};
pub use reaper::{ParkAt, Parking, Reaped, expired_sessions, reap, reap_by, reaped, start_reaper};
pub use receiver::{Received, Receiver};
pub use redis::Redis;
pub use server::{Replica, Server, Shutdown};
pub use wallet::Wallet;

use std::time::{Duration, Instant};

/// How long a test waits for a condition before it fails. The limit is so long that even a slow
/// machine does not reach it: it ends only tests that would never end by themselves. The result of
/// a test therefore does not depend on the speed of the machine.
pub const HANG: Duration = Duration::from_mins(10);

/// Polls `condition` until it holds. Panics with a message that contains `what` if it does not hold
/// within [`HANG`].
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let deadline = Instant::now() + HANG;
    while !condition().await {
        assert!(Instant::now() < deadline, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a statement of `application` waits for a lock, in the database that `client` is
/// connected to.
pub async fn waits_for_a_lock(client: &impl tokio_postgres::GenericClient, application: &str) {
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE application_name = $1 AND datname = current_database() AND wait_event_type = 'Lock'";
    eventually(&format!("{application} waits for a lock"), async || {
        client.query_one(waiting, &[&application]).await.unwrap().get(0)
    })
    .await;
}
