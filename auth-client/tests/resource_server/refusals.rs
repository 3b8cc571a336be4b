//! Tokens that auth-api did not issue for this service or that are not valid now, and requests
//! without a token.

use std::time::{Duration, SystemTime};

use auth_client::Error;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use testkit::{AuthApi, Database, Jwt, Wallet};

use crate::stage::{Resource, client_of, is_refused, send};

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// A test case: its name and the token.
type Case = (&'static str, String);

fn algorithms(ours: &Jwt, key: &SigningKey) -> Vec<Case> {
    let public = key.verifying_key().to_bytes();
    let alg = |alg: Value| ours.clone().header(&json!({ "alg": alg }));
    let hs256 = |secret: &[u8]| {
        let jwt = alg("HS256".into());
        let key = EncodingKey::from_secret(secret);
        let signature =
            jsonwebtoken::crypto::sign(jwt.signing_input().as_bytes(), &key, Algorithm::HS256)
                .unwrap();
        format!("{}.{signature}", jwt.signing_input())
    };
    vec![
        ("none, without a signature", alg("none".into()).with(&[])),
        ("none, with our signature", alg("none".into()).signed(key)),
        ("HS256 over the public key", hs256(&public)),
        (
            "HS256 over the public key as the set has it",
            hs256(URL_SAFE_NO_PAD.encode(public).as_bytes()),
        ),
        ("HS256, signed with EdDSA", alg("HS256".into()).signed(key)),
        ("no algorithm", alg(Value::Null).signed(key)),
    ]
}

fn headers(ours: &Jwt, key: &SigningKey) -> Vec<Case> {
    let header = |changes: Value| ours.clone().header(&changes).signed(key);
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let x = URL_SAFE_NO_PAD.encode(stranger.verifying_key().to_bytes());
    let jwk =
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "x": x, "kid": ours.header["kid"] });
    vec![
        ("no typ", header(json!({ "typ": null }))),
        ("typ JWT", header(json!({ "typ": "JWT" }))),
        ("typ of an ID token", header(json!({ "typ": "id_token+jwt" }))),
        ("an extension that must be understood", header(json!({ "crit": ["b64"], "b64": false }))),
        ("no kid", header(json!({ "kid": null }))),
        ("an unknown kid", header(json!({ "kid": "20200101T000000Z-unknown" }))),
        ("an unknown key under a known kid", ours.signed(&stranger)),
        (
            "an unknown key that it brings along",
            ours.clone().header(&json!({ "jwk": jwk })).signed(&stranger),
        ),
    ]
}

fn claims(ours: &Jwt, key: &SigningKey) -> Vec<Case> {
    let claims = |changes: Value| ours.clone().claims(&changes).signed(key);
    let elsewhere = "https://elsewhere.test";
    vec![
        ("another audience", claims(json!({ "aud": elsewhere }))),
        ("no audience", claims(json!({ "aud": null }))),
        ("another issuer", claims(json!({ "iss": elsewhere }))),
        ("no issuer", claims(json!({ "iss": null }))),
        ("expired for longer than the leeway", claims(json!({ "exp": now() - 31 }))),
        ("no expiry", claims(json!({ "exp": null }))),
        ("an expiry in a text", claims(json!({ "exp": (now() + 60).to_string() }))),
        ("issued an hour from now", claims(json!({ "iat": now() + 3600 }))),
        ("no time of issue", claims(json!({ "iat": null }))),
        ("no session", claims(json!({ "sid": null }))),
        ("an invalid session", claims(json!({ "sid": "*" }))),
        ("no wallet", claims(json!({ "wallet": null }))),
        ("more than 4,096 bytes", claims(json!({ "more": "x".repeat(4096) }))),
    ]
}

#[tokio::test]
async fn invalid_or_foreign_tokens_are_rejected() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let resource = Resource::start(&api.url, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let (ours, key) = (Jwt::read(&tokens.access), api.signing_key());
    let cookie = api.cookie_login(&Wallet::generate()).await;
    let [header, payload, _] = tokens.access.split('.').collect::<Vec<_>>()[..] else {
        panic!("{}", tokens.access)
    };
    let garbage = vec![
        ("letters", "garbage".to_owned()),
        ("dots", "..".to_owned()),
        ("no signature", format!("{header}.{payload}.")),
        ("two parts", format!("{header}.{payload}")),
        ("a refresh token", tokens.refresh.clone()),
        ("a cookie's value", cookie.split_once('=').unwrap().1.to_owned()),
    ];
    let mut wrong = Vec::new();
    for (name, token) in
        [algorithms(&ours, &key), headers(&ours, &key), claims(&ours, &key), garbage].concat()
    {
        let answer = resource.me(&token).await;
        if !is_refused(&answer) {
            wrong.push(format!("{name}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The tokens above were rejected because of the changes in them, and not because the test had
    // signed them: a token that the test signs without changes is accepted.
    let by_hand = ours.clone().claims(&json!({ "jti": "by hand" })).signed(&key);
    assert_eq!(resource.me(&by_hand).await.status, 200);
    let answer = resource.me(&tokens.access).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({ "account": ours.claims["sub"], "wallet": ours.claims["wallet"] })
    );
}

#[tokio::test]
async fn token_is_accepted_until_it_expires() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("ACCESS_TOKEN_TTL", "2s")]).await;
    let client = client_of(&api.url).leeway(Duration::ZERO).build().unwrap();
    let token = api.login(&Wallet::generate()).await.access;
    let expires_at = Jwt::read(&token).claims["exp"].as_i64().unwrap();
    testkit::eventually("the token has expired", async || {
        let before = now();
        match client.verify(&token).await {
            Ok(verified) => {
                assert!(before < expires_at, "accepted at {before}");
                assert_eq!(verified.expires_at, expires_at);
                false
            }
            Err(Error::Expired) => {
                assert!(now() >= expires_at, "refused before {expires_at}");
                true
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    // Within the leeway, the token is still accepted.
    let lenient = client_of(&api.url).leeway(Duration::from_mins(1)).build().unwrap();
    assert_eq!(lenient.verify(&token).await.unwrap().expires_at, expires_at);
}

#[tokio::test]
async fn token_is_read_only_from_a_single_authorization_header() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let resource = Resource::start(&api.url, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    let bearer = format!("Bearer {token}");
    let nothing = [
        ("no header", resource.request()),
        ("in the query", resource.request_with_query(&format!("access_token={token}"))),
        ("by Basic", resource.request().header("authorization", format!("Basic {token}"))),
        ("without a scheme", resource.request().header("authorization", &token)),
        ("in a cookie", resource.request().header("cookie", format!("access_token={token}"))),
    ];
    for (name, request) in nothing {
        let answer = send(request).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["www-authenticate"]),
            (401, &"Bearer".parse().unwrap()),
            "{name}"
        );
    }
    for other in [&*bearer, "Bearer x", "Basic x", ""] {
        let twice =
            resource.request().header("authorization", &bearer).header("authorization", other);
        let answer = send(twice).await;
        assert_eq!(answer.status, 400, "and {other:?}: {answer:?}");
        assert_eq!(answer.headers["www-authenticate"], r#"Bearer error="invalid_request""#);
    }
    assert_eq!(
        send(resource.request().header("authorization", format!("bEARER {token}"))).await.status,
        200
    );
    assert_eq!(resource.public().await.status, 200);
}
