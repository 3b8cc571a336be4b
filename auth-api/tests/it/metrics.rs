//! The metrics as a whole: promtool accepts them, docs/metrics.md describes them, and all series
//! exist from the start. The values are tested together with the features.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use hardening::revision::REVISION;
use reqwest::Method;
use serde_json::{Value, json};
use testkit::{
    AuthApi, Database, Metrics, Program, Service, Wallet, binary, documented, promtool, scraped,
};

const OPERATOR: &str = "operators-token-of-a-test-0123456789";

async fn scrape(api: &AuthApi) -> String {
    api.client.get(format!("{}/metrics", api.ops_url)).send().await.unwrap().text().await.unwrap()
}

/// Returns the names and labels, without the values.
fn series(scrape: &str) -> BTreeSet<String> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[tokio::test]
async fn initial_scrape_passes_promtool_and_matches_the_docs() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let scrape = scrape(&api).await;
    assert_eq!(promtool(&["check", "metrics"], &scrape), (true, String::new()));
    let revision = format!("revision=\"{REVISION}\"");
    let mut series = scrape.lines().filter(|line| line.starts_with("auth_api_build_info{"));
    assert!(series.any(|series| series.contains(&revision)), "{scrape}");
    let (ours, of_process): (Metrics, Metrics) =
        scraped(&scrape).into_iter().partition(|(name, _)| name.starts_with("auth_api_"));
    assert_eq!(ours, documented("auth_api_"));
    assert!(of_process.contains_key("process_resident_memory_bytes"), "{of_process:?}");
}

/// Sends requests that cause each success, and each failure that an endpoint itself reports.
async fn send_regular_requests(api: &AuthApi, service: &Service) {
    let wallet = Wallet::generate();
    let first = api.login(&wallet).await;
    let second = api.refresh(&first.refresh).await.tokens();
    let _ = api.refresh(&first.refresh).await;
    for path in ["/auth/session", "/auth/sessions", "/auth/sessions?limit=0"] {
        let _ = api.with_token("GET", path, &second.access).await;
    }
    let _ = api.with_token("DELETE", "/auth/sessions?except=current", &second.access).await;
    let _ = api.with_token("DELETE", "/auth/sessions/no-id", &second.access).await;
    let cookie = api.cookie_login(&wallet).await;
    let _ = api.with_cookie("GET", "/auth/session", &cookie).await;
    let foreign = api.client.post(format!("{}/auth/logout", api.url)).header("Cookie", &cookie);
    let _ = api.send(foreign.header("Origin", "https://elsewhere.example")).await;
    let _ = api.with_cookie("POST", "/auth/logout", &cookie).await;
    for token in [second.access.as_str(), &second.refresh, "x"] {
        let _ = api.introspect(service, token).await;
    }
    let _ = api.revoke(service, &second.refresh).await;
    let _ = api.refresh(&second.refresh).await;
    let _ = api.session(&second.access).await;
    let _ = api.post("/auth/login", &json!({ "message": "x", "signature": "00".repeat(64) })).await;
    let _ = api.post("/auth/refresh", &json!({ "refresh_token": "x" })).await;
}

/// Sends requests with each method to each path, with and without a body, and some that no endpoint
/// accepts.
async fn send_invalid_requests(api: &AuthApi) {
    let (_, printed) = Program::run(binary("auth-api"), &["openapi"], &[]).await;
    let specification: Value = serde_json::from_str(&printed.stdout()).unwrap();
    let paths = specification["paths"].as_object().unwrap().keys().map(String::as_str);
    let pages = [
        "/docs",
        "/docs/",
        "/docs/swagger-ui.css",
        "/docs/nothing",
        "/demo",
        "/demo/settings.json",
    ];
    for path in paths.chain(pages).chain(["/", "/auth/none", "/admin/none"]) {
        let server =
            if path.starts_with("/admin") { api.admin_url.as_ref().unwrap() } else { &api.url };
        let url =
            format!("{server}{}", path.replace("{id}", "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"));
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
        {
            let request =
                || api.client.request(Method::from_bytes(method.as_bytes()).unwrap(), &url);
            let _ = api.send(request()).await;
            let _ = api.send(request().bearer_auth(OPERATOR)).await;
            let _ = api.send(request().json(&json!({ "surplus": 1 }))).await;
            let _ = api
                .send(request().header("Content-Type", "application/json").body("x".repeat(20_000)))
                .await;
            let _ = api.send(request().header("X-Large", "x".repeat(20_000))).await;
        }
        let preflight = api
            .client
            .request(Method::OPTIONS, &url)
            .header("Access-Control-Request-Method", "POST");
        for origin in ["https://app.example.test", "https://elsewhere.example"] {
            let _ = api.send(preflight.try_clone().unwrap().header("Origin", origin)).await;
        }
    }
}

#[tokio::test]
async fn every_series_exists_from_the_start() {
    let database = Database::create().await;
    let service = Service::add().await;
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&token, OPERATOR).unwrap();
    let operators = ("ADMIN_TOKEN_FILE", token.path().to_str().unwrap());
    let env =
        [service.env(), operators, ("DEMO", "1"), ("ALLOWED_ORIGINS", "https://app.example.test")];
    let api = AuthApi::start(&database, &env).await;
    let at_start = series(&scrape(&api).await);
    send_regular_requests(&api, &service).await;
    send_invalid_requests(&api).await;
    let limited = AuthApi::start(
        &database,
        &[("RATE_LIMIT", "on"), ("RATE_LIMIT_IP", "1/1h"), ("RATE_LIMIT_REFRESH_IP", "1/1h")],
    )
    .await;
    let limited_at_start = series(&scrape(&limited).await);
    for path in
        ["/auth/challenge", "/auth/login", "/auth/refresh", "/oauth/introspect", "/oauth/revoke"]
    {
        for _ in 0..2 {
            let _ = limited.post(path, &json!({})).await;
        }
    }
    for (api, at_start) in [(api, at_start), (limited, limited_at_start)] {
        let later = series(&scrape(&api).await);
        let new: Vec<_> =
            later.difference(&at_start).filter(|series| !series.contains("_bucket{")).collect();
        assert!(new.is_empty(), "{new:#?}");
    }
}
