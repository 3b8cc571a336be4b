//! HTTP behavior of all endpoints. Requests of hostile clients are in `hostile/`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{Answer, AuthApi, Database, Wallet};

#[tokio::test]
async fn get_endpoints_accept_head_requests() {
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

const OF_ALL: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// Fails unless a response has all common headers, and exactly those optional headers that `hsts`
/// and `html` select.
#[track_caller]
fn is_safe(answer: &Answer, hsts: bool, html: bool) {
    let value = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap());
    for (name, expected) in OF_ALL {
        assert_eq!(value(name), Some(expected), "{name}: {answer:?}");
    }
    let policy = value("content-security-policy").unwrap_or_default();
    let directives = ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"];
    assert!(directives.iter().all(|directive| policy.contains(directive)), "{answer:?}");
    assert_eq!(
        value("strict-transport-security"),
        hsts.then_some("max-age=31536000"),
        "{answer:?}"
    );
    assert_eq!(value("cross-origin-opener-policy"), html.then_some("same-origin"), "{answer:?}");
    assert_eq!(answer.headers.get_all("x-content-type-options").iter().count(), 1, "{answer:?}");
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let database = Database::create().await;
    for (url, hsts) in [("https://auth.example.test", true), ("http://localhost:8080", false)] {
        let api = AuthApi::start(&database, &[("PUBLIC_URL", url), ("DEMO", "1")]).await;
        let get = |url: &str, path: &str| api.client.get(format!("{url}{path}"));
        for (path, html) in [
            ("/", false),
            ("/.well-known/jwks.json", false),
            ("/openapi.json", false),
            ("/auth/session", false),
            ("/auth/login", false),
            ("/docs/", true),
            ("/docs/swagger-ui.css", false),
            ("/demo", true),
            ("/demo/page.js", false),
        ] {
            is_safe(&api.send(get(&api.url, path)).await, hsts, html);
        }
        is_safe(&api.post("/auth/login", &json!({})).await, hsts, false);
        is_safe(&api.send(get(&api.url, "/").header("x", "x".repeat(17_000))).await, hsts, false);
        let preflight =
            api.client.request(reqwest::Method::OPTIONS, format!("{}/auth/session", api.url));
        let preflight =
            preflight.header("Origin", url).header("Access-Control-Request-Method", "DELETE");
        is_safe(&api.send(preflight).await, hsts, false);
        for path in ["/livez", "/readyz", "/metrics", "/nothing", "/admin/sessions"] {
            is_safe(&api.send(get(&api.ops_url, path)).await, false, false);
        }
    }
}

/// DNS rebinding: the host name of a page can resolve to the operations port, and the browser then
/// sends this name.
#[tokio::test]
async fn operations_port_accepts_only_its_own_hosts() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[("OPS_HOSTS", "ops.example.test, Metrics.internal")]).await;
    let ask = async |host: &str| {
        let request = api.client.get(format!("{}/livez", api.ops_url)).header("Host", host);
        api.send(request).await
    };
    let fine = [
        "127.0.0.1",
        "127.0.0.1:9080",
        "[::1]:9080",
        "[::1]",
        "10.1.2.3",
        "localhost",
        "LOCALHOST:9080",
    ];
    for host in
        fine.into_iter().chain(["ops.example.test", "OPS.example.test:80", "metrics.internal"])
    {
        assert_eq!(ask(host).await.status, 200, "{host}");
    }
    for host in [
        "rebound.example",
        "ops.example.test.rebound.example",
        "localhost.rebound.example",
        "example.test",
    ] {
        let answer = ask(host).await;
        answer.is_problem(421, "misdirected");
        is_safe(&answer, false, false);
    }
    // The API accepts any host, because proxies may change it.
    let request = api
        .client
        .get(format!("{}/.well-known/jwks.json", api.url))
        .header("Host", "rebound.example");
    assert_eq!(api.send(request).await.status, 200);
    let large = api.client.get(format!("{}/livez", api.ops_url)).header("x", "x".repeat(17_000));
    assert_eq!(api.send(large).await.status, 431, "MAX_HEAD_SIZE applies to this port, too");
}

#[tokio::test]
async fn unknown_path_is_404_and_wrong_method_is_405_with_allow() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    for path in
        ["/", "/auth", "/auth/nothing", "/auth/login/", "/../etc/passwd", "/metrics", "/readyz"]
    {
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
    assert!(
        (api.metric(unmatched).await - 7.0).abs() < f64::EPSILON,
        "unknown paths are not labels"
    );
}

#[tokio::test]
async fn long_or_non_ascii_user_agent_is_accepted() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    for user_agent in [vec![b'x'; 5000], vec![0xff, 0xfe], b"Mozilla/5.0 (test)".to_vec()] {
        let message = api.challenge(&wallet).await;
        let body = json!({ "message": message, "signature": wallet.sign(&message) });
        let value = reqwest::header::HeaderValue::from_bytes(&user_agent).unwrap();
        let request = api
            .client
            .post(format!("{}/auth/login", api.url))
            .header("user-agent", value)
            .json(&body);
        let tokens = api.send(request).await.tokens();
        let device = api.session(&tokens.access).await.body["session"]["device"].clone();
        assert!(device.is_null() || device.as_str().unwrap().len() <= 256);
    }
}
