//! What each endpoint of auth-api does in a second and what that costs its processor, beside an
//! earlier auth-api over a database of its own, in turns.

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

/// Before what counts, for connections and caches.
const WARM_UP: Duration = Duration::from_millis(300);

/// How endpoints are measured.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Endpoints")]
#[group(skip)]
pub struct Options {
    /// An earlier auth-api to measure beside this one, in turns
    #[arg(long, value_name = "PATH")]
    pub against: Option<PathBuf>,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2, value_name = "SECONDS")]
    pub endpoint_seconds: u64,
    /// Connections, each of which asks again as soon as it is answered
    #[arg(long, default_value_t = 8, value_name = "CONNECTIONS")]
    pub endpoint_connections: u32,
    /// Measure only this endpoint; can be repeated [default: all of them]
    #[arg(long = "endpoint", value_enum, value_name = "ENDPOINT")]
    pub only: Vec<Endpoint>,
}

impl Options {
    /// The endpoints to measure.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        Endpoint::ALL
            .into_iter()
            .filter(|endpoint| self.only.is_empty() || self.only.contains(endpoint))
    }

    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.endpoint_seconds >= 1, "--endpoint-seconds: at least one");
        ensure!(self.endpoint_connections >= 1, "--endpoint-connections: at least one");
        Ok(())
    }
}

/// Which program is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The earlier one.
    Before,
    /// The one that is measured.
    Since,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Endpoint {
    /// A challenge.
    Challenge,
    /// A challenge, and a login for tokens.
    LogInByToken,
    /// A challenge, and a login for a cookie.
    LogInByCookie,
    /// A rotation.
    Refresh,
    /// The caller's session, by an access token.
    SessionByToken,
    /// The caller's session, by a cookie.
    SessionByCookie,
    /// The account's sessions.
    Sessions,
    /// An access token, for another service.
    Introspect,
    /// A challenge, a login and a logout.
    LogOut,
}

impl Endpoint {
    /// All of them.
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

    /// In the table.
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

/// One client with a session of each transport.
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
                ensure!(status.is_success(), "a logout was answered with {status}");
            }
        }
        Ok(())
    }
}

/// Measures all rounds, each program on a database of its own with `rows` sessions of others.
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
                eprintln!("round {round}: {}, {side:?}: {:.0} a second", endpoint.name(), one.rate);
                measured.push(one);
            }
            // Neither is always the first.
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
    Measured::of((side, endpoint), count, busy, took)
        .context("nothing was answered in the time that counts")
}

/// How many requests were answered that began when it counts: one at least.
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
