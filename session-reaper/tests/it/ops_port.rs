//! Protection of the daemon's operations port against requests that another site makes a browser
//! send, and against requests that are too large.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use reqwest::{Client, Response};
use serde_json::Value;
use testkit::{Database, Program, eventually, start_reaper};

/// Schedules no run during a test.
const NEVER: (&str, &str) = ("SCHEDULE", "0 0 1 1 *");

const PATHS: [&str; 5] = ["/", "/status.json", "/metrics", "/livez", "/readyz"];

struct Daemon {
    ops: String,
    client: Client,
    _program: Program,
}

impl Daemon {
    async fn start(database: &Database, env: &[(&str, &str)]) -> Self {
        let mut program = start_reaper(database, &["daemon"], &[&[NEVER], env].concat());
        let ops = program.log_event("listening").await["ops"].as_str().unwrap().to_owned();
        Self { ops, client: Client::new(), _program: program }
    }

    async fn get(&self, path: &str, header: (&str, &str)) -> Response {
        self.client
            .get(format!("http://{}{path}", self.ops))
            .header(header.0, header.1)
            .send()
            .await
            .unwrap()
    }
}

/// Asserts that a response has the headers that every response must have. If and only if the
/// response is an HTML page, it must also have the headers for pages.
#[track_caller]
fn is_safe(answer: &Response, html: bool) {
    let value = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
    for (name, expected) in [
        ("x-content-type-options", Some("nosniff")),
        ("referrer-policy", Some("no-referrer")),
        ("cross-origin-resource-policy", Some("same-origin")),
        ("cross-origin-opener-policy", html.then_some("same-origin")),
        // The port does not use TLS.
        ("strict-transport-security", None),
    ] {
        assert_eq!(value(name), expected, "{name}: {answer:?}");
        assert!(answer.headers().get_all(name).iter().count() <= 1, "{name}: {answer:?}");
    }
    let policy = value("content-security-policy").unwrap_or_default();
    let directives = ["default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"];
    assert!(directives.iter().all(|directive| policy.contains(directive)), "{answer:?}");
    assert_eq!(policy.contains("script-src 'sha256-"), html, "{answer:?}");
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[]).await;
    for path in PATHS.into_iter().chain(["/nothing"]) {
        is_safe(&daemon.get(path, ("accept", "*/*")).await, path == "/");
    }
    let post =
        daemon.client.post(format!("http://{}/status.json", daemon.ops)).send().await.unwrap();
    assert_eq!(post.status(), 405);
    is_safe(&post, false);
}

#[tokio::test]
async fn rebound_host_name_is_rejected() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[]).await;
    let rebound = [
        "rebound.example",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example:9081",
        "reaper",
        "",
        "a b",
    ];
    for path in PATHS {
        for host in rebound {
            let answer = daemon.get(path, ("host", host)).await;
            assert_eq!(answer.status(), 421, "{path} {host:?}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            is_safe(&answer, false);
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(
                (&problem["code"], &problem["status"]),
                (&"misdirected".into(), &421.into()),
                "{problem}"
            );
            assert!(problem["detail"].as_str().unwrap().contains("OPS_HOSTS"), "{problem}");
        }
    }
}

#[tokio::test]
async fn addresses_localhost_and_ops_hosts_are_accepted() {
    let database = Database::create().await;
    let daemon =
        Daemon::start(&database, &[("OPS_HOSTS", "ops.example.test, Reaper.internal")]).await;
    let addresses = [
        "127.0.0.1",
        "127.0.0.1:9081",
        "[::1]:9081",
        "[::1]",
        "10.1.2.3",
        "localhost",
        "LOCALHOST:9081",
    ];
    let names = ["ops.example.test", "OPS.example.test:80", "reaper.internal:9081"];
    for host in addresses.into_iter().chain(names) {
        for path in PATHS {
            assert_eq!(daemon.get(path, ("host", host)).await.status(), 200, "{path} {host}");
        }
    }
    for host in ["ops.example.test.rebound.example", "example.test", "internal"] {
        assert_eq!(daemon.get("/status.json", ("host", host)).await.status(), 421, "{host}");
    }
}

#[tokio::test]
async fn rejected_host_is_logged() {
    let database = Database::create().await;
    let mut program = start_reaper(&database, &["daemon"], &[NEVER]);
    let ops = program.log_event("listening").await["ops"].as_str().unwrap().to_owned();
    let request = Client::new().get(format!("http://{ops}/")).header("host", "rebound.example");
    assert_eq!(request.send().await.unwrap().status(), 421);
    eventually("the rejection is logged", async || {
        let log = program.stderr();
        let refused = log.lines().find(|line| line.contains("\"event\":\"ops_host_refused\""));
        refused.is_some_and(|line| line.contains("127.0.0.1"))
    })
    .await;
}

#[tokio::test]
async fn large_request_headers_are_rejected() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[]).await;
    assert_eq!(daemon.get("/livez", ("x", &"x".repeat(16_000))).await.status(), 200);
    let answer = daemon.get("/livez", ("x", &"x".repeat(17_000))).await;
    assert_eq!(answer.status(), 431);
    assert_eq!(answer.headers()["connection"], "close");
    is_safe(&answer, false);
}

#[tokio::test]
async fn every_path_answers_head() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[]).await;
    for path in PATHS {
        let answer =
            daemon.client.head(format!("http://{}{path}", daemon.ops)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.bytes().await.unwrap().len(), 0, "{path}");
    }
}

#[tokio::test]
async fn metrics_are_compressed_if_the_client_accepts_gzip() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[]).await;
    let plain = daemon.get("/metrics", ("accept-encoding", "identity")).await;
    assert_eq!(plain.headers().get("content-encoding"), None);
    assert!(plain.text().await.unwrap().contains("session_reaper_build_info"));
    let compressed = daemon.get("/metrics", ("accept-encoding", "gzip")).await;
    assert_eq!(compressed.headers()["content-encoding"], "gzip");
    assert_eq!(compressed.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    // The magic number of the gzip format (RFC 1952).
    assert_eq!(compressed.bytes().await.unwrap()[..2], [0x1f, 0x8b]);
}
