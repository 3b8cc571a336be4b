//! The tour that `make demo` gives: a wallet logs in, refreshes and is stolen from; 200,000
//! sessions fall due and are reaped. Each step says what it asks and shows what came back, and ends
//! the tour if that is not what it should be.
//!
//! It needs what `deploy/local/stack env` prints, and `session-reaper` beside itself.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tour is for reading")]

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

/// What is to fall due, for which reason: rows and their age at the least. The ages are past the
/// retention of a day and of seven days.
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

    println!(
        "auth-api lets wallets log in and keeps their sessions in PostgreSQL; session-reaper deletes those"
    );
    println!("that have ended. Both run here, on servers of their own that go when the tour ends.");

    title(1, "A wallet asks for a challenge");
    text(
        "A wallet is a key pair on the Stellar network; the public key is its address. This one is new.",
    );
    let wallet = Wallet::generate();
    let asked =
        api.post("/auth/challenge", json!({"address": wallet.address()})).await?.want(200)?;
    println!("   < 200, and in it this message:\n");
    let message = asked.string("message")?;
    for line in message.lines() {
        println!("{}", format!("         {line}").trim_end());
    }

    title(2, "It signs the message and is logged in");
    text(
        "The signature (SEP-53) proves that it holds the key. No password, and nothing to register.",
    );
    let login = json!({"message": message, "signature": wallet.sign(message)});
    let first = api.post("/auth/login", login).await?.want(200)?.show();

    title(3, "The access token says who is calling");
    text(
        "It is good for 15 minutes. Whoever has the keys of /.well-known/jwks.json can check it, too.",
    );
    api.get("/auth/session", first.string("access_token")?).await?.want(200)?.show();

    title(4, "The refresh token is exchanged for the next pair");
    text("It works once: the answer has a new one.");
    let second = api.refresh(&first).await?.want(200)?.show_fields(&TOKENS);

    title(5, "The same refresh token again: the answer got lost, the client retries");
    text(
        "Within 10 seconds that is forgiven. It gets the refresh token of step 4 again, not one more.",
    );
    let retry = api.refresh(&first).await?.want(200)?.show_fields(&TOKENS);
    if retry.string("refresh_token")? != second.string("refresh_token")? {
        return Err("the retry should have got the same refresh token as step 4".into());
    }

    title(6, "An old refresh token comes back: somebody has a copy");
    text(
        "First, unseen, another wallet logs in; its session is to survive all this. And ours goes on:",
    );
    let live = api.log_in_unseen(&Wallet::generate()).await?;
    let third = api.refresh(&second).await?.want(200)?.show_fields(&TOKENS);
    then(
        "Now the refresh token of step 2 turns up, two generations old. Thief or owner: somebody else has",
    );
    text("the newer ones. So the whole session is revoked.");
    api.refresh(&first).await?.want(401)?.show_fields(&PROBLEM);
    then("Its newest access token, minutes away from its end, is refused at once:");
    api.get("/auth/session", third.string("access_token")?).await?.want(401)?.show_fields(&PROBLEM);

    title(7, "Time passes, and 200,000 sessions fall due");
    let took = let_sessions_end(&mut database).await?;
    let (expired, revoked) = (grouped(EXPIRED.0), grouped(REVOKED.0));
    text(&format!(
        "{expired} expired more than a day ago, {revoked} were revoked more than 7 days ago."
    ));
    text(&format!("{ENDED_LATELY} more have ended lately: those are kept a while."));
    text(&format!(
        "(Written straight into the tables with past times, which took {:.1} s.)",
        took.as_secs_f64()
    ));

    title(8, "The reaper deletes what is due, in small transactions");
    text(
        "By default it works three hundredths of the time and leaves the rest to the traffic. Here nobody waits:",
    );
    text(
        "--duty-cycle 1. A first run that would delete nearly all of a table has to be confirmed: --yes.",
    );
    println!("\n   $ session-reaper run --duty-cycle 1 --yes\n");
    let status = Command::new(std::env::current_exe()?.with_file_name("session-reaper"))
        .args(["run", "--duty-cycle", "1", "--yes"])
        .env("DATABASE_URL", env("REAPER_DATABASE_URL")?)
        .status()?;
    if !status.success() {
        return Err(format!("session-reaper should have exited with 0, not with {status}").into());
    }

    title(9, "What is left");
    let row = database.query_one(LEFT, &[]).await?;
    let (sessions, families, due): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let expected = i64::from(ENDED_LATELY) + 2;
    if (sessions, families, due) != (expected, expected, 0) {
        return Err(format!(
            "{expected} sessions and as many token families should be left, none of them due; there are {sessions} \
             and {families}, {due} of them due"
        )
        .into());
    }
    text(&format!(
        "{sessions} sessions: the {ENDED_LATELY} that ended lately, the revoked one of step 6, and the other"
    ));
    text("wallet's. That one works as before:");
    api.get("/auth/session", live.string("access_token")?).await?.want(200)?.show_fields(&[]);

    title(10, "What an operator sees");
    api.show_metrics().await?;
    then("And the reaper's history, in its table reaper_runs:\n");
    let row = database.query_one(LAST_RUN, &[]).await?;
    for (column, name) in row.columns().iter().enumerate() {
        println!("         {:<18} {}", name.name(), row.get::<_, String>(column));
    }

    println!(
        "\nThat was it, in {:.0} s. `make run` starts the same and leaves it running.",
        start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What matters of a pair of tokens, and of a refusal.
const TOKENS: [&str; 2] = ["access_token", "refresh_token"];
const PROBLEM: [&str; 2] = ["status", "code"];

/// Sessions with their token families, of accounts of their own, that ended so long ago; each end
/// two seconds before the one before it.
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

fn env(name: &str) -> Result<String> {
    std::env::var(name).map_err(|_| {
        format!("{name} is not set; `make demo` starts what is needed and sets it").into()
    })
}
