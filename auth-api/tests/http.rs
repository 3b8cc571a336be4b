//! What a client can send wrong, and what it gets for it.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{Answer, AuthApi, Database, Wallet};

async fn send(api: &AuthApi, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    send_as(api, path, "application/json", body).await
}

async fn send_as(api: &AuthApi, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = api.client.post(format!("{}{path}", api.url)).header("content-type", content_type);
    api.send(request.body(body)).await
}

#[tokio::test]
async fn a_body_that_is_wrong_is_400_and_names_the_field() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let address = Wallet::generate().address().to_owned();
    let bodies: Vec<(&str, String, Option<&str>)> = vec![
        ("/auth/challenge", String::new(), None),
        ("/auth/challenge", "{".into(), None),
        ("/auth/challenge", "[]".into(), None),
        ("/auth/challenge", "null".into(), None),
        ("/auth/challenge", json!([address]).to_string(), None),
        ("/auth/challenge", "\"G\"".into(), None),
        ("/auth/challenge", "{}".into(), Some("address")),
        ("/auth/challenge", json!({ "address": 7 }).to_string(), Some("address")),
        ("/auth/challenge", json!({ "address": null }).to_string(), Some("address")),
        ("/auth/challenge", json!({ "address": [address] }).to_string(), Some("address")),
        ("/auth/challenge", json!({ "address": address, "admin": true }).to_string(), Some("admin")),
        ("/auth/challenge", format!(r#"{{"address":"{address}","address":"{address}"}}"#), Some("address")),
        ("/auth/challenge", format!(r#"{{"address":"{address}"}} {{}}"#), None),
        ("/auth/challenge", "{\"address\":\"\u{0}\"}".into(), None),
        ("/auth/refresh", r#"{"refresh_token":"\ud800"}"#.into(), None),
        ("/auth/login", json!({ "message": "m" }).to_string(), Some("signature")),
        ("/auth/login", json!({ "message": {}, "signature": "s" }).to_string(), Some("message")),
        ("/auth/login", json!({ "message": "m", "signature": "s" }).to_string(), Some("signature")),
        (
            "/auth/login",
            json!({ "message": "m", "signature": { "type": "Buffer", "data": [1, 2] } }).to_string(),
            Some("signature"),
        ),
        (
            "/auth/login",
            json!({ "message": "m", "signature": "s", "transport": "pigeon" }).to_string(),
            Some("transport"),
        ),
        ("/auth/refresh", json!({ "refresh_token": 1 }).to_string(), Some("refresh_token")),
        ("/auth/refresh", "{}".into(), Some("refresh_token")),
        ("/auth/logout", "{}".into(), Some("refresh_token")),
    ];
    for (path, body, field) in bodies {
        let answer = send(&api, path, body.clone()).await;
        answer.is_problem(400, "malformed");
        assert_eq!(answer.body["field"].as_str(), field, "{path} {body}: {answer:?}");
        assert!(answer.body["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer:?}");
    }
}

#[tokio::test]
async fn what_was_sent_is_not_repeated_in_an_error() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let long = "x".repeat(100) + "a-secret";
    for body in [
        json!({ "message": ["a-secret-in-the-wrong-place"], "signature": { "a-secret": 1 } }),
        json!({ "message": "m", "signature": "s", "transport": "a-secret" }),
        json!({ "message": "m", "signature": "s", long: "a-secret" }),
    ] {
        let answer = api.post("/auth/login", &body).await;
        answer.is_problem(400, "malformed");
        assert!(!answer.body.to_string().contains("a-secret"), "{answer:?}");
    }
}

#[tokio::test]
async fn what_is_read_may_be_asked_for_without_its_body() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    for url in [
        format!("{}/.well-known/jwks.json", api.url),
        format!("{}/livez", api.ops_url),
        format!("{}/readyz", api.ops_url),
        format!("{}/metrics", api.ops_url),
    ] {
        let answer = api.send(api.client.head(&url)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, Some("")), "{url}");
        let answer = api.send(api.client.post(&url)).await;
        answer.is_problem(405, "method_not_allowed");
        assert_eq!(answer.headers["allow"], "GET, HEAD");
    }
}

#[tokio::test]
async fn a_body_over_16_kib_is_413_whether_it_says_its_length_or_not() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let large = format!(r#"{{"address":"{}"}}"#, "G".repeat(16 * 1024));
    send(&api, "/auth/challenge", large.clone()).await.is_problem(413, "too_large");
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        large.into_bytes().chunks(1000).map(|c| Ok(c.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    send(&api, "/auth/challenge", stream).await.is_problem(413, "too_large");
    let largest = format!(r#"{{"address":"{}"}}"#, "G".repeat(16 * 1024 - 14));
    assert_eq!(largest.len(), 16 * 1024);
    send(&api, "/auth/challenge", largest).await.is_problem(400, "invalid_address");
}

#[tokio::test]
async fn a_body_that_is_not_plain_json_is_415() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let body = json!({ "address": Wallet::generate().address() }).to_string();
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "nonsense",
        "application/json; charset=utf-16",
    ] {
        send_as(&api, "/auth/challenge", wrong, body.clone()).await.is_problem(415, "unsupported_media_type");
    }
    let none = api.client.post(format!("{}/auth/challenge", api.url)).body(body.clone());
    api.send(none).await.is_problem(415, "unsupported_media_type");
    let zipped = api.client.post(format!("{}/auth/challenge", api.url)).header("content-encoding", "gzip");
    let zipped = zipped.header("content-type", "application/json").body(body.clone());
    api.send(zipped).await.is_problem(415, "unsupported_media_type");
    for right in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"] {
        assert_eq!(send_as(&api, "/auth/challenge", right, body.clone()).await.status, 200, "{right}");
    }
}

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_with_the_right_one() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    for path in ["/", "/auth", "/auth/nothing", "/auth/login/", "/../etc/passwd", "/metrics", "/readyz"] {
        api.send(api.client.get(format!("{}{path}", api.url))).await.is_problem(404, "not_found");
    }
    let answer = api.send(api.client.get(format!("{}/auth/login", api.url))).await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let answer = api.send(api.client.delete(format!("{}/auth/session", api.url))).await;
    answer.is_problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET");
    let unmatched = "auth_api_http_request_duration_seconds_count{method=\"GET\",route=\"unmatched\",status=\"404\"}";
    assert!((api.metric(unmatched).await - 7.0).abs() < f64::EPSILON, "paths are not labels");
}

#[tokio::test]
async fn a_long_user_agent_or_one_that_is_not_ascii_is_no_hindrance() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    for user_agent in [vec![b'x'; 5000], vec![0xff, 0xfe], b"Mozilla/5.0 (test)".to_vec()] {
        let message = api.challenge(&wallet).await;
        let body = json!({ "message": message, "signature": wallet.sign(&message) });
        let value = reqwest::header::HeaderValue::from_bytes(&user_agent).unwrap();
        let request = api.client.post(format!("{}/auth/login", api.url)).header("user-agent", value).json(&body);
        let tokens = api.send(request).await.tokens();
        let device = api.session(&tokens.access).await.body["session"]["device"].clone();
        assert!(device.is_null() || device.as_str().unwrap().len() <= 256);
    }
}
