//! The limit of sessions per account.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use testkit::{AuthApi, Database, Wallet};

const LIVE: &str = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND expires_at > now()";

async fn check_limit(limit: &str) {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SESSION_LIMIT", limit)]).await;
    let wallet = Wallet::generate();
    let messages = futures_util::future::join_all((0..50).map(|_| api.challenge(&wallet))).await;
    let logins = messages.iter().map(|message| {
        let signature = wallet.sign(message);
        let api = &api;
        async move { api.submit(message, &signature).await.tokens() }
    });
    let tokens = futures_util::future::join_all(logins).await;
    assert_eq!(database.one::<i64>(LIVE).await, limit.parse::<i64>().unwrap());
    // The database clock sets `created_at` while the account is locked, so the order of these times
    // is the order of the commits.
    let last: String =
        database.one("SELECT id::text FROM sessions ORDER BY created_at DESC LIMIT 1").await;
    let last = tokens.iter().find(|tokens| tokens.session_id == last).unwrap();
    assert_eq!(api.session(&last.access).await.status, 200, "the last login to commit is live");
    let mut working = 0;
    for tokens in &tokens {
        working += i64::from(api.session(&tokens.access).await.status == 200);
    }
    assert_eq!(working, limit.parse::<i64>().unwrap());
    let revoked = api.metric("auth_api_sessions_revoked_total{reason=\"limit\"}").await;
    assert!((revoked - (50.0 - limit.parse::<f64>().unwrap())).abs() < f64::EPSILON, "{revoked}");
}

#[tokio::test]
async fn fifty_concurrent_logins_leave_the_limit_and_the_newest() {
    check_limit("10").await;
}

#[tokio::test]
async fn session_limit_of_one_keeps_the_last_login() {
    check_limit("1").await;
}
