//! Revocation by operators: one session, all sessions of an account, or all sessions that match a
//! filter.

use serde_json::json;
use testkit::{AuthApi, Wallet};

use crate::admin::admin_api::AdminApi;

#[tokio::test]
async fn single_session_is_revoked_on_every_replica() {
    let admin = AdminApi::start().await;
    let replica = AuthApi::start_with_keys(
        &admin.database,
        admin.api.copy_of_keys(),
        &[("REDIS_PREFIX", &admin.api.redis_prefix)],
    )
    .await;
    let wallet = Wallet::generate();
    let (ended, kept) = (admin.api.login(&wallet).await, admin.api.login(&wallet).await);
    let path = format!("/admin/sessions/{}", ended.session_id);
    let answer = admin.send("DELETE", &path).await;
    assert_eq!((answer.status.as_u16(), answer.body), (204, json!("")));
    admin.api.denies(&ended.access).await;
    replica.denies(&ended.access).await;
    replica.refresh(&ended.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(replica.session(&kept.access).await.status, 200);
    admin.send("DELETE", &path).await.is_problem(404, "not_found");
    let reason = "SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL";
    assert_eq!(admin.database.one::<String>(reason).await, "admin");
    // An expired session cannot be revoked.
    admin.database.execute("UPDATE sessions SET expires_at = now()").await;
    admin
        .send("DELETE", &format!("/admin/sessions/{}", kept.session_id))
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn sessions_of_an_account_are_revoked_and_login_works() {
    let admin = AdminApi::start().await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (admin.api.login(&wallet).await, admin.api.login(&wallet).await);
    let others = admin.api.login(&other).await;
    let answer =
        admin.send("DELETE", &format!("/admin/accounts/{}/sessions", wallet.address())).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({ "revoked": 2 })));
    admin.api.denies(&first.access).await;
    admin.api.denies(&second.access).await;
    assert_eq!(admin.api.session(&others.access).await.status, 200);
    let again = admin.api.login(&wallet).await;
    let id =
        admin.api.session(&again.access).await.body["account"]["id"].as_str().unwrap().to_owned();
    let answer = admin.send("DELETE", &format!("/admin/accounts/{id}/sessions")).await;
    assert_eq!(answer.body, json!({ "revoked": 1 }));
    let answer = admin.send("DELETE", &format!("/admin/accounts/{id}/sessions")).await;
    assert_eq!(answer.body, json!({ "revoked": 0 }));
}

#[tokio::test]
async fn matching_sessions_are_revoked_except_in_a_dry_run() {
    let admin = AdminApi::start().await;
    let replica = AuthApi::start_with_keys(
        &admin.database,
        admin.api.copy_of_keys(),
        &[("REDIS_PREFIX", &admin.api.redis_prefix)],
    )
    .await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (admin.api.login(&one).await, admin.api.login(&other).await);
    let third = replica.login(&other).await;
    admin
        .database
        .execute(&format!(
            "UPDATE sessions SET ip = '203.0.113.9' WHERE id <> '{}'",
            third.session_id
        ))
        .await;
    let rows = "SELECT string_agg(s::text, ' ' ORDER BY id) FROM sessions s";
    let before: String = admin.database.one(rows).await;
    let network = json!({ "ip": "203.0.113.0/24", "dry_run": true });
    assert_eq!(
        admin.revoke(&network).await.body,
        json!({ "matched": 2, "revoked": 0, "dry_run": true })
    );
    let all = json!({ "all": true, "dry_run": true });
    assert_eq!(
        admin.revoke(&all).await.body,
        json!({ "matched": 3, "revoked": 0, "dry_run": true })
    );
    assert_eq!(admin.database.one::<String>(rows).await, before);

    let answer = admin.revoke(&json!({ "ip": "203.0.113.0/24", "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 2, "revoked": 2, "dry_run": false }), "{answer:?}");
    for tokens in [&first, &second] {
        admin.api.denies(&tokens.access).await;
        replica.denies(&tokens.access).await;
        replica.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    }
    assert_eq!(admin.api.session(&third.access).await.status, 200);
    assert_eq!(replica.session(&third.access).await.status, 200);
    assert!(
        (admin.api.metric("auth_api_sessions_revoked_total{reason=\"admin\"}").await - 2.0).abs()
            < f64::EPSILON
    );

    // Sessions of a disabled account are revoked, too, because the account may be enabled again.
    admin.database.execute("UPDATE accounts SET disabled_at = now()").await;
    let answer = admin.revoke(&json!({ "account": other.address(), "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 1, "revoked": 1, "dry_run": false }));

    let event = |filters: &str, matched: u8, revoked: u8, dry_run: bool| {
        json!({
            "event": "admin_revoke", "who": "admin", "via": "http",
            "filters": filters, "matched": matched, "revoked": revoked, "dry_run": dry_run, "ip": "127.0.0.1",
        })
    };
    let expected = [
        event("ip=203.0.113.0/24", 2, 0, true),
        event("all", 3, 0, true),
        event("ip=203.0.113.0/24", 2, 2, false),
        event(&format!("account={}", other.address()), 1, 1, false),
    ];
    assert_eq!(admin.logged("admin_revoke", 4).await, expected);
    let revoked = admin.logged("revoke", 3).await;
    assert_eq!(revoked.len(), 3);
    assert!(revoked.iter().all(|event| event["reason"] == "admin"), "{revoked:?}");
}

#[tokio::test]
async fn revocation_covers_many_chunks_and_key_ranges() {
    let admin = AdminApi::start().await;
    admin.fill(1).await;
    // The rows span more than two key ranges. Every tenth row has a different address, and some
    // rows are expired or revoked.
    admin.database
        .execute(
            "INSERT INTO sessions (id, account_id, ip, expires_at, absolute_expires_at, revoked_at)
             SELECT gen_random_uuid(), a.id, CASE WHEN i % 10 = 0 THEN inet '10.1.2.3' ELSE '10.9.9.9' END,
                 t.at, t.at, CASE WHEN i % 50 = 0 THEN now() END
             FROM generate_series(1, 12000) i, accounts a,
                 LATERAL (SELECT now() + CASE WHEN i % 40 = 0 THEN interval '-1 hour' ELSE interval '1 hour' END AS at) t",
        )
        .await;
    let live = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND expires_at > now()";
    let of_ip: i64 = admin.database.one(&format!("{live} AND ip <<= '10.1.0.0/16'")).await;
    let all: i64 = admin.database.one(live).await;
    assert!(of_ip > 500 && all > 10_000);
    let answer = admin.revoke(&json!({ "ip": "10.1.0.0/16", "dry_run": true })).await;
    assert_eq!(answer.body, json!({ "matched": of_ip, "revoked": 0, "dry_run": true }));
    let answer = admin.revoke(&json!({ "ip": "10.1.0.0/16", "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": of_ip, "revoked": of_ip, "dry_run": false }));
    assert_eq!(admin.database.one::<i64>(live).await, all - of_ip);
    let answer = admin.revoke(&json!({ "all": true, "dry_run": false })).await;
    assert_eq!(
        answer.body,
        json!({ "matched": all - of_ip, "revoked": all - of_ip, "dry_run": false })
    );
    assert_eq!(admin.database.one::<i64>(live).await, 0);
}

#[tokio::test]
async fn interrupted_revocation_reports_its_progress() {
    let admin = AdminApi::start_with(&[("DATABASE_STATEMENT_TIMEOUT", "3s")]).await;
    let mut filled = admin.fill(600).await;
    filled.sort_unstable();
    let mut other = admin.database.client().await;
    let holding = other.transaction().await.unwrap();
    let hold = format!("SELECT FROM sessions WHERE id = '{}' FOR UPDATE", filled[599]);
    holding.batch_execute(&hold).await.unwrap();
    let answer = admin.revoke(&json!({ "all": true, "dry_run": false })).await;
    answer.is_problem(503, "unavailable");
    assert!(
        answer.body["detail"].as_str().unwrap().contains("500 sessions are revoked"),
        "{answer:?}"
    );
    assert_eq!(admin.live().await, 100);
    let events = admin.logged("admin_revoke", 1).await;
    assert_eq!((&events[0]["matched"], &events[0]["revoked"]), (&json!(600), &json!(500)));
    holding.rollback().await.unwrap();
    let answer = admin.revoke(&json!({ "all": true, "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 100, "revoked": 100, "dry_run": false }));
}

#[tokio::test]
async fn sessions_refreshed_during_revocation_are_revoked() {
    let admin = AdminApi::start().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(admin.api.login(&Wallet::generate()).await);
    }
    // Each client refreshes until its session is revoked.
    let refreshing = sessions.into_iter().map(async |mut tokens| {
        loop {
            let answer = admin.api.refresh(&tokens.refresh).await;
            if answer.status == 401 {
                break tokens;
            }
            tokens = answer.tokens();
        }
    });
    let everything = json!({ "all": true, "dry_run": false });
    let (last, answer) =
        tokio::join!(futures_util::future::join_all(refreshing), admin.revoke(&everything));
    assert_eq!(answer.body, json!({ "matched": 8, "revoked": 8, "dry_run": false }));
    for tokens in last {
        admin.api.denies(&tokens.access).await;
    }
    let reasons = "SELECT string_agg(DISTINCT revoked_reason, ' ') FROM sessions";
    assert_eq!(admin.database.one::<String>(reasons).await, "admin");
}

#[tokio::test]
async fn client_disconnect_does_not_stop_a_revocation() {
    let admin = AdminApi::start().await;
    let mut filled = admin.fill(1200).await;
    filled.sort_unstable();
    let mut other = admin.database.client().await;
    let holding = other.transaction().await.unwrap();
    holding
        .batch_execute(&format!("SELECT FROM sessions WHERE id = '{}' FOR UPDATE", filled[700]))
        .await
        .unwrap();
    let observer = admin.database.client().await;
    let everything = json!({ "all": true, "dry_run": false });
    tokio::select! {
        answer = admin.revoke(&everything) => assert_eq!(answer.status, 0, "the revocation did not wait for the lock"),
        () = testkit::waits_for_a_lock(&observer, "auth-api") => {}
    }
    assert_eq!(admin.live().await, 700);
    holding.rollback().await.unwrap();
    let events = admin.logged("admin_revoke", 1).await;
    assert_eq!((&events[0]["matched"], &events[0]["revoked"]), (&json!(1200), &json!(1200)));
    assert_eq!(admin.live().await, 0);
}
