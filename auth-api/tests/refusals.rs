//! A refusal tells by its time as little as by its words.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use testkit::{Answer, AuthApi, Database, Wallet};

/// What makes a session's credentials bad, for the session `$1`; those of tokens and of cookies
/// have their hashes apart.
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
async fn a_refresh_that_is_refused_for_good_waits_for_no_lock() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let mut bad = Vec::new();
    for (reason, sql) in REASONS.into_iter().filter(|(reason, _)| !reason.ends_with("cookie")) {
        let tokens = api.login(&Wallet::generate()).await;
        spoil(&database, sql, &tokens.session_id).await;
        bad.push((reason, tokens));
    }
    let somebody = database.client().await;
    somebody
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
    somebody.batch_execute("ROLLBACK").await.unwrap();
}

/// What `auth-api` waits for before it refuses what it made itself.
const NOT_BEFORE: Duration = Duration::from_millis(3);

/// The quickest of some answers, all of which are 401: a machine that is busy does not make all of
/// them slow.
async fn quickest(mut ask: impl AsyncFnMut() -> Answer) -> Duration {
    let mut quickest = Duration::MAX;
    for _ in 0..20 {
        let asked = Instant::now();
        let answer = ask().await;
        quickest = quickest.min(asked.elapsed());
        assert_eq!(answer.status, 401, "{answer:?}");
    }
    quickest
}

#[tokio::test]
async fn nothing_that_we_made_is_refused_sooner_than_anything_else() {
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
            assert!(took >= NOT_BEFORE, "cookie, {reason}: {took:?}");
        }
        if !reason.ends_with("cookie") {
            let tokens = api.login(&wallet).await;
            spoil(&database, sql, &tokens.session_id).await;
            let took = quickest(async || api.refresh(&tokens.refresh).await).await;
            assert!(took >= NOT_BEFORE, "refresh token, {reason}: {took:?}");
        }
        if !reason.starts_with("wrong") {
            let tokens = api.login(&wallet).await;
            spoil(&database, sql, &tokens.session_id).await;
            let took = quickest(async || api.session(&tokens.access).await).await;
            assert!(took >= NOT_BEFORE, "access token, {reason}: {took:?}");
        }
    }
}
