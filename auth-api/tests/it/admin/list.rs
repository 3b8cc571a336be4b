//! GET /admin/sessions: fields, order, filters and invalid parameters.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::Wallet;

use crate::admin::admin_api::{AdminApi, TOKEN, ids};

#[tokio::test]
async fn listed_session_includes_its_account() {
    let admin = AdminApi::start().await;
    let wallet = Wallet::generate();
    let message = admin.api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) });
    let login = admin
        .api
        .client
        .post(format!("{}/auth/login", admin.api.url))
        .header("User-Agent", "wallet/1 (x)");
    let tokens = admin.api.send(login.json(&body)).await.tokens();
    let listed = admin.list("").await;
    let own = admin.api.session(&tokens.access).await.body;
    let expected = json!({
        "id": tokens.session_id, "transport": "token", "device": "wallet/1", "user_agent": "wallet/1 (x)",
        "ip": "127.0.0.1", "created_at": own["session"]["created_at"], "last_seen_at": own["session"]["last_seen_at"],
        "expires_at": own["session"]["expires_at"], "account": own["account"],
    });
    assert_eq!(listed, json!({ "sessions": [expected], "next": null }));
    let events = admin.logged("admin_list", 1).await;
    let expected = json!({
        "event": "admin_list", "who": "admin", "via": "http", "order": "newest",
        "filters": "all", "sessions": 1, "ip": "127.0.0.1",
    });
    assert_eq!(events, [expected]);
}

#[tokio::test]
async fn pages_contain_each_session_once() {
    let admin = AdminApi::start().await;
    let mut filled = admin.fill(450).await;
    assert_eq!(ids(&admin.list("").await).len(), 200, "the default limit");
    filled.reverse();
    let (mut seen, mut after, mut gone) = (Vec::new(), String::new(), BTreeSet::new());
    loop {
        let page = admin.list(&format!("?limit=100{after}")).await;
        seen.extend(ids(&page));
        let Some(next) = page["next"].as_str() else { break };
        assert_eq!(Some(next), seen.last().map(String::as_str));
        after = format!("&after={next}");
        // Revokes the last session of this page and one session of a later page, and creates new
        // sessions.
        let at = filled.iter().position(|id| id == next).unwrap();
        for id in [at, at + 50].iter().filter_map(|at| filled.get(*at)) {
            admin
                .database
                .execute(&format!("UPDATE sessions SET revoked_at = now() WHERE id = '{id}'"))
                .await;
            gone.insert(id.clone());
        }
        admin.fill(7).await;
    }
    let unread: BTreeSet<_> = gone.iter().filter(|id| !seen.contains(id)).collect();
    assert_eq!(unread.len(), 3);
    let expected: Vec<_> = filled.iter().filter(|id| !unread.contains(id)).cloned().collect();
    assert_eq!(seen, expected, "each live session once and in order, without revoked or new ones");
    // A full page that is also the last one has no `next`.
    let live = usize::try_from(admin.live().await).unwrap();
    assert_eq!(admin.list(&format!("?limit={live}")).await["next"], Value::Null);
    assert_ne!(admin.list(&format!("?limit={}", live - 1)).await["next"], Value::Null);
}

#[tokio::test]
async fn each_filter_selects_the_matching_sessions() {
    let admin = AdminApi::start().await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let old = admin.api.login(&one).await.session_id;
    let young = admin.api.login(&one).await.session_id;
    let foreign = admin.api.login(&other).await.session_id;
    admin.api.cookie_login(&other).await;
    let cookie: String =
        admin.database.one("SELECT id::text FROM sessions WHERE token_hash IS NOT NULL").await;
    admin.database
        .execute(&format!(
            "UPDATE sessions SET created_at = now() - interval '40 days', ip = '2001:db8::7' WHERE id = '{old}';
             UPDATE sessions SET created_at = now() - interval '2 days', ip = '203.0.113.9' WHERE id = '{foreign}';
             UPDATE sessions SET ip = NULL WHERE id = '{cookie}'"
        ))
        .await;
    let account: String = admin
        .database
        .one(&format!("SELECT id::text FROM accounts WHERE subject = '{}'", other.address()))
        .await;
    let boundary: String = admin
        .database
        .one(&format!("SELECT to_json(created_at)::text FROM sessions WHERE id = '{foreign}'"))
        .await;
    let boundary = boundary.trim_matches('"').replace('+', "%2B");
    let (old, young, foreign, cookie) =
        (old.as_str(), young.as_str(), foreign.as_str(), cookie.as_str());
    let address = one.address();
    let cases: Vec<(String, Vec<&str>)> = vec![
        (String::new(), vec![cookie, foreign, young, old]),
        (format!("?account={address}"), vec![young, old]),
        (format!("?account={account}"), vec![cookie, foreign]),
        (format!("?account={}", Wallet::generate().address()), vec![]),
        ("?ip=127.0.0.1".into(), vec![young]),
        ("?ip=203.0.113.0/24".into(), vec![foreign]),
        ("?ip=203.0.113.99/24".into(), vec![foreign]),
        ("?ip=::ffff:203.0.113.9".into(), vec![foreign]),
        ("?ip=0.0.0.0/0".into(), vec![foreign, young]),
        ("?ip=2001:db8::/32".into(), vec![old]),
        ("?ip=198.51.100.1".into(), vec![]),
        ("?transport=cookie".into(), vec![cookie]),
        ("?transport=token".into(), vec![foreign, young, old]),
        ("?older_than=1d".into(), vec![foreign, old]),
        ("?older_than=30d".into(), vec![old]),
        ("?younger_than=30d".into(), vec![cookie, foreign, young]),
        ("?younger_than=1h".into(), vec![cookie, young]),
        ("?older_than=1d&younger_than=30d".into(), vec![foreign]),
        (format!("?created_before={boundary}"), vec![old]),
        (format!("?account={address}&older_than=1d&transport=token"), vec![old]),
        (format!("?account={account}&transport=cookie&order=newest&limit=1"), vec![cookie]),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&admin.list(&query).await), expected, "{query}");
        let by_activity = if query.is_empty() {
            "?order=activity".into()
        } else {
            query.replace("newest", "activity")
        };
        let found: BTreeSet<_> = ids(&admin.list(&by_activity).await).into_iter().collect();
        assert_eq!(found, expected.into_iter().map(str::to_owned).collect(), "{by_activity}");
    }
    // Expired sessions, revoked sessions and sessions of disabled accounts are not live.
    admin.database
        .execute(&format!(
            "UPDATE sessions SET expires_at = now() WHERE id = '{old}'; UPDATE sessions SET revoked_at = now() WHERE id = '{young}';
             UPDATE accounts SET disabled_at = now() WHERE id = '{account}'"
        ))
        .await;
    assert_eq!(admin.list("").await, json!({ "sessions": [], "next": null }));
    assert_eq!(admin.list("?order=activity").await, json!({ "sessions": [], "next": null }));
}

#[tokio::test]
async fn activity_order_sorts_by_last_use() {
    let admin = AdminApi::start().await;
    let wallet = Wallet::generate();
    let (first, second) = (admin.api.login(&wallet).await, admin.api.login(&wallet).await);
    let cookie = admin.api.cookie_login(&wallet).await;
    let third: String =
        admin.database.one("SELECT id::text FROM sessions WHERE token_hash IS NOT NULL").await;
    admin.database
        .execute(
            "UPDATE sessions SET created_at = created_at - interval '1 hour', last_seen_at = last_seen_at - interval '1 hour';
             UPDATE token_families SET rotated_at = rotated_at - interval '1 hour'",
        )
        .await;
    let order = async || ids(&admin.list("?order=activity").await);
    assert_eq!(order().await, [third.as_str(), &second.session_id, &first.session_id]);
    assert_eq!(admin.api.refresh(&first.refresh).await.status, 200);
    assert_eq!(
        order().await,
        [first.session_id.as_str(), &third, &second.session_id],
        "a rotation counts as activity"
    );
    assert_eq!(admin.api.with_cookie("GET", "/auth/session", &cookie).await.status, 200);
    testkit::eventually("the last-seen update counts as activity", async || {
        order().await == [third.as_str(), &first.session_id, &second.session_id]
    })
    .await;
    assert_eq!(ids(&admin.list("?order=activity&limit=1").await), [third.as_str()]);
    let newest = admin.list("").await;
    assert_eq!(
        ids(&newest),
        [third.as_str(), &second.session_id, &first.session_id],
        "the default order is by creation time"
    );
    admin.fill(300).await;
    let listed = admin.list("?order=activity").await;
    assert_eq!((ids(&listed).len(), &listed["next"]), (200, &Value::Null));
}

#[tokio::test]
async fn invalid_parameters_are_rejected_with_their_field() {
    let admin = AdminApi::start().await;
    admin.fill(1).await;
    for (query, field) in [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=many", "limit"),
        ("?limit=", "limit"),
        ("?limit=1&limit=2", "limit"),
        ("?order=activity&limit=201", "limit"),
        ("?order=oldest", "order"),
        ("?after=1", "after"),
        ("?order=activity&after=0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e", "after"),
        ("?account=somebody", "account"),
        (
            "?account=MA7QYNF7SOWQ3GLR2BGMZEHXAVIRZA4KVWLTJJFC7MGXUA74P7UJUAAAAAAAAAAAACJUQ",
            "account",
        ),
        ("?account=", "account"),
        ("?ip=localhost", "ip"),
        ("?ip=203.0.113.0/33", "ip"),
        ("?ip=", "ip"),
        ("?transport=Token", "transport"),
        ("?older_than=30", "older_than"),
        ("?older_than=-1d", "older_than"),
        ("?younger_than=tomorrow", "younger_than"),
        ("?younger_than=99999999999y", "younger_than"),
        ("?older_than=500000y", "older_than"),
        ("?older_than=7000y", "older_than"),
        ("?younger_than=200000y", "younger_than"),
        ("?created_before=2026-11-21", "created_before"),
        ("?created_before=", "created_before"),
        ("?wallet=x", "wallet"),
        ("?dry_run=true", "dry_run"),
    ] {
        let answer = admin.send("GET", &format!("/admin/sessions{query}")).await;
        answer.is_problem(400, "malformed");
        assert_eq!(answer.body["field"], field, "{query}: {answer:?}");
    }
    for (body, field) in [
        (json!({}), "dry_run"),
        (json!({ "all": true }), "dry_run"),
        (json!({ "all": true, "dry_run": "false" }), "dry_run"),
        (json!({ "dry_run": false }), "all"),
        (json!({ "dry_run": false, "all": false }), "all"),
        (json!({ "dry_run": false, "all": true, "transport": "token" }), "all"),
        (json!({ "dry_run": false, "all": null }), "all"),
        (json!({ "dry_run": false, "transport": "carrier pigeon" }), "transport"),
        (json!({ "dry_run": false, "transport": 1 }), "transport"),
        (json!({ "dry_run": false, "older_than": 30 }), "older_than"),
        (json!({ "dry_run": false, "younger_than": "soon" }), "younger_than"),
        (json!({ "dry_run": false, "ip": "10.0.0.0/99" }), "ip"),
        (json!({ "dry_run": false, "account": "me" }), "account"),
        (json!({ "dry_run": false, "created_before": "yesterday" }), "created_before"),
        (json!({ "dry_run": false, "all": true, "limit": 1 }), "limit"),
    ] {
        let answer = admin.revoke(&body).await;
        answer.is_problem(400, "malformed");
        assert_eq!(answer.body["field"], field, "{body}: {answer:?}");
    }
    for (method, path) in [
        ("DELETE", "/admin/sessions/1"),
        ("DELETE", "/admin/sessions/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"),
        ("DELETE", "/admin/accounts/somebody/sessions"),
        ("DELETE", "/admin/accounts/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e/sessions"),
        (
            "DELETE",
            "/admin/accounts/GBXFXNDLV4LSWA4VB7YIL5GBD7BVNR22SGBTDKMO2SBZZHDXSKZYCP7L/sessions",
        ),
    ] {
        admin.send(method, path).await.is_problem(404, "not_found");
    }
    let plain = admin.api.client.post(admin.api.admin("/admin/sessions/revoke")).bearer_auth(TOKEN);
    admin.api.send(plain.body("{}")).await.is_problem(415, "unsupported_media_type");
    assert_eq!(admin.live().await, 1);
}

#[tokio::test]
async fn slow_list_is_answered_503() {
    let admin = AdminApi::start().await;
    admin.fill(3).await;
    let mut other = admin.database.client().await;
    let migration = other.transaction().await.unwrap();
    migration.batch_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for query in ["", "?order=activity"] {
        let answer = admin.send("GET", &format!("/admin/sessions{query}")).await;
        answer.is_problem(503, "unavailable");
        assert!(answer.body["detail"].as_str().unwrap().contains("Ask for less"), "{answer:?}");
        assert!(answer.headers.contains_key("retry-after"));
    }
    migration.rollback().await.unwrap();
    assert_eq!(ids(&admin.list("").await).len(), 3);
}
