use serde_json::{Value, json};
use testkit::{Answer, AuthApi, Database, Redis, Wallet, eventually};

use super::{field, is_limited_by, is_number, left};

async fn start(database: &Database, more: &[(&str, &str)]) -> AuthApi {
    let env =
        [("RATE_LIMIT", "on"), ("TRUSTED_PROXIES", "127.0.0.1"), ("RATE_LIMIT_IP", "1000/1h")];
    AuthApi::start(database, &env.into_iter().chain(more.iter().copied()).collect::<Vec<_>>()).await
}

async fn post(api: &AuthApi, from: &str, path: &str, body: &Value) -> Answer {
    api.send(
        api.client.post(format!("{}{path}", api.url)).header("X-Forwarded-For", from).json(body),
    )
    .await
}

/// Returns the login request of a wallet.
async fn signed(api: &AuthApi, from: &str, wallet: &Wallet) -> Value {
    let challenge =
        post(api, from, "/auth/challenge", &json!({ "address": wallet.address() })).await;
    let message = challenge.body["message"].as_str().unwrap();
    json!({ "message": message, "signature": wallet.sign(message) })
}

async fn login(api: &AuthApi, from: &str, wallet: &Wallet) -> Answer {
    post(api, from, "/auth/login", &signed(api, from, wallet).await).await
}

#[tokio::test]
async fn new_accounts_are_limited_by_network() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT_NEW_ACCOUNTS", "2/1h")]).await;
    let wallets: Vec<_> = (0..3).map(|_| Wallet::generate()).collect();
    let first = login(&api, "203.0.113.1", &wallets[0]).await;
    let _ = first.tokens();
    assert_eq!(
        field(&first, "ratelimit-policy"),
        "\"ip\";q=1000;w=3600, \"address\";q=240;w=60, \"new-accounts\";q=2;w=3600"
    );
    assert_eq!(left(&first).last(), Some(&("new-accounts", 1)));
    let _ = login(&api, "203.0.113.200", &wallets[1]).await.tokens();

    let signed = signed(&api, "203.0.113.77", &wallets[2]).await;
    is_limited_by(&post(&api, "203.0.113.77", "/auth/login", &signed).await, "new-accounts");
    assert_eq!(database.one::<i64>("SELECT count(*) FROM accounts").await, 2);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 2);
    // The challenge was not consumed, and other networks have their own quota.
    let _ = post(&api, "198.51.100.1", "/auth/login", &signed).await.tokens();

    // Logins to existing accounts are not limited by this quota.
    for _ in 0..5 {
        let known = login(&api, "203.0.113.77", &wallets[0]).await;
        let _ = known.tokens();
        assert_eq!(
            field(&known, "ratelimit-policy"),
            "\"ip\";q=1000;w=3600, \"address\";q=240;w=60"
        );
    }
    is_number(api.metric("auth_api_accounts_created_total").await, 3.0);
    is_number(
        api.metric("auth_api_rate_limited_total{route=\"/auth/login\",scope=\"new_accounts\"}")
            .await,
        1.0,
    );
    is_number(api.metric("auth_api_logins_total{outcome=\"limited\"}").await, 1.0);
    eventually("the rejection is logged", async || !api.program.log_events("limit").is_empty())
        .await;
    let limits = api.program.log_events("limit");
    assert_eq!(
        (&limits[0]["scope"], &limits[0]["ip"]),
        (&json!("new_accounts"), &json!("203.0.113.77"))
    );
}

#[tokio::test]
async fn new_accounts_are_counted_by_48_bit_ipv6_network() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT_NEW_ACCOUNTS", "2/1h")]).await;
    for from in ["2001:db8:7:1::1", "2001:db8:7:ff00::1"] {
        let _ = login(&api, from, &Wallet::generate()).await.tokens();
    }
    is_limited_by(&login(&api, "2001:db8:7:2::1", &Wallet::generate()).await, "new-accounts");
    let _ = login(&api, "2001:db8:8::1", &Wallet::generate()).await.tokens();
}

#[tokio::test]
async fn processes_share_the_new_account_quota() {
    let (database, mut redis) = (Database::create().await, Redis::start());
    let url = redis.url();
    let env =
        [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "p"), ("RATE_LIMIT_NEW_ACCOUNTS", "2/1h")];
    let (one, other) = (start(&database, &env).await, start(&database, &env).await);
    for api in [&one, &other] {
        let _ = login(api, "203.0.113.1", &Wallet::generate()).await.tokens();
    }
    for api in [&one, &other] {
        is_limited_by(&login(api, "203.0.113.1", &Wallet::generate()).await, "new-accounts");
    }
    // Without Redis, each process counts separately.
    redis.kill();
    for _ in 0..2 {
        let _ = login(&one, "203.0.113.1", &Wallet::generate()).await.tokens();
    }
    is_limited_by(&login(&one, "203.0.113.1", &Wallet::generate()).await, "new-accounts");
}

#[tokio::test]
async fn default_limit_allows_500_new_accounts() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("RATE_LIMIT", "on")]).await;
    let answer = api.try_login(&Wallet::generate()).await;
    assert_eq!(left(&answer).last(), Some(&("new-accounts", 499)));
    assert!(field(&answer, "ratelimit-policy").ends_with("\"new-accounts\";q=500;w=3600"));
}
