//! The tour that `make demo` gives: a wallet logs in, refreshes and is stolen from; 200,000 sessions fall due and are
//! reaped. Each step says what it asks and shows what came back, and ends the tour if that is not what it should be.
//!
//! It needs what `deploy/local/stack env` prints, and `session-reaper` beside itself.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tour is for reading")]

use std::error::Error;
use std::io::IsTerminal as _;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use testkit::Wallet;
use tokio_postgres::NoTls;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// What is to fall due, for which reason: rows and their age at the least. The ages are past the retention of a day and
/// of seven days.
const EXPIRED: (i32, &str) = (120_000, "1 day 1 hour");
const REVOKED: (i32, &str) = (80_000, "7 days 1 hour");
/// What has ended too, but within the retention: it has to stay.
const ENDED_LATELY: i32 = 500;

#[tokio::main]
async fn main() -> ExitCode {
    match tour().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe tour ends here: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tour() -> Result {
    let start = Instant::now();
    let api = Api::from_env()?;
    let (mut database, connection) = tokio_postgres::connect(&env("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);

    println!("Sessions live in PostgreSQL. auth-api makes them when a wallet logs in; session-reaper deletes");
    println!("them when they have ended. Both run here, on servers of their own that go when the tour ends.");

    title(1, "A wallet asks for a challenge");
    text("A wallet is a key pair on the Stellar network; the public key is its address. This one is new.");
    let wallet = Wallet::generate();
    let asked = api.post("/auth/challenge", json!({"address": wallet.address()})).await?.want(200)?;
    let message = asked.string("message")?;
    for line in message.lines() {
        println!("     {line}");
    }

    title(2, "It signs the challenge, and is logged in");
    text("The signature (SEP-53) proves that the key is there. No password, nothing to register.");
    let first = api.log_in(&wallet, message).await?.show().want(200)?;

    title(3, "The access token says who is calling, for 15 minutes");
    api.get("/auth/session", first.string("access_token")?).await?.show().want(200)?;

    title(4, "The refresh token is exchanged for the next pair, and is used up by that");
    let second = api.refresh(first.string("refresh_token")?).await?.show().want(200)?;

    title(5, "The same refresh token again: the answer got lost, so the client retries");
    text("Within 10 seconds that is forgiven. The retry gets the token that was issued already, no second one.");
    let retry = api.refresh(first.string("refresh_token")?).await?.show().want(200)?;
    if retry.string("refresh_token")? != second.string("refresh_token")? {
        return Err("the retry should have got the same refresh token as step 4".into());
    }

    title(6, "An old refresh token comes back: somebody has a copy");
    text("Another wallet logs in first (its session is to survive all this), and the first one refreshes once more:");
    let other = Wallet::generate();
    let asked = api.post_quietly("/auth/challenge", json!({"address": other.address()})).await?.want(200)?;
    let login = json!({"message": asked.string("message")?, "signature": other.sign(asked.string("message")?)});
    let live = api.post_quietly("/auth/login", login).await?.want(200)?;
    let third = api.refresh(second.string("refresh_token")?).await?.show().want(200)?;
    text("Now the token of step 2 turns up, two generations old. Thief or owner, one of them has the newer one:");
    api.refresh(first.string("refresh_token")?).await?.show().want(401)?;
    text("So the whole session is revoked. Its newest access token, minutes from its expiry, is refused at once:");
    api.get("/auth/session", third.string("access_token")?).await?.show().want(401)?;

    title(7, "Time passes: 200,000 sessions have ended");
    let took = let_sessions_end(&mut database).await?;
    text(&format!("{} expired more than a day ago, {} were revoked more than", grouped(EXPIRED.0), grouped(REVOKED.0)));
    text(&format!("7 days ago: those are due. {ENDED_LATELY} more have ended lately and are to be kept for now."));
    text(&format!("(Written straight into the tables, in {:.1} s.)", took.as_secs_f64()));

    title(8, "The reaper deletes what is due, in small transactions, beside the traffic");
    println!("   $ session-reaper run\n");
    let program = std::env::current_exe()?.with_file_name("session-reaper");
    let status = Command::new(program).arg("run").env("DATABASE_URL", env("REAPER_DATABASE_URL")?).status()?;
    if !status.success() {
        return Err(format!("session-reaper should have exited with 0, not with {status}").into());
    }

    title(9, "What is left");
    let row = database.query_one(LEFT, &[]).await?;
    let (sessions, families, due): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    text(&format!("{sessions} sessions and {families} token families, of which due: {due}."));
    let expected = i64::from(ENDED_LATELY) + 2;
    if (sessions, families, due) != (expected, expected, 0) {
        return Err(format!("{expected} sessions and families should have been left, none of them due").into());
    }
    text(&format!(
        "Those are the {ENDED_LATELY} that ended lately, the one of step 6, and the other wallet's, which works:"
    ));
    api.get("/auth/session", live.string("access_token")?).await?.show().want(200)?;

    title(10, "What an operator sees");
    println!("   > GET {}/metrics    (a few lines of it)", api.ops);
    api.print_metrics().await?;
    println!("\n   The reaper's last line in its table reaper_runs:\n");
    let row = database.query_one(LAST_RUN, &[]).await?;
    for (column, name) in row.columns().iter().enumerate() {
        println!("     {:<12} {}", name.name(), row.get::<_, String>(column));
    }

    println!(
        "\nThat was it, in {:.0} s. `make run` starts the same and leaves it running.",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Sessions with their token families, of accounts of their own, that ended so long ago; each end two seconds before
/// the one before it.
const ENDED: &str = "
    WITH owner AS (
        INSERT INTO accounts (id, issuer, subject)
        SELECT gen_random_uuid(), 'stellar:testnet', 'demo-' || gen_random_uuid()
        FROM generate_series(1, 1 + $1::int / 100)
        RETURNING id
    ), owners AS (
        SELECT array_agg(id) AS ids FROM owner
    ), made AS (
        INSERT INTO sessions (id, account_id, user_agent, ip, created_at, last_seen_at,
                              expires_at, absolute_expires_at, revoked_at, revoked_reason)
        SELECT gen_random_uuid(), ids[1 + n % cardinality(ids)], 'demo', '192.0.2.1',
               ended - interval '30 days', ended,
               CASE WHEN $3 THEN ended + interval '30 days' ELSE ended END, ended + interval '60 days',
               CASE WHEN $3 THEN ended END, CASE WHEN $3 THEN 'logout' END
        FROM owners, generate_series(1, $1::int) AS n,
             LATERAL (SELECT now() - $2::text::interval - n * interval '2 seconds' AS ended) AS time
        RETURNING id
    )
    INSERT INTO token_families (session_id, generation, token_hash)
    SELECT id, 0, sha256(uuid_send(id)) FROM made";

const LEFT: &str = "
    SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM token_families),
           (SELECT count(*) FROM sessions
             WHERE expires_at < now() - interval '1 day' OR revoked_at < now() - interval '7 days')";

const LAST_RUN: &str = "
    SELECT trigger, outcome, round(extract(epoch FROM finished_at - started_at), 1) || ' s' AS took,
           (report -> 'targets' -> 0 -> 'deleted')::text AS sessions, instance
    FROM reaper_runs ORDER BY started_at DESC, id DESC LIMIT 1";

async fn let_sessions_end(database: &mut tokio_postgres::Client) -> Result<Duration> {
    let start = Instant::now();
    let all = [
        (EXPIRED.0, EXPIRED.1, false),
        (REVOKED.0, REVOKED.1, true),
        (ENDED_LATELY / 2, "1 hour", false),
        (ENDED_LATELY / 2, "1 hour", true),
    ];
    for (rows, age, revoked) in all {
        database.execute(ENDED, &[&rows, &age, &revoked]).await?;
    }
    database.batch_execute("ANALYZE").await?;
    Ok(start.elapsed())
}

/// auth-api, as a client sees it.
struct Api {
    url: String,
    ops: String,
    http: reqwest::Client,
}

struct Answer {
    asked: String,
    status: reqwest::StatusCode,
    body: Value,
}

impl Api {
    fn from_env() -> Result<Self> {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { url: env("AUTH_API_URL")?, ops: env("AUTH_API_OPS_URL")?, http })
    }

    async fn get(&self, path: &str, token: &str) -> Result<Answer> {
        println!("\n   > GET {path}    Authorization: Bearer {}", shortened(token));
        self.send(Method::GET, path, |request| request.bearer_auth(token)).await
    }

    async fn post(&self, path: &str, body: Value) -> Result<Answer> {
        println!("\n   > POST {path} {}", pretty(&redacted(&body), 11 + path.len()));
        self.post_quietly(path, body).await
    }

    async fn post_quietly(&self, path: &str, body: Value) -> Result<Answer> {
        self.send(Method::POST, path, |request| request.json(&body)).await
    }

    async fn log_in(&self, wallet: &Wallet, message: &str) -> Result<Answer> {
        self.post("/auth/login", json!({"message": message, "signature": wallet.sign(message)})).await
    }

    async fn refresh(&self, token: &str) -> Result<Answer> {
        self.post("/auth/refresh", json!({"refresh_token": token})).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        with: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Answer> {
        let asked = format!("{method} {path}");
        let response = with(self.http.request(method, format!("{}{path}", self.url))).send().await?;
        let status = response.status();
        Ok(Answer { asked, status, body: response.json().await? })
    }

    async fn print_metrics(&self) -> Result {
        const SHOWN: [&str; 5] = [
            "auth_api_logins_total{outcome=\"success\"}",
            "auth_api_refreshes_total{outcome=\"success\"}",
            "auth_api_refreshes_total{outcome=\"retry\"}",
            "auth_api_refreshes_total{outcome=\"reuse\"}",
            "auth_api_sessions_revoked_total{reason=\"reuse\"}",
        ];
        let metrics = self.http.get(format!("{}/metrics", self.ops)).send().await?.text().await?;
        for wanted in SHOWN {
            let line = metrics.lines().find(|line| line.starts_with(wanted));
            println!("     {}", line.ok_or_else(|| format!("{wanted} should have been among the metrics"))?);
        }
        Ok(())
    }
}

impl Answer {
    fn show(self) -> Self {
        println!("   < {} {}", self.status.as_u16(), pretty(&redacted(&self.body), 9));
        self
    }

    fn want(self, status: u16) -> Result<Self> {
        if self.status.as_u16() == status {
            return Ok(self);
        }
        Err(format!("{} should have been answered with {status}, not {}: {}", self.asked, self.status, self.body)
            .into())
    }

    fn string(&self, field: &str) -> Result<&str> {
        self.body[field].as_str().ok_or_else(|| format!("{} should have answered with {field}", self.asked).into())
    }
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| format!("{name} is not set; `make demo` starts what is needed and sets it").into())
}

fn title(number: u8, title: &str) {
    if std::io::stdout().is_terminal() {
        println!("\n\x1b[1m{number}. {title}\x1b[0m");
    } else {
        println!("\n{number}. {title}");
    }
}

fn text(line: &str) {
    println!("   {line}");
}

/// The beginning and the end of a secret, and enough of both to tell one from another.
fn shortened(secret: &str) -> String {
    match (secret.get(..8), secret.len().checked_sub(6).and_then(|at| secret.get(at..))) {
        (Some(head), Some(tail)) if secret.len() > 20 => format!("{head}…{tail}"),
        _ => secret.to_owned(),
    }
}

/// A number with its thousands apart.
fn grouped(number: i32) -> String {
    format!("{},{:03}", number / 1000, number % 1000)
}

/// What a page may hold.
const WIDTH: usize = 98;

/// JSON on as few lines as fit: an object that is too wide gets a line for each field.
fn pretty(value: &Value, indent: usize) -> String {
    let line = value.to_string();
    let Some(fields) = value.as_object().filter(|_| indent + line.chars().count() > WIDTH) else { return line };
    let margin = " ".repeat(indent + 1);
    let lines = fields.iter().map(|(name, value)| {
        let name = json!(name).to_string();
        format!("{name}: {}", pretty(value, indent + 3 + name.len()))
    });
    format!("{{{}}}", lines.collect::<Vec<_>>().join(&format!(",\n{margin}")))
}

/// The same without what nobody should have on their screen, nor wants to read.
fn redacted(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten().map(|(name, value)| {
        let value = match (name.as_str(), value.as_str()) {
            ("access_token" | "refresh_token" | "signature", Some(secret)) => json!(shortened(secret)),
            ("message", Some(message)) => json!(format!("{}…", message.get(..24).unwrap_or(message))),
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    Value::Object(fields.collect())
}
