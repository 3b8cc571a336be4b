//! What the tests of both programs stand on. Nothing here is a stand-in: databases are real, Redis
//! is real, programs run as processes, wallets sign.
//!
//! - [`Database`]: a database of one's own, migrated, on the server that `DATABASE_URL` names.
//! - [`Server`]: a PostgreSQL of the test's own, with settings of its own; [`Replica`] follows one,
//!   and can be paused.
//! - [`PgBouncer`]: a pooler in front of a server.
//! - [`Redis`]: a private Redis that a test may kill, empty, hang and restore; or a shared one, by
//!   `REDIS_URL`.
//! - [`Program`]: one of our binaries as a process, with its logs; [`AuthApi`] is one that serves,
//!   with a client; [`Service`] may ask it about tokens.
//! - [`reap`], [`reap_by`]: session-reaper from start to end; [`Parking`] stops it in the middle of
//!   a statement.
//! - [`promtool`], [`scraped`], [`documented`]: metrics as Prometheus, a scrape and docs/metrics.md
//!   have them.
//! - [`Browser`]: a headless Chromium, which looks at pages.
//! - [`Proxy`]: stands between a program and a server: counts, records statements, cuts, stalls.
//! - [`Receiver`]: keeps the requests that a program sends, and answers as it is told to.
//! - [`mod@reference`]: the tables of variables in the documentation.
//! - [`Wallet`]: a Stellar key that signs as SEP-53 says; [`Jwt`]: an access token that somebody
//!   has tampered with.
//!
//! `make test` starts the servers and sets the variables. A failing assumption panics: these are
//! tests.

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
pub use metrics::{Metrics, documented, promtool, scraped};
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

/// How long a test waits for anything before it counts as hung. It only ends tests that would never
/// end by themselves: no machine is slow enough to reach it, so what a test proves does not depend
/// on the machine.
pub const HANG: Duration = Duration::from_mins(10);

/// Polls `condition` until it holds. Panics, naming `what`, when it does not within [`HANG`].
pub async fn eventually<F: AsyncFnMut() -> bool>(what: &str, mut condition: F) {
    let deadline = Instant::now() + HANG;
    while !condition().await {
        assert!(Instant::now() < deadline, "hung: {what} did not come true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until a statement of `application`, in the database that `client` is connected to, waits
/// for a lock.
pub async fn waits_for_a_lock(client: &impl tokio_postgres::GenericClient, application: &str) {
    let waiting = "SELECT count(*) > 0 FROM pg_stat_activity
                   WHERE application_name = $1 AND datname = current_database() AND wait_event_type = 'Lock'";
    eventually(&format!("{application} waits for a lock"), async || {
        client.query_one(waiting, &[&application]).await.unwrap().get(0)
    })
    .await;
}
