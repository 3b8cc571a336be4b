//! The contents and the signing keys of access tokens.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::{AuthApi, Database, Wallet};

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
