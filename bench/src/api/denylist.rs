//! Measures the denylist look-up in auth-api, while clients send requests at a fixed rate and other
//! clients log in. Before and after this traffic, redis-benchmark measures the same command on the
//! same Redis.
//!
//! The histogram of auth-api contains every look-up, in coarse buckets. At the same time, the same
//! code in this process ([`in_process`]) executes more look-ups, which are timed to the
//! microsecond.

mod histogram;
mod in_process;
mod pace;
mod redis_benchmark;
mod results;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use hyper::header::AUTHORIZATION;
use testkit::Wallet;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::client::{Connection, Request, get};
use super::serving::Serving;
use histogram::Histogram;
use in_process::InProcess;
use pace::{Pace, Taken};
pub use redis_benchmark::Commands;
use redis_benchmark::RedisBenchmark;
pub use results::{Latencies, Results, Round, Traffic};

/// Warm-up time, for connections and statements.
const WARM_UP: Duration = Duration::from_secs(2);
/// How long the traffic continues after the measurement, so that it does not stop while the
/// histogram is read.
const COOL_DOWN: Duration = Duration::from_millis(500);

/// The number of connections that log in, and the number of wallets for each connection. There are
/// so few wallets that each one reaches the session limit. Logins therefore also write to the
/// denylist.
const LOGIN_CONNECTIONS: u32 = 4;
const WALLETS: usize = 4;

/// Options for the denylist look-up.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Denylist")]
#[group(skip)]
pub struct Options {
    /// Duration of the traffic in each round, in seconds
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Number of client connections; also the number of redis-benchmark connections, and of tasks
    /// that execute look-ups in this process
    #[arg(long, default_value_t = 32)]
    pub connections: u32,
    /// Total GET /auth/session requests per second
    #[arg(long, default_value_t = 2_000)]
    pub rate: u32,
    /// Total logins per second
    #[arg(long, default_value_t = 20)]
    pub logins: u32,
    /// Total look-ups in this process per second
    #[arg(long, default_value_t = 1_000)]
    pub look_ups: u32,
    /// Number of redis-benchmark commands before the traffic, and after it
    #[arg(long, default_value_t = 100_000, value_name = "COMMANDS")]
    pub requests: u32,
    /// redis-benchmark, or a program with the same options
    #[arg(long, default_value = "redis-benchmark", value_name = "PROGRAM")]
    pub redis_benchmark: PathBuf,
}

impl Options {
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.seconds >= 1, "--seconds: must be at least 1");
        ensure!(
            self.connections >= 1 && self.requests >= 1,
            "--connections and --requests: must be at least 1"
        );
        let rates = [self.rate, self.logins, self.look_ups];
        ensure!(
            rates.iter().all(|rate| *rate >= 1),
            "--rate, --logins and --look-ups: must be at least 1"
        );
        Ok(())
    }
}

/// Executes all rounds with an auth-api that uses this empty database.
pub(super) async fn measure(
    options: &Options,
    rounds: u32,
    program: &Path,
    database_url: &str,
    redis_url: &str,
) -> Result<Results> {
    let prefix = format!("bench-denylist-{}", Uuid::now_v7().simple());
    let serving = Serving::start(program, database_url, redis_url, &prefix).await?;
    let in_process = InProcess::start(serving.flags()).await?;
    let redis = RedisBenchmark::new(options, redis_url, &prefix)?;
    let mut measured = Vec::new();
    for number in 1..=rounds {
        let before = redis.run().await?;
        let traffic = traffic(options, &serving, &in_process).await?;
        let round = Round { redis: [before, redis.run().await?], traffic };
        eprintln!("round {number}: {round}");
        measured.push(round);
    }
    Ok(Results { options: options.clone(), rounds: measured })
}

/// Executes the traffic of one round.
async fn traffic(options: &Options, serving: &Serving, in_process: &InProcess) -> Result<Traffic> {
    let callers = callers(options, serving).await?;
    let begin = Instant::now();
    let end = begin + WARM_UP + Duration::from_secs(options.seconds) + COOL_DOWN;
    let (mut requests, mut logins, mut look_ups) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
    for (which, (connection, request)) in (0..).zip(callers) {
        let pace = |rate| Pace::share(begin..end, rate, which, options.connections);
        requests.spawn(ask(connection, request, pace(options.rate)));
        look_ups.spawn(in_process.look_up(pace(options.look_ups)));
    }
    for which in 0..LOGIN_CONNECTIONS {
        let connection = Connection::open(serving.api).await?;
        logins.spawn(log_in(
            connection,
            Pace::share(begin..end, options.logins, which, LOGIN_CONNECTIONS),
        ));
    }

    tokio::time::sleep_until((begin + WARM_UP).into()).await;
    let before = serving.metrics().await?;
    let from = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let window = from..Instant::now();
    let after = serving.metrics().await?;

    let fell_back = Histogram::between(&before, &after, "postgres")?.count();
    Ok(Traffic {
        auth_api: Histogram::between(&before, &after, "redis")?
            .and_slower(fell_back)
            .latencies()?,
        fell_back,
        in_process: Latencies::of(&together(look_ups).await?, &window)?,
        requests: Latencies::of(&together(requests).await?, &window)?,
        logins: Latencies::of(&together(logins).await?, &window)?,
    })
}

/// Opens the client connections. Each connection comes with the request to send, which contains the
/// access token of a separate session.
async fn callers(options: &Options, serving: &Serving) -> Result<Vec<(Connection, Request)>> {
    let mut callers = Vec::new();
    for _ in 0..options.connections {
        let mut connection = Connection::open(serving.api).await?;
        let access =
            connection.log_in(&Wallet::generate(), "token").await?.string("access_token")?;
        let request = get("/auth/session", Some((AUTHORIZATION, &format!("Bearer {access}"))))?;
        callers.push((connection, request));
    }
    Ok(callers)
}

async fn ask(mut connection: Connection, request: Request, mut pace: Pace) -> Result<Vec<Taken>> {
    let mut all = Vec::new();
    while let Some(since) = pace.next().await {
        connection.ask_for(request.clone()).await?;
        all.push(Taken::since(since));
    }
    Ok(all)
}

async fn log_in(mut connection: Connection, mut pace: Pace) -> Result<Vec<Taken>> {
    let wallets: Vec<Wallet> = (0..WALLETS).map(|_| Wallet::generate()).collect();
    let (mut wallets, mut all) = (wallets.iter().cycle(), Vec::new());
    while let (Some(since), Some(wallet)) = (pace.next().await, wallets.next()) {
        connection.log_in(wallet, "token").await?;
        all.push(Taken::since(since));
    }
    Ok(all)
}

/// Collects the calls of all tasks. Fails as soon as one task fails.
async fn together(mut tasks: JoinSet<Result<Vec<Taken>>>) -> Result<Vec<Taken>> {
    let mut all = Vec::new();
    while let Some(one) = tasks.join_next().await {
        all.extend(one??);
    }
    Ok(all)
}
