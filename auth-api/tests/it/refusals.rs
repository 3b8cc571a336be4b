//! The response time of a rejection does not reveal the reason.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use testkit::{Answer, AuthApi, Database, Wallet};

/// Reasons for a rejection, and SQL that applies them to the session `$1`. The hashes of tokens and
/// the hashes of cookies are in different tables.
const REASONS: [(&str, &str); 5] = [
    ("unknown", "DELETE FROM sessions WHERE id = '$1'"),
    ("expired", "UPDATE sessions SET expires_at = now() - interval '1 hour' WHERE id = '$1'"),
    ("revoked", "UPDATE sessions SET revoked_at = now(), revoked_reason = 'user' WHERE id = '$1'"),
    (
        "wrong secret of a cookie",
        "UPDATE sessions SET token_hash = sha256(token_hash) WHERE id = '$1'",
    ),
    (
        "wrong secret of a token",
        "UPDATE token_families SET token_hash = sha256(token_hash) WHERE session_id = '$1'",
    ),
];

async fn spoil(database: &Database, sql: &str, session_id: &str) {
    database.execute(&sql.replace("$1", session_id)).await;
}

#[tokio::test]
async fn rejected_refresh_waits_for_no_lock() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let mut bad = Vec::new();
    for (reason, sql) in REASONS.into_iter().filter(|(reason, _)| !reason.ends_with("cookie")) {
        let tokens = api.login(&Wallet::generate()).await;
        spoil(&database, sql, &tokens.session_id).await;
        bad.push((reason, tokens));
    }
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM accounts FOR UPDATE; SELECT FROM sessions FOR UPDATE; SELECT FROM token_families FOR UPDATE")
        .await
        .unwrap();
    for (reason, tokens) in bad {
        let answer = api.refresh(&tokens.refresh).await;
        assert_eq!(answer.status, 401, "{reason}: {answer:?}");
        answer.is_problem(401, "refresh_refused");
    }
    for (outcome, count) in [("unknown", 2.0), ("expired", 1.0), ("revoked", 1.0)] {
        let counted =
            api.metric(&format!("auth_api_refreshes_total{{outcome=\"{outcome}\"}}")).await;
        assert_eq!((outcome, counted), (outcome, count));
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
}

/// The minimum response delay for rejections of credentials that `auth-api` issued.
const MINIMUM_DELAY: Duration = Duration::from_millis(3);

/// Returns the shortest of several response times, because a busy machine does not delay all
/// responses. All responses must be 401.
async fn quickest(mut ask: impl AsyncFnMut() -> Answer) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let start = Instant::now();
        let answer = ask().await;
        quickest = quickest.min(start.elapsed());
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    quickest
}

#[tokio::test]
async fn every_rejection_takes_the_minimum_delay() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    for (reason, sql) in REASONS {
        let wallet = Wallet::generate();
        if !reason.ends_with("token") {
            let login = api.try_cookie_login(&wallet, None).await;
            spoil(&database, sql, login.body["session_id"].as_str().unwrap()).await;
            let cookie = login.cookie();
            let took =
                quickest(async || api.with_cookie("GET", "/auth/session", &cookie).await).await;
            assert!(took >= MINIMUM_DELAY, "cookie, {reason}: {took:?}");
        }
        if !reason.ends_with("cookie") {
            let tokens = api.login(&wallet).await;
            spoil(&database, sql, &tokens.session_id).await;
            let took = quickest(async || api.refresh(&tokens.refresh).await).await;
            assert!(took >= MINIMUM_DELAY, "refresh token, {reason}: {took:?}");
        }
        if !reason.starts_with("wrong") {
            let tokens = api.login(&wallet).await;
            spoil(&database, sql, &tokens.session_id).await;
            let took = quickest(async || api.session(&tokens.access).await).await;
            assert!(took >= MINIMUM_DELAY, "access token, {reason}: {took:?}");
        }
    }
}
