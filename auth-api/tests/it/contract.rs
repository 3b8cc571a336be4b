//! The OpenAPI specification: the committed file matches the code, the server conforms to it, and
//! the documentation page shows it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;
use testkit::{AuthApi, Browser, Database, Program, Screen, Service, binary, free_port};

/// Path patterns of the admin port and of the API port.
const OPERATIONS: &str = "/admin";
const API: &str = "/(?!admin)";

async fn printed() -> String {
    let (code, program) = Program::run(binary("auth-api"), &["openapi"], &[]).await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    program.stdout()
}

fn committed() -> String {
    format!("{}/../docs/openapi.json", env!("CARGO_MANIFEST_DIR"))
}

/// An operator, whose token gives access to `/admin`.
struct Operator(tempfile::NamedTempFile);

impl Operator {
    const TOKEN: &str = "operators-token-of-a-test-0123456789";

    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, Self::TOKEN).unwrap();
        Self(file)
    }

    fn env(&self) -> (&str, &str) {
        ("ADMIN_TOKEN_FILE", self.0.path().to_str().unwrap())
    }
}

/// Returns the base URL of the server that serves a path.
fn server_of<'a>(path: &str, api: &'a AuthApi) -> &'a str {
    if path.starts_with(OPERATIONS) { api.admin_url.as_ref().unwrap() } else { &api.url }
}

/// Returns each path with its methods.
fn paths(specification: &str) -> BTreeMap<String, Vec<String>> {
    let specification: Value = serde_json::from_str(specification).unwrap();
    let methods = |item: &Value| {
        let members = item.as_object().unwrap().keys().filter(|member| *member != "servers");
        members.map(|method| method.to_uppercase()).collect()
    };
    let paths = specification["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn committed_openapi_matches_the_code() {
    assert!(
        std::fs::read_to_string(committed()).unwrap() == printed().await,
        "docs/openapi.json is out of date; run: cargo run --bin auth-api -- openapi > docs/openapi.json"
    );
}

#[tokio::test]
async fn openapi_is_served_with_the_public_url() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let url = format!("{}/openapi.json", api.url);
    let answer = api.send(api.client.get(&url)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let (mut served, committed): (_, Value) =
        (answer.body, serde_json::from_str(&printed().await).unwrap());
    assert_eq!(served["servers"][0]["url"], AuthApi::PUBLIC_URL);
    served["servers"] = committed["servers"].clone();
    assert_eq!(served, committed);
    let head = api.send(api.client.head(&url)).await;
    assert_eq!((head.status.as_u16(), head.body.as_str()), (200, Some("")));
}

#[tokio::test]
async fn each_path_accepts_only_its_documented_methods() {
    let database = Database::create().await;
    let operator = Operator::new();
    let api = AuthApi::start(&database, &[operator.env()]).await;
    for (path, methods) in paths(&printed().await) {
        let named =
            path.replace("{id}", "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e").replace("{account}", "G1");
        let url = format!("{}{named}", server_of(&path, &api));
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]
        {
            // A cookie does not change the result.
            for cookie in [None, Some("__Host-session=ses_x")] {
                let mut request =
                    api.client.request(Method::from_bytes(method.as_bytes()).unwrap(), &url);
                if let Some(cookie) = cookie {
                    request = request.header("Cookie", cookie);
                }
                if path.starts_with(OPERATIONS) {
                    request = request.bearer_auth(Operator::TOKEN);
                }
                let answer = api.send(request).await;
                if methods.iter().any(|documented| documented == method) {
                    assert_ne!(answer.status, 405, "{method} {path}");
                    continue;
                }
                assert_eq!(answer.status, 405, "{method} {path}");
                let allowed = answer.headers["allow"].to_str().unwrap();
                let mut allowed: Vec<_> = allowed.split(", ").collect();
                allowed.sort_unstable();
                let mut documented = methods.clone();
                documented.sort_unstable();
                assert_eq!(allowed, documented, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_error_has_an_example_with_code_and_headers() {
    let specification: Value = serde_json::from_str(&printed().await).unwrap();
    let answers = specification["components"]["responses"].as_object().unwrap();
    let mut codes = Vec::new();
    for (name, answer) in answers {
        let has = |header: &str| answer["headers"].get(header).is_some();
        assert!(has("X-Request-Id") && has("Cache-Control"), "{name}");
        let Some(content) = answer.get("content") else { continue };
        let content = content.as_object().unwrap().values().next().unwrap();
        for example in content["examples"].as_object().unwrap().values() {
            let error = &example["value"];
            let code = error["code"].as_str().or(error["error"].as_str()).unwrap();
            assert!(name.contains(code), "{name}: {error}");
            assert_eq!(
                has("Retry-After"),
                code == "rate_limited" || code.ends_with("unavailable"),
                "{name}"
            );
            assert_eq!(
                has("WWW-Authenticate"),
                ["unauthenticated", "insufficient_user_authentication", "invalid_client"]
                    .contains(&code),
                "{name}"
            );
            codes.push(code);
        }
    }
    codes.sort_unstable();
    codes.dedup();
    let all = [
        "forbidden_origin",
        "insufficient_user_authentication",
        "internal",
        "invalid_address",
        "invalid_client",
        "invalid_request",
        "login_refused",
        "malformed",
        "not_found",
        "rate_limited",
        "refresh_refused",
        "server_error",
        "temporarily_unavailable",
        "too_large",
        "unauthenticated",
        "unavailable",
        "unsupported_media_type",
    ];
    assert_eq!(codes, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn docs_page_shows_every_operation_and_loads_nothing_external() {
    let database = Database::create().await;
    let port = free_port();
    let (bind, origin) = (format!("127.0.0.1:{port}"), format!("http://localhost:{port}"));
    let _api = AuthApi::start(&database, &[("BIND", &bind), ("PUBLIC_URL", &origin)]).await;
    let operations = paths(&printed().await).values().map(Vec::len).sum::<usize>();

    let mut browser = Browser::start();
    let mut page =
        browser.open(&format!("{origin}/docs"), Screen { width: 1200, height: 900, dark: false });
    page.wait_for(&format!("document.querySelectorAll('.opblock').length === {operations}"));
    // The page shows the possible problem responses.
    page.evaluate(
        "document.querySelector('#operations-auth-login .opblock-summary-control').click()",
    );
    page.wait_for("document.body.innerText.includes('login_refused')");
    // "Try it out" sends a real request.
    page.evaluate(
        "document.querySelector('#operations-discovery-keys .opblock-summary-control').click()",
    );
    page.wait_for("document.querySelector('#operations-discovery-keys .try-out__btn') !== null");
    page.evaluate("document.querySelector('#operations-discovery-keys .try-out__btn').click()");
    page.wait_for("document.querySelector('#operations-discovery-keys .execute') !== null");
    page.evaluate("document.querySelector('#operations-discovery-keys .execute').click()");
    page.wait_for(
        "document.querySelector('#operations-discovery-keys .live-responses-table') !== null",
    );
    let answer = page.text("#operations-discovery-keys .live-responses-table");
    assert!(answer.contains("200") && answer.contains("Ed25519"), "{answer}");

    // The security policy blocks requests to other hosts.
    let blocked =
        page.evaluate("fetch('https://example.com/').then(() => 'sent', () => 'blocked')");
    assert_eq!(blocked, "blocked");
    let complaints = page.complaints();
    assert_eq!(complaints.len(), 2, "one from the policy and one from the fetch: {complaints:?}");
    let elsewhere =
        |url: &String| !url.starts_with(&format!("{origin}/")) && !url.starts_with("data:");
    assert_eq!(page.requests().into_iter().find(elsewhere), None);
}

/// Returns the Python interpreter that `deploy/local/real-packages` installs.
fn python() -> PathBuf {
    let directory = std::env::var("REAL_PACKAGES")
        .expect("REAL_PACKAGES must name the directory of the packages: run `make test`");
    Path::new(&directory).join("schemathesis/venv/bin/python")
}

fn source(name: &str) -> String {
    format!("{}/tests/packages/schemathesis/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn openapi_is_valid_and_examples_match_their_schemas() {
    let (code, program) =
        Program::run(python(), &[&source("examples.py"), &committed()], &[]).await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    let seen: u32 = program.stdout().split(' ').next().unwrap().parse().unwrap();
    assert!(seen > 50, "{}", program.stdout());
}

/// Runs schemathesis with all its checks against a new server, for the operations whose paths match
/// `below`.
async fn conforms(credentials: &str, below: &str, flags: &[&str]) {
    let database = Database::create().await;
    let (service, operator) = (Service::add().await, Operator::new());
    let api = AuthApi::start(&database, &[service.env(), operator.env()]).await;
    let (url, client) = (server_of(below, &api), format!("{}:{}", service.id, service.secret));
    // Passes the specification as a file: schemathesis does not test the endpoint from which it
    // loads a specification.
    let (config, hooks, committed, those) =
        (source("schemathesis.toml"), source("hooks.py"), committed(), format!("^{below}"));
    let mut args = vec![
        "-m",
        "schemathesis.cli",
        "--config-file",
        &config,
        "run",
        &committed,
        "--url",
        url,
        "--checks",
        "all",
        "--no-color",
    ];
    args.extend(["--include-path-regex", &those]);
    args.extend(flags);
    let env = [
        ("SCHEMATHESIS_HOOKS", hooks.as_str()),
        ("CREDENTIALS", credentials),
        ("API_URL", &api.url),
        ("CLIENT", &client),
        ("ADMIN_TOKEN", Operator::TOKEN),
        ("ORIGIN", AuthApi::PUBLIC_URL),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONUTF8", "1"),
    ];
    let (code, program) = Program::run(python(), &args, &env).await;
    assert_eq!(code, Some(0), "{}{}", program.stdout(), program.stderr());
    let mut documented = paths(&printed().await);
    documented.retain(|path, _| path.starts_with("/admin") == (below == OPERATIONS));
    let operations = documented.values().map(Vec::len).sum::<usize>();
    // A phase that cannot run does not make schemathesis fail, so the test checks the output.
    for done in [
        format!("Tested: {operations}\n"),
        "✅ Examples\n".into(),
        "✅ Coverage\n".into(),
        "✅ Fuzzing\n".into(),
    ] {
        assert!(program.stdout().contains(&done), "{}", program.stdout());
    }
}

#[tokio::test]
async fn schemathesis_passes_with_an_access_token() {
    conforms("token", API, &[]).await;
}

#[tokio::test]
async fn schemathesis_passes_with_a_cookie() {
    conforms("cookie", API, &[]).await;
}

#[tokio::test]
async fn schemathesis_passes_as_an_operator() {
    conforms("operator", OPERATIONS, &[]).await;
}

#[tokio::test]
async fn schemathesis_passes_without_credentials() {
    // Some operations return only 401. This is expected, so the warnings are off.
    conforms("none", API, &["--warnings", "off"]).await;
    conforms("none", OPERATIONS, &["--warnings", "off"]).await;
}
