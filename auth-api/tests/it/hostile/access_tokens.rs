//! Access tokens that this deployment did not issue, or that are not valid now (RFC 8725).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use testkit::{Answer, AuthApi, Database, Jwt, Tokens, Wallet};

use crate::hostile::table::{Table, UNAUTHENTICATED, start};

/// A test case: its name, the token, and the reason for the rejection.
type Case = (String, String, &'static str);

/// The only reason for which logout does not reject a token: logout succeeds even if the session
/// does not exist.
const NO_SESSION: &str = "the session does not exist";

fn case(name: &str, token: String, why: &'static str) -> Case {
    (name.to_owned(), token, why)
}

/// Returns tokens that are valid except for the algorithm.
fn algorithms(ours: &Jwt, key: &SigningKey) -> Vec<Case> {
    const NONE: &str = "a token does not select the algorithm: EdDSA is pinned";
    const PUBLIC: &str = "a public value is not an HMAC secret";
    let mut cases = Vec::new();
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let jwt = ours.clone().header(&json!({ "alg": none }));
        cases.push(case(&format!("alg {none:?} without a signature"), jwt.with(&[]), NONE));
        cases.push(case(&format!("alg {none:?} with the signature"), jwt.unsigned(), NONE));
        cases.push(case(
            &format!("alg {none:?}, signed with the server's key"),
            jwt.signed(key),
            NONE,
        ));
    }
    let public = key.verifying_key();
    let x = URL_SAFE_NO_PAD.encode(public.to_bytes());
    let secrets = [
        ("the public key's bytes", public.to_bytes().to_vec()),
        ("the public key in base64, as the JWK set has it", x.clone().into_bytes()),
        ("the public key in hex", hex::encode(public.to_bytes()).into_bytes()),
        ("the public key in PEM", public.to_public_key_pem(LineEnding::LF).unwrap().into_bytes()),
        ("the public key in DER", public.to_public_key_der().unwrap().into_vec()),
        ("nothing", Vec::new()),
    ];
    for (secret, bytes) in secrets {
        for (name, algorithm) in [("HS256", Algorithm::HS256), ("HS512", Algorithm::HS512)] {
            let jwt = ours.clone().header(&json!({ "alg": name }));
            let secret_key = EncodingKey::from_secret(&bytes);
            let input = jwt.signing_input();
            let signature =
                jsonwebtoken::crypto::sign(input.as_bytes(), &secret_key, algorithm).unwrap();
            cases.push(case(
                &format!("{name} over {secret}"),
                format!("{input}.{signature}"),
                PUBLIC,
            ));
        }
    }
    for other in ["HS256", "RS256", "ES256", "PS512", "Ed25519", "EDDSA", "eddsa"] {
        let jwt = ours.clone().header(&json!({ "alg": other }));
        cases.push(case(
            &format!("alg {other}, signed with EdDSA by the server's key"),
            jwt.signed(key),
            NONE,
        ));
    }
    for (name, alg) in
        [("no", Value::Null), ("a number for an", json!(1)), ("an array for an", json!(["EdDSA"]))]
    {
        cases.push(case(
            &format!("{name} alg"),
            ours.clone().header(&json!({ "alg": alg })).signed(key),
            NONE,
        ));
    }
    cases
}

/// Returns tokens that are signed with a foreign key, and contain this key or a reference to it.
fn brought_keys(ours: &Jwt) -> Vec<Case> {
    const OURS: &str =
        "kid selects one of the server's keys; keys in or behind a token are ignored";
    let stranger = SigningKey::from_bytes(&[7; 32]);
    let x = URL_SAFE_NO_PAD.encode(stranger.verifying_key().to_bytes());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA", "kid": ours.header["kid"] });
    let headers = [
        ("nothing", json!({})),
        ("jwk", json!({ "jwk": jwk })),
        ("jku", json!({ "jku": "http://127.0.0.1:9/jwks.json" })),
        ("x5u", json!({ "x5u": "http://127.0.0.1:9/cert.pem" })),
        ("x5c", json!({ "x5c": ["MAo="] })),
        ("jwk and its own kid", json!({ "jwk": jwk, "kid": "stranger" })),
        ("jwk and no kid", json!({ "jwk": jwk, "kid": null })),
    ];
    let cases = headers.into_iter().map(|(name, header)| {
        case(
            &format!("foreign key, with {name}"),
            ours.clone().header(&header).signed(&stranger),
            OURS,
        )
    });
    cases.collect()
}

/// Returns tokens that are signed with the server's key, but are not valid access tokens.
fn headers_and_claims(ours: &Jwt, key: &SigningKey, now: DateTime<Utc>) -> Vec<Case> {
    const TYP: &str = "explicit typing (RFC 8725 §3.11): only at+jwt is an access token";
    const KID: &str = "kid must name one of the server's keys";
    const AUD: &str = "the token is for another audience or from another issuer";
    const EXP: &str = "the token has expired, or its lifetime is not limited";
    let (now, ttl) = (now.timestamp(), 900);
    let header = |name: &str, changes: Value, why| {
        case(name, ours.clone().header(&changes).signed(key), why)
    };
    let claims = |name: &str, changes: Value, why| {
        case(name, ours.clone().claims(&changes).signed(key), why)
    };
    vec![
        header("typ JWT", json!({ "typ": "JWT" }), TYP),
        header("typ in capitals", json!({ "typ": "AT+JWT" }), TYP),
        header("no typ", json!({ "typ": null }), TYP),
        header("typ of an ID token", json!({ "typ": "id_token+jwt" }), TYP),
        header("an unknown kid", json!({ "kid": "20200101T000000Z-unknown" }), KID),
        header("no kid", json!({ "kid": null }), KID),
        header("an empty kid", json!({ "kid": "" }), KID),
        header("a kid that is a path", json!({ "kid": "../../../../dev/null" }), KID),
        header("a kid that is SQL", json!({ "kid": "' OR '1'='1" }), KID),
        header("a kid in an array", json!({ "kid": [ours.header["kid"]] }), KID),
        header(
            "an extension that must be understood",
            json!({ "crit": ["b64"], "b64": false }),
            "unknown critical extensions are rejected (RFC 7515 §4.1.11)",
        ),
        claims("another aud", json!({ "aud": "https://elsewhere.test" }), AUD),
        claims("no aud", json!({ "aud": null }), AUD),
        claims("an empty aud", json!({ "aud": [] }), AUD),
        claims(
            "aud with a trailing slash",
            json!({ "aud": format!("{}/", ours.claims["aud"].as_str().unwrap()) }),
            AUD,
        ),
        claims("another iss", json!({ "iss": "https://elsewhere.test" }), AUD),
        claims("no iss", json!({ "iss": null }), AUD),
        claims("expired by a second", json!({ "exp": now - 1 }), EXP),
        claims("expired now", json!({ "exp": now }), EXP),
        claims("expired before 1970", json!({ "exp": -1 }), EXP),
        claims(
            "valid for an hour longer than issued tokens",
            json!({ "exp": now + ttl + 3600 }),
            EXP,
        ),
        claims("valid forever", json!({ "exp": i64::MAX }), EXP),
        claims("valid for longer than that", json!({ "exp": u64::MAX }), EXP),
        claims("an exp of 1e300", json!({ "exp": 1e300 }), EXP),
        claims("an exp in a string", json!({ "exp": (now + 60).to_string() }), EXP),
        claims("no exp", json!({ "exp": null }), EXP),
        claims("no sid", json!({ "sid": null }), "claims are missing or malformed"),
        claims("a malformed sid", json!({ "sid": "*" }), "claims are missing or malformed"),
        claims(
            "the sid of an unknown session",
            json!({ "sid": "01900000-0000-7000-8000-000000000000" }),
            NO_SESSION,
        ),
        claims("a nil sid", json!({ "sid": "00000000-0000-0000-0000-000000000000" }), NO_SESSION),
    ]
}

/// Returns other encodings of the token, and malformed tokens.
fn other_encodings(token: &str, refresh: &str) -> Vec<Case> {
    const ONE_WAY: &str = "a token has exactly one encoding";
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        panic!("{token}")
    };
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let spare_bit = format!("{}{}", &signature[..85], char::from(signature.as_bytes()[85] + 1));
    let mut flipped = bytes.clone();
    flipped[0] ^= 1;
    let mut high = bytes.clone();
    high[63] |= 0x80;
    let flipped_claims =
        URL_SAFE_NO_PAD.encode([&URL_SAFE_NO_PAD.decode(claims).unwrap()[..], b" "].concat());
    vec![
        case("nothing", String::new(), ONE_WAY),
        case("a letter", "x".into(), ONE_WAY),
        case("dots", "..".into(), ONE_WAY),
        case("three letters", "x.y.z".into(), ONE_WAY),
        case("two parts", format!("{header}.{claims}"), ONE_WAY),
        case("an empty signature", format!("{header}.{claims}."), "the token is not signed"),
        case("no header", format!(".{claims}.{signature}"), ONE_WAY),
        case("no claims", format!("{header}..{signature}"), ONE_WAY),
        case("four parts", format!("{token}.{signature}"), ONE_WAY),
        case("five parts, as in an encrypted token", format!("{token}.x.x"), ONE_WAY),
        case("a leading dot", format!(".{token}"), ONE_WAY),
        case("a truncated signature", format!("{header}.{claims}.{}", &signature[..84]), ONE_WAY),
        case(
            "a padded signature",
            format!("{header}.{claims}.{}", URL_SAFE.encode(&bytes)),
            ONE_WAY,
        ),
        case("a spare bit set", format!("{header}.{claims}.{spare_bit}"), ONE_WAY),
        case(
            "a bit flipped",
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(flipped)),
            "the signature does not match",
        ),
        case(
            "an S that is not reduced",
            format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(high)),
            ONE_WAY,
        ),
        case(
            "the standard alphabet",
            format!("{header}.{claims}.{}+", &STANDARD_NO_PAD.encode(&bytes)[..85]),
            ONE_WAY,
        ),
        case(
            "claims with an additional space",
            format!("{header}.{flipped_claims}.{signature}"),
            "the signature does not match",
        ),
        case("a space inside", format!("{header}. {claims}.{signature}"), ONE_WAY),
        case("in quotes", format!("\"{token}\""), ONE_WAY),
        case("percent-encoded", token.replace('.', "%2E"), ONE_WAY),
        case("a refresh token", refresh.to_owned(), "a refresh token is not an access token"),
        case("5,000 letters", "a".repeat(5000), "the length is limited"),
        case(
            "a long token",
            format!("{header}.{}.{signature}", "a".repeat(5000)),
            "the length is limited",
        ),
    ]
}

#[tokio::test]
async fn invalid_access_tokens_are_rejected() {
    let database = Database::create().await;
    let api = start(&database).await;
    let tokens = api.login(&Wallet::generate()).await;
    let (ours, key) = (Jwt::read(&tokens.access), api.signing_key());
    let now = database.one::<DateTime<Utc>>("SELECT now()").await;
    let cases = [
        algorithms(&ours, &key),
        brought_keys(&ours),
        headers_and_claims(&ours, &key, now),
        other_encodings(&tokens.access, &tokens.refresh),
    ];
    let mut table = Table::default();
    for (name, token, why) in cases.concat() {
        let answer = api.session(&token).await;
        table.refused(&name, why, UNAUTHENTICATED, &answer);
        // RFC 6750 §3.1: the challenge contains an error only if the request had a token.
        let challenge =
            if token.trim().is_empty() { "Bearer" } else { r#"Bearer error="invalid_token""# };
        let challenged =
            answer.headers.get("www-authenticate").is_some_and(|value| value == challenge);
        table.holds(&name, challenge, challenged, &answer.headers);
        if why != NO_SESSION {
            table.refused(
                &format!("{name}, at logout"),
                why,
                UNAUTHENTICATED,
                &api.logout(&token).await,
            );
        }
    }
    table.end();
    // A token that the test signs without changes is accepted, so the changes caused the
    // rejections.
    let by_hand =
        ours.claims(&json!({ "exp": now.timestamp() + 300, "jti": "by hand" })).signed(&key);
    assert_eq!(api.session(&by_hand).await.status, 200);
    assert_eq!(api.session(&tokens.access).await.status, 200);
}

#[tokio::test]
async fn token_for_another_audience_or_deployment_is_rejected() {
    let database = Database::create().await;
    let api = start(&database).await;
    let stranger = start(&database).await;
    let keys = api.copy_of_keys();
    let elsewhere = [("AUDIENCE", "https://elsewhere.test"), ("RATE_LIMIT", "off")];
    let audience = AuthApi::start_with_keys(&database, keys, &elsewhere).await;
    let mut table = Table::default();
    for (name, other) in
        [("with its own keys", &stranger), ("with the same keys, for another audience", &audience)]
    {
        let tokens = other.login(&Wallet::generate()).await;
        assert_eq!(other.session(&tokens.access).await.status, 200);
        table.refused(
            name,
            "the token is for another audience or deployment",
            UNAUTHENTICATED,
            &api.session(&tokens.access).await,
        );
    }
    table.end();
}

/// Sends a request with the token in a place other than a single Authorization header.
async fn elsewhere(api: &AuthApi, tokens: &Tokens, place: &str) -> Answer {
    let url = format!("{}/auth/session", api.url);
    let token = &tokens.access;
    let query = |name: &str| api.client.get(format!("{url}?{name}={token}"));
    let header = |name: &str, value: String| api.client.get(&url).header(name, value);
    let request = match place {
        "the query, as in RFC 6750" => query("access_token"),
        "the query as token" => query("token"),
        "the query with its scheme" => query("authorization=Bearer%20"),
        "the query of a logout" => {
            api.client.post(format!("{}/auth/logout?access_token={token}", api.url))
        }
        "a form" => api
            .client
            .get(&url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("access_token={token}")),
        "a cookie" => header(
            "cookie",
            format!("access_token={token}; token={token}; Authorization=Bearer {token}"),
        ),
        "another header" => header("x-access-token", token.clone()),
        "a proxy's header" => header("proxy-authorization", format!("Bearer {token}")),
        "a header that a proxy would set" => {
            header("x-forwarded-authorization", format!("Bearer {token}"))
        }
        "Basic" => api.client.get(&url).basic_auth("x", Some(token)),
        "another scheme" => header("authorization", format!("Token {token}")),
        "no scheme" => header("authorization", token.clone()),
        "a scheme alone" => header("authorization", "Bearer".into()),
        "a scheme with a colon" => header("authorization", format!("Bearer: {token}")),
        "two in one header" => header("authorization", format!("Bearer x, Bearer {token}")),
        "two headers" => header("authorization", format!("Bearer {token}"))
            .header("authorization", format!("Bearer {token}")),
        _ => panic!("{place}"),
    };
    api.send(request).await
}

#[tokio::test]
async fn token_outside_the_authorization_header_is_ignored() {
    let database = Database::create().await;
    let api = start(&database).await;
    let tokens = api.login(&Wallet::generate()).await;
    let mut table = Table::default();
    for (place, why) in [
        ("the query, as in RFC 6750", "queries appear in logs, histories and Referer"),
        ("the query as token", "queries appear in logs, histories and Referer"),
        ("the query with its scheme", "queries appear in logs, histories and Referer"),
        ("the query of a logout", "the token in the query does not end the session, either"),
        ("a form", "form parameters (RFC 6750 §2.2) are not supported"),
        ("a cookie", "browsers send cookies automatically"),
        ("another header", "only Authorization is read"),
        ("a proxy's header", "the header is for the proxy"),
        ("a header that a proxy would set", "any client can set it"),
        ("Basic", "another scheme"),
        ("another scheme", "the scheme must be Bearer"),
        ("no scheme", "the scheme must be Bearer"),
        ("a scheme alone", "there is no token"),
        ("a scheme with a colon", "the scheme must be Bearer"),
        ("two in one header", "the request is ambiguous"),
        ("two headers", "the request is ambiguous"),
    ] {
        let answer = elsewhere(&api, &tokens, place).await;
        table.refused(place, why, UNAUTHENTICATED, &answer);
    }
    table.end();
    assert_eq!(api.session(&tokens.access).await.status, 200);
    let lower = api.client.get(format!("{}/auth/session", api.url));
    let lower = api.send(lower.header("authorization", format!("bearer {}", tokens.access))).await;
    assert_eq!(lower.status, 200, "schemes are case-insensitive (RFC 9110 §11.1)");
}
