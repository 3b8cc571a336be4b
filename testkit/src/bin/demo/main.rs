//! The tour that `make demo` runs: a wallet logs in and refreshes, its refresh token is stolen, and
//! 200,000 sessions become due and are deleted. Each step prints its requests and the responses. An
//! unexpected response ends the tour.
//!
//! The tour requires the environment that `deploy/local/stack env` prints, and `session-reaper` in
//! its own directory.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "the tour is printed")]

mod api;
mod page;

use std::error::Error;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::Wallet;
use tokio_postgres::NoTls;

use crate::api::Api;
use crate::page::{grouped, text, then, title};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The sessions that become due: for each reason (expired, revoked), the number of rows and their
/// minimum age. The ages exceed the retention of one day and of seven days.
const EXPIRED: (i32, &str) = (120_000, "1 day 1 hour");
const REVOKED: (i32, &str) = (80_000, "7 days 1 hour");
/// Sessions that have ended within the retention period. They must stay.
const ENDED_RECENTLY: i32 = 500;

#[tokio::main]
async fn main() -> ExitCode {
    match tour().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe tour failed: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn tour() -> Result {
    let start = Instant::now();
    let api = Api::from_env()?;
    let (mut database, connection) = tokio_postgres::connect(&env("DATABASE_URL")?, NoTls).await?;
    tokio::spawn(connection);

    println!(
        "auth-api lets wallets log in and stores their sessions in PostgreSQL. session-reaper deletes"
    );
    println!("sessions that have ended. Both run here on servers that stop when the tour ends.");

    title(1, "A wallet requests a challenge");
    text(
        "A wallet is a key pair on the Stellar network. Its public key is its address. This wallet is new.",
    );
    let wallet = Wallet::generate();
    let challenge =
        api.post("/auth/challenge", json!({"address": wallet.address()})).await?.want(200)?;
    println!("   < 200, with this message:\n");
    let message = challenge.string("message")?;
    for line in message.lines() {
        println!("{}", format!("         {line}").trim_end());
    }

    title(2, "The wallet signs the message and logs in");
    text(
        "The signature (SEP-53) proves that the wallet holds the key. No password or sign-up is needed.",
    );
    let login = json!({"message": message, "signature": wallet.sign(message)});
    let first = api.post("/auth/login", login).await?.want(200)?.show();

    title(3, "The access token identifies the caller");
    text(
        "It is valid for 15 minutes. Any service can verify it with the keys in /.well-known/jwks.json.",
    );
    api.get("/auth/session", first.string("access_token")?).await?.want(200)?.show();

    title(4, "The client exchanges the refresh token for a new pair");
    text("A refresh token can be used once. The response contains the next one.");
    let second = api.refresh(&first).await?.want(200)?.show_fields(&TOKENS);

    title(5, "The response was lost, and the client retries with the same refresh token");
    text(
        "Within 30 seconds, a retry returns the refresh token of step 4 again, instead of another new one.",
    );
    let retry = api.refresh(&first).await?.want(200)?.show_fields(&TOKENS);
    if retry.string("refresh_token")? != second.string("refresh_token")? {
        return Err("the retry did not return the refresh token of step 4".into());
    }

    title(6, "An old refresh token is used again: someone has copied it");
    text(
        "First, another wallet logs in (not shown). Its session must survive. The first wallet refreshes:",
    );
    let live = api.log_in_silently(&Wallet::generate()).await?;
    let third = api.refresh(&second).await?.want(200)?.show_fields(&TOKENS);
    then(
        "Now someone uses the refresh token of step 2, which is two generations old. auth-api cannot tell",
    );
    text("whether the owner or a thief has the newer tokens, so it revokes the whole session.");
    api.refresh(&first).await?.want(401)?.show_fields(&PROBLEM);
    then("The newest access token has not expired, but it is rejected immediately:");
    api.get("/auth/session", third.string("access_token")?).await?.want(401)?.show_fields(&PROBLEM);

    title(7, "Time passes, and 200,000 sessions become due");
    let took = let_sessions_end(&mut database).await?;
    let (expired, revoked) = (grouped(EXPIRED.0), grouped(REVOKED.0));
    text(&format!(
        "{expired} expired more than a day ago, and {revoked} were revoked more than 7 days ago."
    ));
    text(&format!("Another {ENDED_RECENTLY} ended recently and are kept for now."));
    text(&format!(
        "(The tour inserts these rows with times in the past, which took {:.1} s.)",
        took.as_secs_f64()
    ));

    title(8, "The reaper deletes due rows in small transactions");
    text(
        "By default, it pauses for 97 % of the time, to leave capacity for other traffic. The tour has none,",
    );
    text(
        "so --duty-cycle 1 removes the pauses. --yes confirms a first run that deletes nearly all rows.",
    );
    println!("\n   $ session-reaper run --duty-cycle 1 --yes\n");
    let status = Command::new(std::env::current_exe()?.with_file_name("session-reaper"))
        .args(["run", "--duty-cycle", "1", "--yes"])
        .env("DATABASE_URL", env("REAPER_DATABASE_URL")?)
        .status()?;
    if !status.success() {
        return Err(format!("session-reaper failed: {status}").into());
    }

    title(9, "The remaining sessions");
    let row = database.query_one(LEFT, &[]).await?;
    let (sessions, families, due): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let expected = i64::from(ENDED_RECENTLY) + 2;
    if (sessions, families, due) != (expected, expected, 0) {
        return Err(format!(
            "expected {expected} sessions and token families, none of them due; found {sessions} sessions, \
             {families} families and {due} due sessions"
        )
        .into());
    }
    text(&format!(
        "{sessions} sessions: the {ENDED_RECENTLY} that ended recently, the revoked session of step 6, and the session of"
    ));
    text("the other wallet, which is still active:");
    api.get("/auth/session", live.string("access_token")?).await?.want(200)?.show_fields(&[]);

    title(10, "What operators can monitor");
    api.show_metrics().await?;
    then("The reaper records its runs in the table reaper_runs:\n");
    let row = database.query_one(LAST_RUN, &[]).await?;
    for (column, name) in row.columns().iter().enumerate() {
        println!("         {:<18} {}", name.name(), row.get::<_, String>(column));
    }

    println!(
        "\nThe tour took {:.0} s. To start both programs and keep them running, use `make run`.",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// The printed fields of a token pair, and the printed fields of a problem document.
const TOKENS: [&str; 2] = ["access_token", "refresh_token"];
const PROBLEM: [&str; 2] = ["status", "code"];

/// Inserts sessions that ended the given time ago, with token families and with accounts of their
/// own. Each session ended two seconds before the previous one.
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
        (ENDED_RECENTLY / 2, "1 hour", false),
        (ENDED_RECENTLY / 2, "1 hour", true),
    ];
    for (rows, age, revoked) in all {
        database.execute(ENDED, &[&rows, &age, &revoked]).await?;
    }
    database.batch_execute("ANALYZE").await?;
    Ok(start.elapsed())
}

fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| {
        format!("{name} is not set; `make demo` starts the servers and sets it").into()
    })
}
