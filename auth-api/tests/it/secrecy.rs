//! Neither the database nor the logs nor the metrics reveal usable credentials.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde_json::json;
use testkit::{AuthApi, Database, Wallet, vectors};

/// Adds every hash, key and sealed value in the database to `seen`.
async fn stored(database: &Database, seen: &mut BTreeSet<Vec<u8>>) {
    let values = "SELECT token_hash FROM token_families
        UNION SELECT previous_hash FROM token_families
        UNION SELECT sealed_successor FROM token_families
        UNION SELECT attempt_hash FROM token_families
        UNION SELECT key FROM token_families
        UNION SELECT token_hash FROM sessions
        UNION SELECT nonce_hash FROM consumed_challenges";
    for row in database.client().await.query(values, &[]).await.unwrap() {
        seen.extend(row.get::<_, Option<Vec<u8>>>(0));
    }
}

/// Returns the bytes, without spaces, in every notation in which a Rust program or PostgreSQL may
/// log them.
fn notations(bytes: &[u8]) -> Vec<String> {
    let each = |show: fn(u8) -> String, between: &str| {
        bytes.iter().map(|byte| show(*byte)).collect::<Vec<_>>().join(between)
    };
    // In base64, each group of three bytes becomes four characters.
    let base64 = bytes.get(..9).unwrap_or(bytes);
    let mut escaped = String::new();
    for byte in bytes {
        match byte {
            b'\\' => escaped.push_str("\\\\"),
            b'\'' => escaped.push_str("''"),
            b' '..=b'~' => escaped.push(char::from(*byte)),
            _ => write!(escaped, "\\{byte:03o}").unwrap(),
        }
    }
    let plain = [
        // The `Debug` format of a slice or a vector, in decimal and in hex.
        each(|byte| byte.to_string(), ","),
        each(|byte| format!("{byte:x}"), ","),
        each(|byte| format!("{byte:X}"), ","),
        each(|byte| format!("{byte:02x}"), ","),
        each(|byte| format!("0x{byte:02x}"), ","),
        // The formats of `bytea_output` (`hex` and `escape`), and the format of hex dumps.
        hex::encode(bytes),
        hex::encode_upper(bytes),
        each(|byte| format!("{byte:02x}"), ":"),
        escaped,
        // A byte string.
        bytes.escape_ascii().to_string(),
        String::from_utf8_lossy(bytes).into_owned(),
        STANDARD.encode(base64),
        URL_SAFE_NO_PAD.encode(base64),
    ];
    // Each notation can also be part of a JSON string, or of a JSON string inside another JSON
    // string.
    let quoted = |text: &String| serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
    let json: Vec<_> = plain.iter().map(quoted).collect();
    let debug: Vec<_> = json.iter().map(quoted).collect();
    let all = plain.into_iter().chain(json).chain(debug);
    all.map(|text| text.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn logs_and_metrics_contain_no_secrets() {
    let database = Database::create().await;
    // If auth-api suppressed statements only with log directives, each of these directives would
    // make them appear in the log.
    let everything = "trace,tokio_postgres=trace,tokio_postgres::query=trace,[request]=trace";
    let mut api = AuthApi::start(&database, &[("RUST_LOG", everything)]).await;
    let mut values = BTreeSet::new();
    let wallet = Wallet::from_seed(vectors::sep53()["seed"].as_str().unwrap());
    let message = api.challenge(&wallet).await;
    let signature = wallet.sign(&message);
    let first = api.submit(&message, &signature).await.tokens();
    stored(&database, &mut values).await;
    let key = "c1a2b3d4e5f60718293a";
    let second = api.refresh_as(key, &first.refresh).await.tokens();
    stored(&database, &mut values).await;
    let _ = api.refresh(&first.refresh).await;
    let third = api.refresh(&second.refresh).await.tokens();
    stored(&database, &mut values).await;
    let cookie = api.cookie_login(&wallet).await;
    let _ = api.with_cookie("GET", "/auth/session", &cookie).await;
    stored(&database, &mut values).await;
    // Rejected credentials are secret, too.
    database.age_rotations("1 minute").await;
    let _ = api.refresh(&first.refresh).await;
    let _ = api.submit(&message, &signature).await;
    let _ = api.post("/auth/login", &json!({ "message": message, "signature": [signature] })).await;
    let _ = api.session(&third.access).await;
    let _ = api
        .send(api.client.get(format!("{}/auth/session?access_token={}", api.url, third.access)))
        .await;
    let _ = api.logout(&third.access).await;
    stored(&database, &mut values).await;
    let metrics = api
        .client
        .get(format!("{}/metrics", api.ops_url))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));

    let log = api.program.stderr() + &api.program.stdout() + &metrics;
    for event in ["login", "refresh", "reuse"] {
        assert!(
            log.contains(&format!("\"event\":\"{event}\"")),
            "no {event} event: the log is incomplete"
        );
    }
    let nonce = message.lines().find_map(|line| line.strip_prefix("Nonce: ")).unwrap();
    let secrets =
        [&first, &second, &third].into_iter().flat_map(|tokens| [&tokens.access, &tokens.refresh]);
    let others = [signature.as_str(), AuthApi::SECRET, nonce, "testkit@", key, &cookie];
    for secret in secrets.map(String::as_str).chain(others) {
        // A part of the secret that is long enough to be sensitive.
        let piece = secret.get(secret.len() / 2..secret.len() / 2 + 10).unwrap_or(secret);
        let line = log.lines().find(|line| line.contains(piece));
        assert_eq!(line, None, "{secret}");
    }
    // Four hashes, two sealed tokens, the family key, the key of an attempt, a cookie, and two
    // nonces.
    assert!(values.len() >= 10, "{} values", values.len());
    let log: String = log.split_whitespace().collect();
    for value in &values {
        let piece = &value[..12];
        for notation in notations(piece) {
            assert!(!log.contains(&notation), "{notation} of {}", hex::encode(value));
        }
    }
}

#[tokio::test]
async fn used_token_and_row_do_not_open_the_sealed_successor() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let next = api.refresh(&first.refresh).await.tokens();
    let sealed: Vec<u8> = database.one("SELECT sealed_successor FROM token_families").await;
    let (token, successor) =
        [&first, &next].map(|tokens| URL_SAFE_NO_PAD.decode(&tokens.refresh[3..]).unwrap()).into();
    // A thief who has both the token and the row might derive a key from the secret of the token,
    // as earlier versions of auth-api did.
    let key =
        blake3::derive_key("session-reaper auth-api 2026-11 sealed successor", &token[20..52]);
    let (nonce, msg) = sealed.split_at(24);
    let payload = Payload { msg, aad: &successor[..20] };
    let opened =
        XChaCha20Poly1305::new(&key.into()).decrypt(&XNonce::try_from(nonce).unwrap(), payload);
    assert!(opened.is_err(), "the token and the row open the successor");
    // With AUTH_SECRET, the token and the row open the successor.
    assert_eq!(api.refresh(&first.refresh).await.tokens().refresh, next.refresh);
}

#[tokio::test]
async fn replica_with_the_new_secret_second_answers_the_retry() {
    let database = Database::create().await;
    let (old, new) = (AuthApi::SECRET, AuthApi::OTHER_SECRET);
    let (old_first, new_first) = (format!("{old},{new}"), format!("{new},{old}"));
    // The order in operations.md: every process has the new secret before any process uses it.
    let behind = AuthApi::start(&database, &[("AUTH_SECRET", &old_first)]).await;
    let ahead = AuthApi::start(&database, &[("AUTH_SECRET", &new_first)]).await;
    let first = behind.login(&Wallet::generate()).await;
    let next = ahead.refresh(&first.refresh).await.tokens();
    assert_eq!(behind.refresh(&first.refresh).await.tokens().refresh, next.refresh);
    // A process without the new secret rejects the token, and ends nothing.
    let late = AuthApi::start(&database, &[("AUTH_SECRET", old)]).await;
    late.refresh(&first.refresh).await.is_problem(401, "refresh_refused");
    late.refresh(&next.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(database.one::<Option<String>>("SELECT revoked_reason FROM sessions").await, None);
    let last = behind.refresh(&next.refresh).await.tokens();
    assert_eq!(ahead.refresh(&next.refresh).await.tokens().refresh, last.refresh);
}
