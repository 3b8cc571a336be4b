//! POST /auth/refresh.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use testkit::{Answer, AuthApi, Database, Proxy, Tokens, Wallet};

async fn refreshes(api: &AuthApi, outcome: &str) -> f64 {
    api.metric(&format!("auth_api_refreshes_total{{outcome=\"{outcome}\"}}")).await
}

/// Moves the last rotation (refresh) into the past, so that its grace period has ended.
async fn grace_is_over(database: &Database) {
    database.age_rotations("6 minutes").await;
}

async fn revoked_reason(database: &Database) -> Option<String> {
    database.one("SELECT revoked_reason FROM sessions").await
}

/// Asserts that a session is dead: its current refresh token and its access token are rejected.
async fn is_dead(api: &AuthApi, tokens: &Tokens) {
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    api.session(&tokens.access).await.is_problem(401, "unauthenticated");
}

/// Like [`is_dead`], for a revoked session, which is also on the denylist.
async fn is_revoked(api: &AuthApi, tokens: &Tokens) {
    is_dead(api, tokens).await;
    api.denies(&tokens.access).await;
}

/// Logs in and refreshes `length` times. Returns all tokens, oldest first.
async fn chain(api: &AuthApi, length: usize) -> Vec<Tokens> {
    let mut chain = vec![api.login(&Wallet::generate()).await];
    for _ in 0..length {
        let next = api.refresh(&chain.last().unwrap().refresh).await.tokens();
        chain.push(next);
    }
    chain
}

#[tokio::test]
async fn fifty_rotations_keep_one_row_and_give_distinct_tokens() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let chain = chain(&api, 50).await;
    let distinct: std::collections::BTreeSet<_> =
        chain.iter().map(|tokens| &tokens.refresh).collect();
    assert_eq!(distinct.len(), 51);
    assert!(chain.iter().all(|tokens| tokens.session_id == chain[0].session_id));
    assert_eq!(database.one::<i64>("SELECT generation FROM token_families").await, 50);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 1);
    assert_eq!(api.session(&chain[50].access).await.status, 200);
    assert_eq!(
        api.session(&chain[0].access).await.status,
        200,
        "an access token is valid until it expires"
    );
}

#[tokio::test]
async fn rotation_is_a_hot_update() {
    let database = Database::create().await;
    // With only one connection, a single backend collects all statistics. The backend reports them
    // after a statement, at most once a second.
    let api = AuthApi::start(&database, &[("DATABASE_POOL_SIZE", "1")]).await;
    let mut current = api.login(&Wallet::generate()).await;
    let counts =
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'token_families'";
    let client = database.client().await;
    let (mut updates, mut in_place) = (0, 0);
    testkit::eventually("the statistics count 20 updates", async || {
        current = api.refresh(&current.refresh).await.tokens();
        let row = client.query_one(counts, &[]).await.unwrap();
        (updates, in_place) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        updates >= 20
    })
    .await;
    // HOT updates, except when a page is full of row versions that may still be visible.
    assert!(in_place * 100 >= updates * 90, "{in_place} of {updates} rotations were in place");
    let sessions_updated = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'sessions'";
    assert_eq!(
        database.one::<i64>(sessions_updated).await,
        0,
        "the expiration would move by less than a day, so no index is written"
    );
}

#[tokio::test]
async fn retry_within_the_grace_period_gets_the_same_successor() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let next = api.refresh(&first.refresh).await.tokens();
    for _ in 0..3 {
        let retried = api.refresh(&first.refresh).await.tokens();
        assert_eq!(retried.refresh, next.refresh);
        assert_eq!(api.session(&retried.access).await.status, 200);
    }
    assert!((refreshes(&api, "retry").await - 3.0).abs() < f64::EPSILON);
    let later = api.refresh(&next.refresh).await.tokens();
    let _ = api.refresh(&later.refresh).await.tokens();
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn concurrent_refreshes_get_the_same_successor() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let mut current = api.login(&Wallet::generate()).await;
    for _ in 0..20 {
        let (one, other) =
            tokio::join!(api.refresh(&current.refresh), api.refresh(&current.refresh));
        let (one, other) = (one.tokens(), other.tokens());
        assert_eq!(one.refresh, other.refresh);
        current = one;
    }
    assert_eq!(database.one::<i64>("SELECT generation FROM token_families").await, 20);
}

#[tokio::test]
async fn predecessor_after_the_grace_period_ends_the_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let chain = chain(&api, 1).await;
    grace_is_over(&database).await;
    api.refresh(&chain[0].refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
    is_revoked(&api, &chain[1]).await;
    assert!((refreshes(&api, "reuse").await - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn zero_grace_period_allows_no_retry() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("REFRESH_REUSE_GRACE", "0s")]).await;
    let chain = chain(&api, 1).await;
    database.age_rotations("1 minute").await;
    api.refresh(&chain[0].refresh).await.is_problem(401, "refresh_refused");
    is_revoked(&api, &chain[1]).await;
}

#[tokio::test]
async fn older_token_ends_the_session_within_the_grace_period() {
    for back in [2, 40] {
        let database = Database::create().await;
        let api = AuthApi::start(&database, &[]).await;
        let chain = chain(&api, 41).await;
        database.age_rotations("1 minute").await;
        api.refresh(&chain[41 - back].refresh).await.is_problem(401, "refresh_refused");
        assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"), "{back} back");
        is_revoked(&api, &chain[41]).await;
    }
}

#[tokio::test]
async fn generation_lost_in_a_restore_is_rejected_and_ends_nothing() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let mut chain = chain(&api, 3).await;
    database.execute("CREATE TABLE backup AS TABLE token_families").await;
    chain.push(api.refresh(&chain[3].refresh).await.tokens());
    let restore = "UPDATE token_families f SET generation = b.generation, token_hash = b.token_hash,
                   previous_hash = b.previous_hash, sealed_successor = b.sealed_successor FROM backup b";
    database.execute(restore).await;

    api.refresh(&chain[4].refresh).await.is_problem(401, "refresh_refused");
    assert!((refreshes(&api, "unknown").await - 1.0).abs() < f64::EPSILON);
    assert_eq!(revoked_reason(&database).await, None);
    // The restored database continues. The lost token then has the current generation, but another
    // hash.
    let forked = api.refresh(&chain[3].refresh).await.tokens();
    api.refresh(&chain[4].refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await, None);
    assert_eq!(api.session(&forked.access).await.status, 200);
}

#[tokio::test]
async fn forged_token_is_rejected_without_a_query() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let api =
        AuthApi::start(&database, &[("DATABASE_URL", &url), ("DENYLIST_SYNC_INTERVAL", "1h")])
            .await;
    let tokens = api.login(&Wallet::generate()).await;
    let before: String = database.one("SELECT f::text FROM token_families f").await;
    let mut bytes = URL_SAFE_NO_PAD.decode(&tokens.refresh[3..]).unwrap();
    // Apart from requests, auth-api queries the database only at startup and then after an hour.
    testkit::eventually("the denylist has been rebuilt", async || {
        api.metric("auth_api_denylist_synced_timestamp_seconds").await > 0.0
    })
    .await;

    let sent = proxy.bytes_sent();
    for at in 0..bytes.len() {
        bytes[at] ^= 0x40;
        let forged = format!("rt_{}", URL_SAFE_NO_PAD.encode(&bytes));
        api.refresh(&forged).await.is_problem(401, "refresh_refused");
        bytes[at] ^= 0x40;
    }
    for forged in [
        "",
        "rt_",
        "nonsense",
        &tokens.refresh[3..],
        &format!("{}A", tokens.refresh),
        &tokens.access,
    ] {
        api.refresh(forged).await.is_problem(401, "refresh_refused");
    }
    assert_eq!(proxy.bytes_sent(), sent, "the database was queried");
    assert_eq!(database.one::<String>("SELECT f::text FROM token_families f").await, before);
    assert!((refreshes(&api, "forged").await - 74.0).abs() < f64::EPSILON);
    let _ = api.refresh(&tokens.refresh).await.tokens();
    assert!(proxy.bytes_sent() > sent);
}

#[tokio::test]
async fn idle_or_too_old_session_is_not_refreshed() {
    for expired in [
        "expires_at = now() - interval '1 second'",
        "expires_at = now() - interval '1 second', absolute_expires_at = now() - interval '1 second'",
    ] {
        let database = Database::create().await;
        let api = AuthApi::start(&database, &[]).await;
        let tokens = api.login(&Wallet::generate()).await;
        database.execute(&format!("UPDATE sessions SET {expired}")).await;
        is_dead(&api, &tokens).await;
        assert!((refreshes(&api, "expired").await - 1.0).abs() < f64::EPSILON);
        assert_eq!(revoked_reason(&database).await, None);
        assert_eq!(
            database.one::<i64>("SELECT count(*) FROM sessions").await,
            1,
            "no reaper has run"
        );
    }
}

#[tokio::test]
async fn refresh_slides_expiration_up_to_the_absolute_lifetime() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    database.execute("UPDATE sessions SET expires_at = expires_at - interval '2 days'").await;
    let answer = api.refresh(&tokens.refresh).await;
    let tokens = answer.tokens();
    let days = "SELECT round(extract(epoch FROM expires_at - now()) / 86400)::int FROM sessions";
    assert_eq!(database.one::<i32>(days).await, 30);
    assert_eq!(answer.body["refresh_expires_at"], expiry_as_json(&database).await);

    database
        .execute("UPDATE sessions SET absolute_expires_at = now() + interval '5 days', expires_at = now() + interval '3 days'")
        .await;
    let answer = api.refresh(&tokens.refresh).await;
    let _ = answer.tokens();
    let capped = "SELECT expires_at = absolute_expires_at FROM sessions";
    assert!(database.one::<bool>(capped).await);
    assert_eq!(answer.body["refresh_expires_at"], expiry_as_json(&database).await);
}

async fn expiry_as_json(database: &Database) -> String {
    let text: String = database
        .one(
            "SELECT rtrim(rtrim(to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') FROM sessions",
        )
        .await;
    // chrono prints three, six or no fractional digits.
    let digits = text.rsplit_once('.').map_or(0, |(_, digits)| digits.len());
    let zeros = "0".repeat((3 - digits % 3) % 3);
    format!("{text}{zeros}Z")
}

#[tokio::test]
async fn access_token_does_not_outlive_its_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let soon = "UPDATE sessions SET expires_at = now() + interval '90 seconds', absolute_expires_at = now() + interval '90 seconds'";
    database.execute(soon).await;
    let answer = api.refresh(&tokens.refresh).await;
    let expires_in = answer.body["expires_in"].as_i64().unwrap();
    assert!((80..=90).contains(&expires_in), "{expires_in}");
}

#[tokio::test]
async fn rotation_never_survives_a_concurrent_revocation() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    for _ in 0..25 {
        let tokens = api.login(&Wallet::generate()).await;
        let (refreshed, logged_out) =
            tokio::join!(api.refresh(&tokens.refresh), api.logout(&tokens.access));
        assert_eq!(logged_out.status, 204);
        if refreshed.status == 200 {
            is_revoked(&api, &refreshed.tokens()).await;
        } else {
            refreshed.is_problem(401, "refresh_refused");
        }
    }
}

#[tokio::test]
async fn rejections_differ_only_in_the_request_id() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let (revoked, reused) = (api.login(&wallet).await, api.login(&wallet).await);
    let _ = api.logout(&revoked.access).await;
    let _ = api.refresh(&api.refresh(&reused.refresh).await.tokens().refresh).await.tokens();
    database.age_rotations("1 minute").await;
    let answers = [
        api.refresh("rt_forged").await,
        api.refresh(&revoked.refresh).await,
        api.refresh(&reused.refresh).await,
    ];
    let comparable = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        assert!(headers.remove("x-request-id").is_some());
        headers.remove("date");
        (answer.status, format!("{headers:?}"), answer.body.to_string())
    };
    assert!(
        answers.iter().all(|answer| comparable(answer) == comparable(&answers[0])),
        "{answers:?}"
    );
}

#[tokio::test]
async fn short_session_ttl_slides_too() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SESSION_TTL", "30m")]).await;
    let tokens = api.login(&Wallet::generate()).await;
    database.execute("UPDATE sessions SET expires_at = expires_at - interval '5 minutes'").await;
    let _ = api.refresh(&tokens.refresh).await.tokens();
    let minutes = "SELECT round(extract(epoch FROM expires_at - now()) / 60)::int FROM sessions";
    assert_eq!(database.one::<i32>(minutes).await, 30);
}
