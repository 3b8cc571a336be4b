//! The audit events: each has all its fields, and none contains a credential.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use testkit::{AuthApi, Database, Program, Redis, Wallet, binary};

/// Returns the audit events of a log, oldest first.
fn events(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "audit").collect()
}

fn named<'e>(events: &'e [Value], name: &str) -> Vec<&'e Value> {
    events.iter().map(|event| &event["fields"]).filter(|fields| fields["event"] == name).collect()
}

#[tokio::test]
async fn audit_log_records_the_lifecycle_of_sessions() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[("SESSION_LIMIT", "1"), ("REFRESH_REUSE_GRACE", "0s")]).await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let message = api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) });
    let login = api
        .client
        .post(format!("{}/auth/login", api.url))
        .header("User-Agent", "wallet/1")
        .json(&body);
    let first = api.send(login).await.tokens();
    // Three rejected logins: a replayed challenge, another wallet's signature, and an unknown
    // message.
    api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    let message = api.challenge(&wallet).await;
    api.submit(&message, &other.sign(&message)).await.is_problem(401, "login_refused");
    api.submit("hello", &wallet.sign("hello")).await.is_problem(401, "login_refused");
    let next = api.refresh(&first.refresh).await.tokens();
    database.age_rotations("1 minute").await;
    api.refresh("rt_x").await.is_problem(401, "refresh_refused");
    api.refresh(&first.refresh).await.is_problem(401, "refresh_refused");
    let second = api.login(&wallet).await;
    let third = api.login(&wallet).await;
    let cookie = api.cookie_login(&wallet).await;
    let replaced = api.try_cookie_login(&wallet, Some(&cookie)).await.cookie();
    assert_eq!(api.with_cookie("POST", "/auth/logout", &replaced).await.status, 204);
    let last = api.login(&wallet).await;
    assert_eq!(
        api.with_token("DELETE", &format!("/auth/sessions/{}", last.session_id), &last.access)
            .await
            .status,
        204
    );

    let account: String = database.one("SELECT id::text FROM accounts").await;
    let log = api.program.stderr();
    let events = events(&log);
    let logins = named(&events, "login");
    assert_eq!(logins.len(), 6);
    assert_eq!(
        *logins[0],
        json!({
            "message": "logged in", "event": "login", "session_id": first.session_id, "account_id": account,
            "wallet": wallet.address(), "transport": "token", "ip": "127.0.0.1", "user_agent": "wallet/1",
        })
    );
    assert_eq!(logins[3]["transport"], "cookie");
    let reasons: Vec<_> = named(&events, "login_refused")
        .iter()
        .map(|fields| fields["reason"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(reasons, ["replayed", "not signed by the wallet", "not a challenge of ours"]);
    assert_eq!(named(&events, "login_refused")[0]["wallet"], wallet.address());
    let refreshed = named(&events, "refresh");
    assert_eq!(refreshed.len(), 1);
    assert_eq!(
        (&refreshed[0]["session_id"], &refreshed[0]["retry"]),
        (&json!(next.session_id), &json!(false))
    );
    let refused = named(&events, "refresh_refused");
    assert_eq!((refused.len(), &refused[0]["reason"]), (1, &json!("forged")));
    assert_eq!(named(&events, "reuse")[0]["session_id"], json!(first.session_id));
    let revoked: Vec<_> = named(&events, "revoke")
        .iter()
        .map(|fields| {
            format!(
                "{} {}",
                fields["reason"].as_str().unwrap(),
                fields["session_id"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(revoked[0], format!("reuse {}", first.session_id));
    assert_eq!(revoked[1], format!("limit {}", second.session_id));
    assert_eq!(revoked[2], format!("limit {}", third.session_id));
    assert!(
        revoked[3].starts_with("superseded ") && revoked[4].starts_with("logout "),
        "{revoked:?}"
    );
    assert_eq!(revoked[5], format!("user {}", last.session_id));
    // Each event has the id of its request.
    assert!(
        events
            .iter()
            .all(|event| event["span"]["request_id"].as_str().is_some_and(|id| id.len() == 36)),
        "{events:#?}"
    );

    let (id, url, redis) = (&account, database.url_as("auth_api"), Redis::shared_url());
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REDIS_URL", redis.as_str()),
        ("REDIS_PREFIX", api.redis_prefix.as_str()),
        ("LOG_FORMAT", "json"),
    ];
    let (code, command) =
        Program::run(binary("auth-api"), &["accounts", "disable", id], &env).await;
    assert_eq!(code, Some(0), "{}", command.stderr());
    let command_events = self::events(&command.stderr());
    assert_eq!(named(&command_events, "account_disabled")[0]["account_id"], json!(account));

    for secret in [&first.access, &first.refresh, &next.refresh, &third.access, &cookie, &replaced]
    {
        let value = secret.split_once('=').map_or(secret.as_str(), |(_, value)| value);
        assert!(!log.contains(value), "the log contains a credential");
    }
}

#[tokio::test]
async fn rate_limited_request_is_logged() {
    let database = Database::create().await;
    let env = [("RATE_LIMIT", "on"), ("RATE_LIMIT_IP", "1/1h"), ("RATE_LIMIT_ADDRESS", "1000/1m")];
    let api = AuthApi::start(&database, &env).await;
    let body = json!({ "address": Wallet::generate().address() });
    assert_eq!(api.post("/auth/challenge", &body).await.status, 200);
    api.post("/auth/challenge", &body).await.is_problem(429, "rate_limited");
    let limits = || api.program.log_events("limit");
    testkit::eventually("the limit event is in the log", async || !limits().is_empty()).await;
    let expected = json!({
        "event": "limit", "route": "/auth/challenge", "scope": "ip", "ip": "127.0.0.1",
    });
    assert_eq!(limits(), [expected]);
}
