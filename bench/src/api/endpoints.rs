//! Measures how many requests per second each endpoint of auth-api handles, and how much processor
//! time each request costs. If an earlier auth-api is given, it is measured alternately with the
//! current one, with a database of its own.

mod results;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};
use hyper::header::{AUTHORIZATION, COOKIE};
use serde_json::json;
use testkit::Wallet;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Connection, form, get, post};
use super::others;
use super::serving::Serving;
pub use results::{Measured, Results};

/// Warm-up time, for connections and caches.
const WARM_UP: Duration = Duration::from_millis(300);

/// Options for endpoints.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Endpoints")]
#[group(skip)]
pub struct Options {
    /// An earlier auth-api for comparison; measured alternately with the current auth-api
    #[arg(long, value_name = "PATH")]
    pub against: Option<PathBuf>,
    /// Duration of each measurement
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    pub endpoint_seconds: u64,
    /// Number of connections; each sends its next request as soon as it receives a response
    #[arg(long, default_value_t = 8, value_name = "CONNECTIONS")]
    pub endpoint_connections: u32,
    /// Measure only this endpoint; can be repeated [default: all endpoints]
    #[arg(long = "endpoint", value_enum, value_name = "ENDPOINT")]
    pub only: Vec<Endpoint>,
}

impl Options {
    /// Returns the endpoints to measure.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL
            .into_iter()
            .filter(|endpoint| self.only.is_empty() || self.only.contains(endpoint))
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.endpoint_seconds >= 1, "--endpoint-seconds: must be at least 1");
        ensure!(self.endpoint_connections >= 1, "--endpoint-connections: must be at least 1");
        Ok(())
    }
}

/// The program that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The earlier program.
    Before,
    /// The current program.
    Since,
}

/// A measured request or sequence of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Endpoint {
    /// A challenge
    Challenge,
    /// A challenge and a login with the token transport
    LogInByToken,
    /// A challenge and a login with the cookie transport
    LogInByCookie,
    /// A refresh
    Refresh,
    /// The caller's session, with an access token
    SessionByToken,
    /// The caller's session, with a cookie
    SessionByCookie,
    /// The sessions of the account
    Sessions,
    /// Introspection of an access token
    Introspect,
    /// A challenge, a login and a logout
    LogOut,
}

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 9] = [
        Self::Challenge,
        Self::LogInByToken,
        Self::LogInByCookie,
        Self::Refresh,
        Self::SessionByToken,
        Self::SessionByCookie,
        Self::Sessions,
        Self::Introspect,
        Self::LogOut,
    ];

    /// Returns the name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Challenge => "POST /auth/challenge",
            Self::LogInByToken => "challenge and login, token",
            Self::LogInByCookie => "challenge and login, cookie",
            Self::Refresh => "POST /auth/refresh",
            Self::SessionByToken => "GET /auth/session, token",
            Self::SessionByCookie => "GET /auth/session, cookie",
            Self::Sessions => "GET /auth/sessions",
            Self::Introspect => "POST /oauth/introspect",
            Self::LogOut => "challenge, login and logout",
        }
    }
}

/// A client with one session of each transport.
struct Caller {
    connection: Connection,
    wallet: Wallet,
    service: (String, String),
    access: String,
    refresh: String,
    cookie: String,
}

impl Caller {
    async fn log_in(serving: &Serving) -> Result<Self> {
        let (mut connection, wallet) = (Connection::open(serving.api).await?, Wallet::generate());
        let pair = connection.log_in(&wallet, "token").await?;
        let cookie = connection.log_in(&wallet, "cookie").await?.cookie()?;
        let (access, refresh) = (pair.string("access_token")?, pair.string("refresh_token")?);
        Ok(Self { connection, wallet, service: serving.service.clone(), access, refresh, cookie })
    }

    async fn ask(&mut self, endpoint: Endpoint) -> Result<()> {
        let bearer = format!("Bearer {}", self.access);
        match endpoint {
            Endpoint::Challenge => {
                let challenge =
                    post("/auth/challenge", &json!({ "address": self.wallet.address() }))?;
                self.connection.ask_for(challenge).await?;
            }
            Endpoint::LogInByToken => drop(self.connection.log_in(&self.wallet, "token").await?),
            Endpoint::LogInByCookie => drop(self.connection.log_in(&self.wallet, "cookie").await?),
            Endpoint::Refresh => {
                let refresh = post("/auth/refresh", &json!({ "refresh_token": self.refresh }))?;
                self.refresh = self.connection.ask_for(refresh).await?.string("refresh_token")?;
            }
            Endpoint::SessionByToken => {
                self.connection
                    .ask_for(get("/auth/session", Some((AUTHORIZATION, &bearer)))?)
                    .await?;
            }
            Endpoint::SessionByCookie => {
                self.connection
                    .ask_for(get("/auth/session", Some((COOKIE, &self.cookie)))?)
                    .await?;
            }
            Endpoint::Sessions => {
                self.connection
                    .ask_for(get("/auth/sessions", Some((AUTHORIZATION, &bearer)))?)
                    .await?;
            }
            Endpoint::Introspect => {
                let introspect =
                    form("/oauth/introspect", &self.service, &[("token", &self.access)])?;
                self.connection.ask_for(introspect).await?;
            }
            Endpoint::LogOut => {
                let refresh =
                    self.connection.log_in(&self.wallet, "token").await?.string("refresh_token")?;
                let logout = post("/auth/logout", &json!({ "refresh_token": refresh }))?;
                let status = self.connection.ask(logout).await?.status;
                ensure!(status.is_success(), "a logout returned {status}");
            }
        }
        Ok(())
    }
}

/// Executes all rounds. Each program has its own database, with `rows` sessions of other accounts.
pub(super) async fn measure(
    options: &Options,
    (rounds, rows): (u32, u64),
    program: &Path,
    database_urls: [&str; 2],
    redis_url: &str,
) -> Result<Results> {
    let prefix = |name: &str| format!("bench-endpoints-{name}-{}", Uuid::now_v7().simple());
    let [of_before, of_since] = database_urls;
    let since = Serving::start(program, of_since, redis_url, &prefix("since")).await?;
    let mut sides = vec![(Side::Since, since)];
    if let Some(earlier) = &options.against {
        sides.push((
            Side::Before,
            Serving::start(earlier, of_before, redis_url, &prefix("before")).await?,
        ));
    }
    for url in database_urls {
        others::fill(url, rows).await?;
    }
    let mut measured = Vec::new();
    for round in 1..=rounds {
        for endpoint in options.endpoints() {
            for (side, serving) in &sides {
                let one = ask_for_a_while(options, serving, *side, endpoint).await?;
                eprintln!(
                    "round {round}: {}, {side:?}: {:.0} per second",
                    endpoint.name(),
                    one.rate
                );
                measured.push(one);
            }
            // Alternate which program comes first.
            sides.reverse();
        }
    }
    Ok(Results { options: options.clone(), rounds, measured })
}

async fn ask_for_a_while(
    options: &Options,
    serving: &Serving,
    side: Side,
    endpoint: Endpoint,
) -> Result<Measured> {
    let mut ready = Vec::new();
    for _ in 0..options.endpoint_connections {
        ready.push(Caller::log_in(serving).await?);
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(options.endpoint_seconds);
    let mut callers = JoinSet::new();
    for caller in ready {
        callers.spawn(ask(caller, endpoint, begin, end));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = serving.processor_time()?;
    let mut count = 0;
    while let Some(one) = callers.join_next().await {
        count += one??;
    }
    let (busy, took) = (serving.processor_time()?.saturating_sub(before), begin.elapsed());
    Measured::of((side, endpoint), count, busy, took).context("no response in the measured time")
}

/// Sends requests until `end`, and returns the number of requests that were sent after `begin`.
/// This number is at least 1.
async fn ask(mut caller: Caller, endpoint: Endpoint, begin: Instant, end: Instant) -> Result<u64> {
    let mut count = 0;
    loop {
        let since = Instant::now();
        if since >= end && count > 0 {
            return Ok(count);
        }
        caller.ask(endpoint).await?;
        if since >= begin {
            count += 1;
        }
    }
}
