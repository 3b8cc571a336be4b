//! GET /auth/session, POST /auth/logout, the session limit, and access tokens.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
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
    // The database clock sets created_at under the lock of the account, so it has the order of the
    // commits.
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

#[tokio::test]
async fn logout_ends_the_session_at_once_and_is_idempotent() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let answer = api.logout(&tokens.access).await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.headers["cache-control"], "no-store");
    api.denies(&tokens.access).await;
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(api.logout(&tokens.access).await.status, 204);
    assert_eq!(database.one::<String>("SELECT revoked_reason FROM sessions").await, "logout");
}

#[tokio::test]
async fn logout_accepts_a_refresh_token() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let body = json!({ "refresh_token": tokens.refresh });
    for _ in 0..2 {
        assert_eq!(api.post("/auth/logout", &body).await.status, 204);
    }
    api.session(&tokens.access).await.is_problem(401, "unauthenticated");
    // A genuine token whose row was deleted.
    database.execute("DELETE FROM sessions").await;
    assert_eq!(api.post("/auth/logout", &body).await.status, 204);

    api.post("/auth/logout", &json!({ "refresh_token": "rt_forged" }))
        .await
        .is_problem(401, "unauthenticated");
    api.send(api.client.post(format!("{}/auth/logout", api.url)))
        .await
        .is_problem(401, "unauthenticated");
    let (one, other) = (api.login(&Wallet::generate()).await, api.login(&Wallet::generate()).await);
    let both = api.client.post(format!("{}/auth/logout", api.url)).bearer_auth(&one.access);
    let answer = api.send(both.json(&json!({ "refresh_token": other.refresh }))).await;
    answer.is_problem(400, "malformed");
    assert_eq!(api.session(&one.access).await.status, 200);
    // An additional, invalid Authorization header does not prevent the logout.
    for other in ["Bearer expired", "Basic eDp5"] {
        let tokens = api.login(&Wallet::generate()).await;
        let request =
            api.client.post(format!("{}/auth/logout", api.url)).header("authorization", other);
        let answer = api.send(request.json(&json!({ "refresh_token": tokens.refresh }))).await;
        assert_eq!(answer.status, 204, "{other}");
        api.denies(&tokens.access).await;
    }
}

#[tokio::test]
async fn access_token_has_the_claims_for_resource_servers() {
    let database = Database::create().await;
    let api = AuthApi::start(
        &database,
        &[("ISSUER", "https://issuer.test"), ("AUDIENCE", "https://audience.test")],
    )
    .await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let part = |at: usize| -> Value {
        let bytes = URL_SAFE_NO_PAD.decode(tokens.access.split('.').nth(at).unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let (header, claims) = (part(0), part(1));
    let jwks = api.send(api.client.get(format!("{}/.well-known/jwks.json", api.url))).await;
    let key = &jwks.body["keys"][0];
    assert_eq!(header, json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": key["kid"] }));
    assert_eq!(claims["iss"], "https://issuer.test");
    assert_eq!(claims["aud"], "https://audience.test");
    assert_eq!(claims["client_id"], "auth-api");
    assert_eq!(claims["wallet"], wallet.address());
    assert_eq!(claims["sid"], tokens.session_id.as_str());
    assert_eq!(claims["sub"], database.one::<String>("SELECT id::text FROM accounts").await);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 900);
    assert!(claims["jti"].is_string());

    assert_eq!(key["kty"], "OKP");
    assert_eq!(key["crv"], "Ed25519");
    let public: [u8; 32] =
        URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap().try_into().unwrap();
    let (signed, signature) = tokens.access.rsplit_once('.').unwrap();
    let signature: [u8; 64] = URL_SAFE_NO_PAD.decode(signature).unwrap().try_into().unwrap();
    let public = ed25519_dalek::VerifyingKey::from_bytes(&public).unwrap();
    public
        .verify_strict(signed.as_bytes(), &ed25519_dalek::Signature::from_bytes(&signature))
        .unwrap();
}

#[tokio::test]
async fn newest_mature_openssl_key_signs() {
    let database = Database::create().await;
    let keys = tempfile::TempDir::new().unwrap();
    for name in
        ["20200101T000000Z-old.pem", "20210101T000000Z-ripe.pem", "29990101T000000Z-future.pem"]
    {
        let made = std::process::Command::new("openssl")
            .args(["genpkey", "-algorithm", "ed25519", "-out"])
            .arg(keys.path().join(name))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }
    let api = AuthApi::start_with_keys(&database, keys, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let header = URL_SAFE_NO_PAD.decode(tokens.access.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["kid"], "20210101T000000Z-ripe");
    assert_eq!(api.session(&tokens.access).await.status, 200);
    let jwks = api.send(api.client.get(format!("{}/.well-known/jwks.json", api.url))).await;
    // The old key stopped signing years ago.
    let published: Vec<_> = jwks.body["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key["kid"].as_str().unwrap())
        .collect();
    assert_eq!(published, ["20210101T000000Z-ripe", "29990101T000000Z-future"]);
}
