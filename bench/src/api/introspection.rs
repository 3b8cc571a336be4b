//! Whole introspections (RFC 7662) as fast as some connections can ask for them, and where their
//! time goes: requests that come one step further each, from a document that is only sent to a
//! token that both stores know.

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

/// Before what counts, for connections and caches.
const WARM_UP: Duration = Duration::from_millis(500);
/// Secrets that are checked one after the other.
const CHECKS: usize = 20;

/// How introspection is measured.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Introspection")]
#[group(skip)]
pub struct Options {
    /// Seconds of each measurement
    #[arg(long, default_value_t = 4, value_name = "SECONDS")]
    pub introspection_seconds: u64,
    /// Connections, each of which asks again as soon as it is answered
    #[arg(long, default_value_t = 32, value_name = "CONNECTIONS")]
    pub introspection_connections: u32,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.introspection_seconds >= 1, "--introspection-seconds: at least one");
        ensure!(self.introspection_connections >= 1, "--introspection-connections: at least one");
        Ok(())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The JWKS: HTTP alone.
    Document,
    /// What is no token: and the client, and the form.
    NoToken,
    /// An access token with a wrong signature: and its verification.
    Forged,
    /// An access token: and the look-up in Redis, and the answer.
    Access,
    /// A refresh token: the session and its family from PostgreSQL.
    Refresh,
    /// What a cookie carries: the same, and it is noted that it was used.
    Session,
}

impl Step {
    /// All of them, each beside the one that it goes further than.
    pub const ALL: [(Self, Option<Self>); 6] = [
        (Self::Document, None),
        (Self::NoToken, Some(Self::Document)),
        (Self::Forged, Some(Self::NoToken)),
        (Self::Access, Some(Self::Forged)),
        (Self::Refresh, Some(Self::NoToken)),
        (Self::Session, Some(Self::NoToken)),
    ];

    /// In the table.
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

    /// What it does that the one beside it does not.
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

/// What the steps ask about.
struct Tokens {
    access: String,
    forged: String,
    refresh: String,
    session: String,
}

/// Measures all rounds on an auth-api over this empty database.
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
            eprintln!("round {round}: {}: {:.0} a second", step.name(), one.rate);
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
    // Not before all are logged in, which may take longer than the warm-up.
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
    // Until the last is answered, which is as soon as it may be after the end.
    let busy = serving.processor_time()?.saturating_sub(before);
    Measured::of(step, took, busy, end - begin)
        .context("nothing was answered in the time that counts")
}

/// What one connection asks, about a session of its own.
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

/// How many milliseconds each request took that began when it counts: one at least.
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

/// What it takes to check a secret that is not remembered, one at a time: the median, in
/// milliseconds.
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
            "a wrong secret was answered with {}",
            answer.status
        );
        took.push(since.elapsed().as_secs_f64() * 1e3);
    }
    crate::statistics::median(took.into_iter()).context("no secret was checked")
}
