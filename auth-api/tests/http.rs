//! HTTP as all endpoints have it. What hostile clients send is in `hostile/`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{AuthApi, Database, Wallet};

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
