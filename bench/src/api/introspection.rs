//! Measures the maximum rate of complete introspections (RFC 7662) over a number of connections,
//! and the cost of their steps. The measured requests build on each other: each one requires one
//! step more than an earlier request. The first is for a static document, and the last is the
//! introspection of a token that requires both stores (PostgreSQL and Redis).

mod results;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hyper::StatusCode;
use testkit::Wallet;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Connection, Request, form, get};
use super::serving::Serving;
pub use results::{Measured, Results};

/// Warm-up time, for connections and caches.
const WARM_UP: Duration = Duration::from_millis(500);
/// Number of client secrets that are checked, one at a time.
const CHECKS: usize = 20;

/// Options for introspection.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Introspection")]
#[group(skip)]
pub struct Options {
    /// Duration of each measurement
    #[arg(long, default_value_t = 4, value_name = "SECONDS")]
    pub introspection_seconds: u64,
    /// Number of connections; each sends its next request as soon as it receives a response
    #[arg(long, default_value_t = 32, value_name = "CONNECTIONS")]
    pub introspection_connections: u32,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.introspection_seconds >= 1, "--introspection-seconds: must be at least 1");
        ensure!(
            self.introspection_connections >= 1,
            "--introspection-connections: must be at least 1"
        );
        Ok(())
    }
}

/// A measured request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The JWKS: only HTTP.
    Document,
    /// A string that is not a token: adds the credentials of the client, and the form.
    NoToken,
    /// An access token with an invalid signature: adds the verification of the token.
    Forged,
    /// A valid access token: adds the look-up in Redis, and the response.
    Access,
    /// A refresh token: adds the look-up of the session and its token family in PostgreSQL.
    Refresh,
    /// A session token from a cookie: adds the look-up of the session in PostgreSQL, and records
    /// the use of the session.
    Session,
}

impl Step {
    /// All steps, each with the earlier step to which it adds work.
    pub const ALL: [(Self, Option<Self>); 6] = [
        (Self::Document, None),
        (Self::NoToken, Some(Self::Document)),
        (Self::Forged, Some(Self::NoToken)),
        (Self::Access, Some(Self::Forged)),
        (Self::Refresh, Some(Self::NoToken)),
        (Self::Session, Some(Self::NoToken)),
    ];

    /// Returns the name in the table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Document => "GET jwks.json",
            Self::NoToken => "introspect no token",
            Self::Forged => "introspect a forged access token",
            Self::Access => "introspect an access token",
            Self::Refresh => "introspect a refresh token",
            Self::Session => "introspect a session token",
        }
    }

    /// Returns what this step adds to the earlier one.
    #[must_use]
    pub fn adds(self) -> &'static str {
        match self {
            Self::Document => "HTTP",
            Self::NoToken => "client, form",
            Self::Forged => "signature",
            Self::Access => "Redis, answer",
            Self::Refresh | Self::Session => "PostgreSQL, answer",
        }
    }

    fn is_active(self) -> bool {
        matches!(self, Self::Access | Self::Refresh | Self::Session)
    }
}

/// The tokens that are introspected.
struct Tokens {
    access: String,
    forged: String,
    refresh: String,
    session: String,
}

/// Executes all rounds with an auth-api that uses this empty database.
pub(super) async fn measure(
    options: &Options,
    rounds: u32,
    program: &Path,
    database_url: &str,
    redis_url: &str,
) -> Result<Results> {
    let prefix = format!("bench-introspection-{}", Uuid::now_v7().simple());
    let serving = Serving::start(program, database_url, redis_url, &prefix).await?;
    let mut measured = Vec::new();
    for round in 1..=rounds {
        for (step, _) in Step::ALL {
            let one = ask_for_a_while(options, &serving, step).await?;
            eprintln!("round {round}: {}: {:.0} per second", step.name(), one.rate);
            measured.push(one);
        }
    }
    let check = check_a_secret(&serving).await?;
    Ok(Results { options: options.clone(), rounds, measured, check })
}

async fn ask_for_a_while(options: &Options, serving: &Serving, step: Step) -> Result<Measured> {
    let mut ready = Vec::new();
    for _ in 0..options.introspection_connections {
        let mut connection = Connection::open(serving.api).await?;
        let request = request(&mut connection, serving, step).await?;
        ready.push((connection, request));
    }
    // Start only after all logins, which may take longer than the warm-up.
    let begin = Instant::now() + WARM_UP;
    let end = begin + Duration::from_secs(options.introspection_seconds);
    let mut callers = JoinSet::new();
    for (connection, request) in ready {
        callers.spawn(ask(connection, request, step, begin, end));
    }
    tokio::time::sleep_until(begin.into()).await;
    let before = serving.processor_time()?;
    let mut took = Vec::new();
    while let Some(one) = callers.join_next().await {
        took.append(&mut one??);
    }
    // The processor time includes the last responses, which may arrive after `end`.
    let busy = serving.processor_time()?.saturating_sub(before);
    Measured::of(step, took, busy, end - begin).context("no response in the measured time")
}

/// Returns the request that a connection sends. Each connection uses sessions of its own.
async fn request(connection: &mut Connection, serving: &Serving, step: Step) -> Result<Request> {
    if step == Step::Document {
        return get("/.well-known/jwks.json", None);
    }
    let tokens = tokens(connection).await?;
    let token = match step {
        Step::Document | Step::NoToken => "none",
        Step::Forged => &tokens.forged,
        Step::Access => &tokens.access,
        Step::Refresh => &tokens.refresh,
        Step::Session => &tokens.session,
    };
    form("/oauth/introspect", &serving.service, &[("token", token)])
}

async fn tokens(connection: &mut Connection) -> Result<Tokens> {
    let wallet = Wallet::generate();
    let pair = connection.log_in(&wallet, "token").await?;
    let access = pair.string("access_token")?;
    let (signed, signature) = access.rsplit_once('.').context("an access token has three parts")?;
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let cookie = connection.log_in(&wallet, "cookie").await?.cookie()?;
    let session = cookie.split_once('=').context("a cookie has a value")?.1.to_owned();
    Ok(Tokens {
        forged: format!("{signed}.{other}{}", &signature[1..]),
        refresh: pair.string("refresh_token")?,
        access,
        session,
    })
}

/// Sends requests until `end`, and returns the response times, in milliseconds, of the requests
/// that were sent after `begin`. The result contains at least one time.
async fn ask(
    mut connection: Connection,
    request: Request,
    step: Step,
    begin: Instant,
    end: Instant,
) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    loop {
        let since = Instant::now();
        if since >= end && !took.is_empty() {
            return Ok(took);
        }
        let answer = connection.ask_for(request.clone()).await?;
        if since >= begin {
            took.push(since.elapsed().as_secs_f64() * 1e3);
        }
        if step != Step::Document {
            let active = answer.body.starts_with(br#"{"active":true"#);
            ensure!(
                active == step.is_active(),
                "{}: {}",
                step.name(),
                String::from_utf8_lossy(&answer.body)
            );
        }
    }
}

/// Checks client secrets that are not cached, one at a time, and returns the median time of a check
/// in milliseconds.
async fn check_a_secret(serving: &Serving) -> Result<f64> {
    let mut connection = Connection::open(serving.api).await?;
    let wrong = (serving.service.0.clone(), "wrong".to_owned());
    let mut took = Vec::new();
    for _ in 0..CHECKS {
        let since = Instant::now();
        let answer =
            connection.ask(form("/oauth/introspect", &wrong, &[("token", "none")])?).await?;
        ensure!(
            answer.status == StatusCode::UNAUTHORIZED,
            "a wrong secret returned {}",
            answer.status
        );
        took.push(since.elapsed().as_secs_f64() * 1e3);
    }
    crate::statistics::median(took.into_iter()).context("no secret was checked")
}
