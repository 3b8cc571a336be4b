//! Key rotation, unavailable keys, and invalid keys.

use std::time::{Duration, Instant};

use auth_client::Error;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{AuthApi, Database, Jwt, Program, Proxy, Receiver, Wallet, binary, eventually};
use tokio::task::JoinSet;

use crate::stage::{Resource, client_of, fetches, is_refused, is_unavailable};

/// Creates a signing key in a directory.
async fn generate(directory: &std::path::Path) -> std::path::PathBuf {
    let args = ["keys", "generate", "--dir", directory.to_str().unwrap()];
    let (code, made) = Program::run(binary("auth-api"), &args, &[]).await;
    assert_eq!(code, Some(0), "{}", made.stderr());
    made.stdout().trim().into()
}

/// Starts an auth-api with an old key. auth-api signs with a new key as soon as the key is loaded.
async fn with_an_old_key(database: &Database) -> AuthApi {
    let keys = TempDir::new().unwrap();
    let made = generate(keys.path()).await;
    std::fs::rename(made, keys.path().join("20260101T000000Z-old.pem")).unwrap();
    AuthApi::start_with_keys(database, keys, &[("SIGNING_KEY_DELAY", "0s")]).await
}

#[tokio::test]
async fn tokens_are_accepted_across_a_key_rotation() {
    let database = Database::create().await;
    let api = with_an_old_key(&database).await;
    let resource = Resource::start(&api.url, &[]).await;
    let quick = client_of(&api.url).keys_pause(Duration::ZERO).build().unwrap();
    let wallet = Wallet::generate();
    let old = api.login(&wallet).await.access;
    assert_eq!(resource.me(&old).await.status, 200);
    quick.verify(&old).await.unwrap();

    generate(api.keys()).await;
    assert_eq!(api.reload().await, Vec::<String>::new());
    let new = api.login(&wallet).await.access;
    assert_ne!(Jwt::read(&new).header["kid"], Jwt::read(&old).header["kid"]);
    // A client with no minimum time between requests accepts the new key immediately. Other clients
    // accept it soon.
    quick.verify(&new).await.unwrap();
    eventually("the new key is accepted", async || {
        assert_eq!(resource.me(&old).await.status, 200);
        resource.me(&new).await.status == 200
    })
    .await;
    quick.verify(&old).await.unwrap();
    assert_eq!(resource.me(&old).await.status, 200);
}

#[tokio::test]
async fn retired_key_is_no_longer_accepted() {
    let database = Database::create().await;
    let api = with_an_old_key(&database).await;
    let resource = Resource::start(&api.url, &[]).await;
    let idle = client_of(&api.url).build().unwrap();
    let (wallet, old) = (Wallet::generate(), api.signing_key());
    let genuine = api.login(&wallet).await.access;
    assert_eq!(resource.me(&genuine).await.status, 200);
    idle.verify(&genuine).await.unwrap();
    let begun = Instant::now();

    generate(api.keys()).await;
    std::fs::remove_file(api.keys().join("20260101T000000Z-old.pem")).unwrap();
    assert_eq!(api.reload().await, Vec::<String>::new());
    let new = api.login(&wallet).await.access;
    let stolen =
        Jwt::read(&genuine).claims(&json!({ "jti": "made with the old key" })).signed(&old);
    eventually("the old key is rejected", async || is_refused(&resource.me(&stolen).await)).await;
    assert_eq!(resource.me(&new).await.status, 200);
    // If a client was idle for this long, it must not accept the old key while it fetches a newer
    // set.
    eventually("its set is twice as old as a fresh one", async || {
        begun.elapsed() >= Duration::from_secs(20)
    })
    .await;
    let answer = idle.verify(&stolen).await;
    assert!(matches!(answer, Err(Error::UnknownKey)), "{answer:?}");
}

#[tokio::test]
async fn unknown_keys_cause_few_requests() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let resource = Resource::start(&api.url, &[]).await;
    let client = client_of(&api.url).keys_pause(Duration::from_hours(1)).build().unwrap();
    let token = api.login(&Wallet::generate()).await.access;
    let (ours, key) = (Jwt::read(&token), api.signing_key());
    let forged = |number: u32| {
        ours.clone().header(&json!({ "kid": format!("unknown-{number}") })).signed(&key)
    };

    // No keys are cached, and all callers start at the same time. One caller fetches the keys, and
    // the other callers wait for the result.
    let mut asking = JoinSet::new();
    for number in 0..200 {
        let (client, token) = (client.clone(), forged(number));
        asking.spawn(async move { client.verify(&token).await });
    }
    for answer in asking.join_all().await {
        assert!(matches!(answer, Err(Error::UnknownKey)), "{answer:?}");
    }
    client.verify(&token).await.unwrap();
    assert!((fetches(&api).await - 1.0).abs() < f64::EPSILON);

    let begun = Instant::now();
    for number in 0..200 {
        assert!(is_refused(&resource.me(&forged(number)).await));
    }
    assert_eq!(resource.me(&token).await.status, 200);
    // One request is allowed at first, and one every ten seconds.
    let allowed = 2.0 + (begun.elapsed().as_secs_f64() / 10.0).floor();
    let fetched = fetches(&api).await - 1.0;
    assert!((1.0..=allowed).contains(&fetched), "{fetched} fetches");
}

#[tokio::test]
async fn canceled_callers_cause_only_one_request() {
    let token = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6ImEifQ.e30.AA";
    let silent = Receiver::answering(&[]).await;
    let client = client_of(&format!("http://{}", silent.address()))
        .timeout(Duration::from_mins(5))
        .build()
        .unwrap();
    for _ in 0..20 {
        let given_up = tokio::time::timeout(Duration::from_millis(50), client.verify(token)).await;
        assert!(given_up.is_err());
    }
    eventually("the keys are requested", async || !silent.received().is_empty()).await;
    assert_eq!(silent.received().len(), 1);
}

#[tokio::test]
async fn cached_keys_remain_in_use_while_auth_api_is_unavailable() {
    let database = Database::create().await;
    let api = with_an_old_key(&database).await;
    let proxy = Proxy::to(api.url.strip_prefix("http://").unwrap()).await;
    let url = format!("http://{}", proxy.address());
    let resource = Resource::start(&url, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    assert_eq!(resource.me(&token).await.status, 200);
    proxy.cut();
    // The keys are stale after ten seconds, and requests for new keys fail.
    eventually("the keys are requested again", async || {
        assert_eq!(resource.me(&token).await.status, 200);
        !resource.program.log_events("keys_fetch_failed").is_empty()
    })
    .await;
    assert_eq!(resource.me(&token).await.status, 200);
    // An unknown key may be a new key, so the token is not rejected as invalid.
    let unknown = Jwt::read(&token).header(&json!({ "kid": "unknown" })).signed(&api.signing_key());
    assert!(is_unavailable(&resource.me(&unknown).await));
    proxy.restore();
    eventually("the keys are available again", async || {
        assert_eq!(resource.me(&token).await.status, 200);
        is_refused(&resource.me(&unknown).await)
    })
    .await;
}

#[tokio::test]
async fn no_token_is_accepted_without_keys() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let proxy = Proxy::to(api.url.strip_prefix("http://").unwrap()).await;
    proxy.cut();
    let resource = Resource::start(&format!("http://{}", proxy.address()), &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    assert!(is_unavailable(&resource.me(&token).await));
    assert_eq!(resource.public().await.status, 200);
    // A value that cannot be a token of auth-api is rejected without a key.
    assert!(is_refused(&resource.me("garbage").await));
    proxy.restore();
    eventually("the keys are available", async || resource.me(&token).await.status == 200).await;
}

#[tokio::test]
async fn only_the_newest_64_keys_are_kept() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    let (ours, key) = (Jwt::read(&token), api.signing_key());
    // The oldest key comes first, as in auth-api's set. Some of the keys must be ignored.
    let keys =
        (0..80).flat_map(|number| [json!({ "kty": "RSA" }), jwk(&format!("key-{number}"), &key)]);
    let set = json!({ "keys": keys.collect::<Vec<_>>() }).to_string();
    let server = Receiver::answering(&[(200, &set)]).await;
    let client = client_of(&format!("http://{}", server.address())).build().unwrap();
    let verify = async |number: u32| {
        let kid = json!({ "kid": format!("key-{number}") });
        client.verify(&ours.clone().header(&kid).signed(&key)).await
    };
    for kept in [16, 40, 79] {
        verify(kept).await.unwrap();
    }
    for forgotten in [0, 15] {
        let answer = verify(forgotten).await;
        assert!(matches!(answer, Err(Error::UnknownKey)), "{forgotten}: {answer:?}");
    }
}

fn jwk(kid: &str, key: &SigningKey) -> Value {
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().to_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x })
}

#[tokio::test]
async fn invalid_key_set_does_not_replace_cached_keys() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    let (ours, key) = (Jwt::read(&token), api.signing_key());
    let kid = ours.header["kid"].as_str().unwrap();
    let unknown = ours.clone().header(&json!({ "kid": "unknown" })).signed(&key);

    let good = json!({ "keys": [jwk(kid, &key)] }).to_string();
    let with = |name: &str, value: Value| {
        let mut jwk = jwk("unknown", &key);
        jwk[name] = value;
        json!({ "keys": [jwk] }).to_string()
    };
    let bad = [
        ("an error", 500, good.clone()),
        ("a redirect", 302, good.clone()),
        ("no JSON", 200, "<html>".to_owned()),
        ("no set", 200, "{}".to_owned()),
        ("no key", 200, r#"{"keys":[]}"#.to_owned()),
        ("more than 64 KiB", 200, format!("{good}{}", " ".repeat(64 * 1024))),
        ("a key for encryption", 200, with("use", json!("enc"))),
        ("a key without a use", 200, with("use", Value::Null)),
        ("a key for another curve", 200, with("crv", json!("X25519"))),
        ("a key of another kind", 200, with("kty", json!("oct"))),
        ("a key for another algorithm", 200, with("alg", json!("HS256"))),
        ("a key that is too short", 200, with("x", json!("AAAA"))),
    ];
    for (name, status, body) in bad {
        let server = Receiver::answering(&[(200, &good), (status, &body)]).await;
        let client = client_of(&format!("http://{}", server.address()))
            .keys_pause(Duration::ZERO)
            .build()
            .unwrap();
        client.verify(&token).await.unwrap();
        let answer = client.verify(&unknown).await;
        assert!(matches!(answer, Err(Error::KeysUnavailable(_))), "{name}: {answer:?}");
        assert_eq!(server.received().len(), 2, "{name}");
        client.verify(&token).await.unwrap();
    }
    // No set is used for longer than the maximum time.
    let server = Receiver::answering(&[(200, &good), (500, "")]).await;
    let short = client_of(&format!("http://{}", server.address())).keys_max_stale(Duration::ZERO);
    let client = short.keys_pause(Duration::ZERO).build().unwrap();
    client.verify(&token).await.unwrap();
    assert!(matches!(client.verify(&token).await, Err(Error::KeysUnavailable(_))));
    // Keys that must be ignored do not affect a valid key.
    let beside =
        json!({ "keys": [{ "kty": "RSA", "n": "AQAB", "e": "AQAB" }, 7, jwk("unknown", &key)] })
            .to_string();
    let server = Receiver::answering(&[(200, &good), (200, &beside)]).await;
    let client = client_of(&format!("http://{}", server.address()))
        .keys_pause(Duration::ZERO)
        .build()
        .unwrap();
    client.verify(&token).await.unwrap();
    client.verify(&unknown).await.unwrap();
}
