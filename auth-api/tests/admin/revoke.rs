//! What operators end: one session, those of an account, all that match.

use serde_json::json;
use testkit::{AuthApi, Wallet};

use crate::desk::Desk;

#[tokio::test]
async fn one_session_is_ended_everywhere_at_once() {
    let desk = Desk::set().await;
    let replica = AuthApi::start_with_keys(
        &desk.database,
        desk.api.copy_of_keys(),
        &[("REDIS_PREFIX", &desk.api.redis_prefix)],
    )
    .await;
    let wallet = Wallet::generate();
    let (ended, kept) = (desk.api.login(&wallet).await, desk.api.login(&wallet).await);
    let path = format!("/admin/sessions/{}", ended.session_id);
    let answer = desk.ask("DELETE", &path).await;
    assert_eq!((answer.status.as_u16(), answer.body), (204, json!("")));
    desk.api.denies(&ended.access).await;
    replica.denies(&ended.access).await;
    replica.refresh(&ended.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(replica.session(&kept.access).await.status, 200);
    desk.ask("DELETE", &path).await.is_problem(404, "not_found");
    let reason = "SELECT revoked_reason FROM sessions WHERE revoked_at IS NOT NULL";
    assert_eq!(desk.database.one::<String>(reason).await, "admin");
    // What has expired is over already.
    desk.database.execute("UPDATE sessions SET expires_at = now()").await;
    desk.ask("DELETE", &format!("/admin/sessions/{}", kept.session_id))
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn all_sessions_of_an_account_end_and_it_may_log_in_again() {
    let desk = Desk::set().await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (desk.api.login(&wallet).await, desk.api.login(&wallet).await);
    let others = desk.api.login(&other).await;
    let answer =
        desk.ask("DELETE", &format!("/admin/accounts/{}/sessions", wallet.address())).await;
    assert_eq!((answer.status.as_u16(), answer.body), (200, json!({ "revoked": 2 })));
    desk.api.denies(&first.access).await;
    desk.api.denies(&second.access).await;
    assert_eq!(desk.api.session(&others.access).await.status, 200);
    let again = desk.api.login(&wallet).await;
    let id =
        desk.api.session(&again.access).await.body["account"]["id"].as_str().unwrap().to_owned();
    let answer = desk.ask("DELETE", &format!("/admin/accounts/{id}/sessions")).await;
    assert_eq!(answer.body, json!({ "revoked": 1 }));
    let answer = desk.ask("DELETE", &format!("/admin/accounts/{id}/sessions")).await;
    assert_eq!(answer.body, json!({ "revoked": 0 }));
}

#[tokio::test]
async fn what_matches_ends_everywhere_at_once_and_a_dry_run_ends_nothing() {
    let desk = Desk::set().await;
    let replica = AuthApi::start_with_keys(
        &desk.database,
        desk.api.copy_of_keys(),
        &[("REDIS_PREFIX", &desk.api.redis_prefix)],
    )
    .await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (desk.api.login(&one).await, desk.api.login(&other).await);
    let third = replica.login(&other).await;
    desk.database
        .execute(&format!(
            "UPDATE sessions SET ip = '203.0.113.9' WHERE id <> '{}'",
            third.session_id
        ))
        .await;
    let rows = "SELECT string_agg(s::text, ' ' ORDER BY id) FROM sessions s";
    let before: String = desk.database.one(rows).await;
    let network = json!({ "ip": "203.0.113.0/24", "dry_run": true });
    assert_eq!(
        desk.revoke(&network).await.body,
        json!({ "matched": 2, "revoked": 0, "dry_run": true })
    );
    let all = json!({ "all": true, "dry_run": true });
    assert_eq!(
        desk.revoke(&all).await.body,
        json!({ "matched": 3, "revoked": 0, "dry_run": true })
    );
    assert_eq!(desk.database.one::<String>(rows).await, before);

    let answer = desk.revoke(&json!({ "ip": "203.0.113.0/24", "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 2, "revoked": 2, "dry_run": false }), "{answer:?}");
    for tokens in [&first, &second] {
        desk.api.denies(&tokens.access).await;
        replica.denies(&tokens.access).await;
        replica.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    }
    assert_eq!(desk.api.session(&third.access).await.status, 200);
    assert_eq!(replica.session(&third.access).await.status, 200);
    assert!(
        (desk.api.metric("auth_api_sessions_revoked_total{reason=\"admin\"}").await - 2.0).abs()
            < f64::EPSILON
    );

    // Of a disabled account, too: it may be enabled again.
    desk.database.execute("UPDATE accounts SET disabled_at = now()").await;
    let answer = desk.revoke(&json!({ "account": other.address(), "dry_run": false })).await;
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
    assert_eq!(desk.told("admin_revoke", 4).await, expected);
    let revoked = desk.told("revoke", 3).await;
    assert_eq!(revoked.len(), 3);
    assert!(revoked.iter().all(|event| event["reason"] == "admin"), "{revoked:?}");
}

#[tokio::test]
async fn many_sessions_end_over_many_chunks_and_stretches() {
    let desk = Desk::set().await;
    desk.fill(1).await;
    // More than two stretches, of which every tenth row is of another address, and some are over.
    desk.database
        .execute(
            "INSERT INTO sessions (id, account_id, ip, expires_at, absolute_expires_at, revoked_at)
             SELECT gen_random_uuid(), a.id, CASE WHEN i % 10 = 0 THEN inet '10.1.2.3' ELSE '10.9.9.9' END,
                 t.at, t.at, CASE WHEN i % 50 = 0 THEN now() END
             FROM generate_series(1, 12000) i, accounts a,
                 LATERAL (SELECT now() + CASE WHEN i % 40 = 0 THEN interval '-1 hour' ELSE interval '1 hour' END AS at) t",
        )
        .await;
    let standing = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL AND expires_at > now()";
    let of_ip: i64 = desk.database.one(&format!("{standing} AND ip <<= '10.1.0.0/16'")).await;
    let all: i64 = desk.database.one(standing).await;
    assert!(of_ip > 500 && all > 10_000);
    let answer = desk.revoke(&json!({ "ip": "10.1.0.0/16", "dry_run": true })).await;
    assert_eq!(answer.body, json!({ "matched": of_ip, "revoked": 0, "dry_run": true }));
    let answer = desk.revoke(&json!({ "ip": "10.1.0.0/16", "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": of_ip, "revoked": of_ip, "dry_run": false }));
    assert_eq!(desk.database.one::<i64>(standing).await, all - of_ip);
    let answer = desk.revoke(&json!({ "all": true, "dry_run": false })).await;
    assert_eq!(
        answer.body,
        json!({ "matched": all - of_ip, "revoked": all - of_ip, "dry_run": false })
    );
    assert_eq!(desk.database.one::<i64>(standing).await, 0);
}

#[tokio::test]
async fn a_revocation_that_stops_half_way_says_how_far_it_came() {
    let desk = Desk::set_with(&[("DATABASE_STATEMENT_TIMEOUT", "3s")]).await;
    let mut filled = desk.fill(600).await;
    filled.sort_unstable();
    let mut other = desk.database.client().await;
    let holding = other.transaction().await.unwrap();
    let hold = format!("SELECT FROM sessions WHERE id = '{}' FOR UPDATE", filled[599]);
    holding.batch_execute(&hold).await.unwrap();
    let answer = desk.revoke(&json!({ "all": true, "dry_run": false })).await;
    answer.is_problem(503, "unavailable");
    assert!(
        answer.body["detail"].as_str().unwrap().contains("500 sessions are revoked"),
        "{answer:?}"
    );
    assert_eq!(desk.live().await, 100);
    let told = desk.told("admin_revoke", 1).await;
    assert_eq!((&told[0]["matched"], &told[0]["revoked"]), (&json!(600), &json!(500)));
    holding.rollback().await.unwrap();
    let answer = desk.revoke(&json!({ "all": true, "dry_run": false })).await;
    assert_eq!(answer.body, json!({ "matched": 100, "revoked": 100, "dry_run": false }));
}

#[tokio::test]
async fn what_refreshes_meanwhile_is_ended_all_the_same() {
    let desk = Desk::set().await;
    let mut sessions = Vec::new();
    for _ in 0..8 {
        sessions.push(desk.api.login(&Wallet::generate()).await);
    }
    // Each goes on refreshing until it may not any more.
    let refreshing = sessions.into_iter().map(async |mut tokens| {
        loop {
            let answer = desk.api.refresh(&tokens.refresh).await;
            if answer.status == 401 {
                break tokens;
            }
            tokens = answer.tokens();
        }
    });
    let everything = json!({ "all": true, "dry_run": false });
    let (last, answer) =
        tokio::join!(futures_util::future::join_all(refreshing), desk.revoke(&everything));
    assert_eq!(answer.body, json!({ "matched": 8, "revoked": 8, "dry_run": false }));
    for tokens in last {
        desk.api.denies(&tokens.access).await;
    }
    let reasons = "SELECT string_agg(DISTINCT revoked_reason, ' ') FROM sessions";
    assert_eq!(desk.database.one::<String>(reasons).await, "admin");
}

#[tokio::test]
async fn an_operator_who_hangs_up_does_not_stop_it() {
    let desk = Desk::set().await;
    let mut filled = desk.fill(1200).await;
    filled.sort_unstable();
    let mut other = desk.database.client().await;
    let holding = other.transaction().await.unwrap();
    holding
        .batch_execute(&format!("SELECT FROM sessions WHERE id = '{}' FOR UPDATE", filled[700]))
        .await
        .unwrap();
    let observer = desk.database.client().await;
    let everything = json!({ "all": true, "dry_run": false });
    tokio::select! {
        answer = desk.revoke(&everything) => assert_eq!(answer.status, 0, "it has not waited for the lock"),
        () = testkit::waits_for_a_lock(&observer, "auth-api") => {}
    }
    assert_eq!(desk.live().await, 700);
    holding.rollback().await.unwrap();
    let told = desk.told("admin_revoke", 1).await;
    assert_eq!((&told[0]["matched"], &told[0]["revoked"]), (&json!(1200), &json!(1200)));
    assert_eq!(desk.live().await, 0);
}
