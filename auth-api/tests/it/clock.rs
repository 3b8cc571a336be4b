//! A host clock that is wrong by an hour does not affect expiration or replay detection, because
//! the database clock decides.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking"
)]

use testkit::{AuthApi, Database, Wallet, libfaketime};

async fn with_host_clock(database: &Database, offset: &str) -> AuthApi {
    let library = libfaketime();
    // Only the wall clock is wrong. The monotonic clock is unchanged.
    let env = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", offset),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    AuthApi::start(database, &env).await
}

async fn check_with_offset(offset: &str) {
    let database = Database::create().await;
    let wrong = with_host_clock(&database, offset).await;
    let right = AuthApi::start_with_keys(&database, wrong.copy_of_keys(), &[]).await;
    let wallet = Wallet::generate();

    // Checks that the clocks differ: log timestamps come from the host clock.
    let logged = wrong.program.stderr();
    let logged: serde_json::Value = serde_json::from_str(logged.lines().next().unwrap()).unwrap();
    let hours: f64 = database
        .one(&format!(
            "SELECT abs(extract(epoch FROM '{}'::timestamptz - now()))::float8 / 3600",
            logged["timestamp"].as_str().unwrap()
        ))
        .await;
    assert!((0.9..1.1).contains(&hours), "the host clock is off by {hours} hours");

    for (issuer, verifier) in [(&wrong, &right), (&right, &wrong), (&wrong, &wrong)] {
        let message = issuer.challenge(&wallet).await;
        let signature = wallet.sign(&message);
        let tokens = verifier.submit(&message, &signature).await.tokens();
        verifier.submit(&message, &signature).await.is_problem(401, "login_refused");
        issuer.submit(&message, &signature).await.is_problem(401, "login_refused");
        assert_eq!(issuer.session(&tokens.access).await.status, 200);
        assert_eq!(verifier.session(&tokens.access).await.status, 200);
        let next = issuer.refresh(&tokens.refresh).await.tokens();
        let retried = verifier.refresh(&tokens.refresh).await.tokens();
        assert_eq!(retried.refresh, next.refresh);
        assert_eq!(verifier.session(&next.access).await.status, 200);
    }

    // Expiration follows the database clock.
    let short = [("ACCESS_TOKEN_TTL", "1s"), ("CHALLENGE_TTL", "10s")];
    let library = libfaketime();
    let env = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME", offset),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        short[0],
        short[1],
    ];
    let brief = AuthApi::start(&database, &env).await;
    let tokens = brief.login(&wallet).await;
    let message = brief.challenge(&wallet).await;
    testkit::eventually("an access token with a lifetime of one second expires", async || {
        brief.session(&tokens.access).await.status == 401
    })
    .await;
    let expires_at =
        message.lines().find_map(|line| line.strip_prefix("Expiration Time: ")).unwrap();
    let past = format!("SELECT clock_timestamp() > '{expires_at}'");
    testkit::eventually("a challenge with a lifetime of ten seconds expires", async || {
        database.one(&past).await
    })
    .await;
    brief.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    let expired =
        database.one::<i64>("SELECT count(*) FROM sessions WHERE expires_at < now()").await;
    assert_eq!(expired, 0);
    database.execute("UPDATE sessions SET expires_at = now() - interval '1 second'").await;
    let (wrong_tokens, right_tokens) = (wrong.login(&wallet).await, right.login(&wallet).await);
    database.execute("UPDATE sessions SET expires_at = now() - interval '1 second'").await;
    wrong.refresh(&wrong_tokens.refresh).await.is_problem(401, "refresh_refused");
    wrong.refresh(&right_tokens.refresh).await.is_problem(401, "refresh_refused");
}

#[tokio::test]
async fn host_clock_one_hour_ahead_changes_nothing() {
    check_with_offset("+1h").await;
}

#[tokio::test]
async fn host_clock_one_hour_behind_changes_nothing() {
    check_with_offset("-1h").await;
}
