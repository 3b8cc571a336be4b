//! POST /auth/challenge and POST /auth/login. Requests of hostile clients are in `hostile/`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

/// Returns the number of logins with this outcome, from the metrics.
async fn logins(api: &AuthApi, outcome: &str) -> f64 {
    api.metric(&format!("auth_api_logins_total{{outcome=\"{outcome}\"}}")).await
}

#[tokio::test]
async fn wallet_logs_in_to_one_account() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();

    let message = api.challenge(&wallet).await;
    let answer = api.submit(&message, &wallet.sign(&message)).await;
    let tokens = answer.tokens();
    assert_eq!(answer.body["token_type"], "Bearer");
    assert_eq!(answer.body["expires_in"], 900);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.body["refresh_expires_at"].as_str().unwrap().ends_with('Z'));
    assert!(tokens.refresh.starts_with("rt_"));

    let me = api.session(&tokens.access).await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(me.body["account"]["subject"], wallet.address());
    assert_eq!(me.body["account"]["issuer"], "stellar:testnet");
    assert_eq!(me.body["session"]["id"], tokens.session_id.as_str());
    assert_eq!(me.body["session"]["transport"], "token");
    assert_eq!(me.body["session"]["ip"], "127.0.0.1");
    assert_eq!(me.body["session"]["current"], true);
    assert_eq!(me.body["session"]["last_seen_at"], me.body["session"]["created_at"]);

    let again = api.try_login(&wallet).await.tokens();
    let me_again = api.session(&again.access).await;
    assert_eq!(
        me_again.body["account"]["id"], me.body["account"]["id"],
        "a wallet has one account"
    );
    assert_ne!(again.session_id, tokens.session_id);
}

#[tokio::test]
async fn login_accepts_a_hex_signature_and_a_transport() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let body =
        json!({ "message": message, "signature": wallet.sign_hex(&message), "transport": "token" });
    let _ = api.post("/auth/login", &body).await.tokens();
}

#[tokio::test]
async fn only_token_hashes_are_stored() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let next = api.refresh(&tokens.refresh).await.tokens();
    let everything: String = database
        .one(
            "SELECT concat((SELECT string_agg(s::text, '') FROM sessions s), (SELECT string_agg(f::text, '') FROM token_families f),
                           (SELECT string_agg(c::text, '') FROM consumed_challenges c))",
        )
        .await;
    for secret in [&tokens.refresh, &next.refresh, &tokens.access] {
        let bytes = base64_url(&secret[3..]);
        assert!(!everything.contains(&secret[3..]));
        // The random part of the token, as PostgreSQL prints it.
        assert!(
            !everything.contains(&hex::encode(&bytes[20..52])),
            "the database contains a secret"
        );
    }
    let stored: String = database.one("SELECT encode(token_hash, 'hex') FROM token_families").await;
    assert_eq!(stored.len(), 64);
}

fn base64_url(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let end = text.find('.').unwrap_or(text.len());
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&text[..end.min(88)]).unwrap()
}

#[tokio::test]
async fn challenge_of_another_deployment_is_rejected() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    for difference in [
        ("PUBLIC_URL", "https://evil.example.test"),
        ("STELLAR_NETWORK", "pubnet"),
        ("AUTH_SECRET", AuthApi::OTHER_SECRET),
    ] {
        let foreign = AuthApi::start(&database, &[difference]).await;
        let message = foreign.challenge(&wallet).await;
        api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
        let _ = foreign.submit(&message, &wallet.sign(&message)).await.tokens();
    }
}

#[tokio::test]
async fn older_secret_still_verifies() {
    let database = Database::create().await;
    let before = AuthApi::start(&database, &[]).await;
    let both = format!("{},{}", AuthApi::OTHER_SECRET, AuthApi::SECRET);
    let after = AuthApi::start(&database, &[("AUTH_SECRET", &both)]).await;
    let wallet = Wallet::generate();
    let message = before.challenge(&wallet).await;
    let tokens = after.submit(&message, &wallet.sign(&message)).await.tokens();
    before.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    let old = before.login(&wallet).await;
    let _ = after.refresh(&old.refresh).await.tokens();
}

#[tokio::test]
async fn replayed_challenge_is_rejected() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let signature = wallet.sign(&message);
    let _ = api.submit(&message, &signature).await.tokens();
    api.submit(&message, &signature).await.is_problem(401, "login_refused");
    api.submit(&message, &wallet.sign_hex(&message)).await.is_problem(401, "login_refused");
    assert!((logins(&api, "replayed").await - 2.0).abs() < f64::EPSILON);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 1);
}

#[tokio::test]
async fn one_of_32_concurrent_submissions_succeeds() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let signature = wallet.sign(&message);
    let answers =
        futures_util::future::join_all((0..32).map(|_| api.submit(&message, &signature))).await;
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    let lost = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!((won, lost), (1, 31));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 1);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM token_families").await, 1);
}

#[tokio::test]
async fn challenge_expires_by_the_database_clock() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("CHALLENGE_TTL", "1s")]).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let expires_at =
        message.lines().find_map(|line| line.strip_prefix("Expiration Time: ")).unwrap().to_owned();
    let past = format!("SELECT clock_timestamp() >= '{expires_at}'::timestamptz");
    let client = database.client().await;
    testkit::eventually("the database clock has reached the expiration", async || {
        client.query_one(&past, &[]).await.unwrap().get(0)
    })
    .await;
    api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn login_waiting_past_challenge_expiration_is_rejected() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("CHALLENGE_TTL", "3s")]).await;
    let wallet = Wallet::generate();
    let _ = api.login(&wallet).await;
    let message = api.challenge(&wallet).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM accounts FOR UPDATE", &[]).await.unwrap();
    let signature = wallet.sign(&message);
    // auth-api's own check of the expiration passes. After the wait for the account row, the
    // database rejects the challenge.
    let (answer, ()) = tokio::join!(api.submit(&message, &signature), async {
        let expires_at =
            message.lines().find_map(|line| line.strip_prefix("Expiration Time: ")).unwrap();
        let past = format!("SELECT clock_timestamp() >= '{expires_at}'::timestamptz");
        testkit::eventually("the challenge has expired", async || {
            holder.query_one(&past, &[]).await.unwrap().get(0)
        })
        .await;
        holder.rollback().await.unwrap();
    });
    answer.is_problem(401, "login_refused");
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 1);
}

#[tokio::test]
async fn disabled_account_gets_no_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    database.execute("UPDATE accounts SET disabled_at = now()").await;
    api.try_login(&wallet).await.is_problem(401, "login_refused");
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    assert!((logins(&api, "disabled").await - 1.0).abs() < f64::EPSILON);
}
