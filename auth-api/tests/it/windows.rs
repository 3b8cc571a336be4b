//! Known limitations that docs/security.md describes and that last for a limited time. The tests
//! check what is possible during that time, and what ends it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{
    AuthApi, Database, Program, Proxy, Redis, Service, Tokens, Wallet, binary, eventually,
};

/// An API with a session and its own Redis, which answers look-ups.
struct Stage {
    database: Database,
    redis: Redis,
    api: AuthApi,
    service: Service,
    wallet: Wallet,
    tokens: Tokens,
}

impl Stage {
    async fn start() -> Self {
        let (database, redis, service) =
            (Database::create().await, Redis::start(), Service::add().await);
        let url = redis.url();
        let env = [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "p"), service.env()];
        let api = AuthApi::start(&database, &env).await;
        let wallet = Wallet::generate();
        let tokens = api.login(&wallet).await;
        let stage = Self { database, redis, api, service, wallet, tokens };
        let lookups = "auth_api_denylist_lookup_duration_seconds_count{source=\"redis\"}";
        eventually("Redis answers look-ups", async || {
            let before = stage.api.metric(lookups).await;
            stage.is_active().await && stage.api.metric(lookups).await > before
        })
        .await;
        stage
    }

    /// Returns whether introspection reports the access token as active.
    async fn is_active(&self) -> bool {
        self.api.introspect(&self.service, &self.tokens.access).await.body["active"] == true
    }

    /// Asserts that auth-api's own endpoints reject the session.
    async fn is_over(&self) {
        self.api.session(&self.tokens.access).await.is_problem(401, "unauthenticated");
        self.api.refresh(&self.tokens.refresh).await.is_problem(401, "refresh_refused");
    }
}

#[tokio::test]
async fn expiration_changed_in_sql_is_invisible_to_introspection() {
    let stage = Stage::start().await;
    stage.database.execute("UPDATE sessions SET expires_at = now()").await;
    stage.is_over().await;
    eventually("introspection uses only the denylist", async || stage.is_active().await).await;
    stage.is_over().await;
}

#[tokio::test]
async fn account_disabled_in_sql_is_invisible_to_introspection() {
    let stage = Stage::start().await;
    stage.database.execute("UPDATE accounts SET disabled_at = now()").await;
    stage.is_over().await;
    stage.api.try_login(&stage.wallet).await.is_problem(401, "login_refused");
    eventually("introspection uses only the denylist", async || stage.is_active().await).await;
    stage.is_over().await;
}

#[tokio::test]
async fn deleted_account_is_denied_until_redis_loses_its_data() {
    let stage = Stage::start().await;
    let (url, redis) = (stage.database.url(), stage.redis.url());
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REDIS_URL", redis.as_str()),
        ("REDIS_PREFIX", "p"),
        ("STELLAR_NETWORK", "testnet"),
    ];
    let delete = ["accounts", "delete", stage.wallet.address()];
    let (code, command) = Program::run(binary("auth-api"), &delete, &env).await;
    assert_eq!(code, Some(0), "{}", command.stderr());
    assert!(!stage.is_active().await);
    stage.is_over().await;
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    // The rebuild reads only the remaining sessions.
    eventually("the denylist is complete again, without the deleted session", async || {
        stage.is_active().await
    })
    .await;
    stage.is_over().await;
}

#[tokio::test]
async fn requests_are_503_until_the_database_time_is_known() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let ready = AuthApi::start(&database, &[]).await;
    proxy.cut();
    let redis = Redis::shared_url();
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REDIS_URL", redis.as_str()),
        ("BIND", "127.0.0.1:0"),
        ("OPS_BIND", "127.0.0.1:0"),
        ("PUBLIC_URL", AuthApi::PUBLIC_URL),
        ("AUTH_SECRET", AuthApi::SECRET),
        ("SIGNING_KEYS_DIR", ready.keys().to_str().unwrap()),
        ("STELLAR_NETWORK", "testnet"),
        ("LOG_FORMAT", "json"),
    ];
    let mut program = Program::start(binary("auth-api"), &["serve"], &env);
    let listening = program.log_event("listening").await;
    let url = format!("http://{}/auth/challenge", listening["api"].as_str().unwrap());
    let body = json!({ "address": Wallet::generate().address() });
    let status =
        async || ready.client.post(&url).json(&body).send().await.unwrap().status().as_u16();
    assert_eq!(status().await, 503);
    proxy.restore();
    eventually("the database time is known", async || status().await == 200).await;
}
