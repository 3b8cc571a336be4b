//! The demo page in a browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::path::Path;

use testkit::{AuthApi, Browser, Database, Page, Screen, Wallet, free_port, vectors};

const SCREEN: Screen = Screen { width: 1000, height: 900, dark: false };
/// A script that simulates the Freighter extension.
const FREIGHTER: &str = include_str!("../freighter/extension.js");

/// Starts an API with the demo at `http://localhost:port`, where browsers provide cryptography.
/// `reuse_grace` determines whether an old token ends the session.
async fn start(database: &Database, reuse_grace: &str) -> (AuthApi, String) {
    let port = free_port();
    let (bind, origin) = (format!("127.0.0.1:{port}"), format!("http://localhost:{port}"));
    let env = [
        ("BIND", bind.as_str()),
        ("PUBLIC_URL", &origin),
        ("DEMO", "1"),
        ("REFRESH_REUSE_GRACE", reuse_grace),
    ];
    (AuthApi::start(database, &env).await, origin)
}

/// Opens the demo with a script that runs before the scripts of the demo, and waits until the demo
/// has looked for the extension.
fn open<'b>(browser: &'b mut Browser, origin: &str, script: &str) -> Page<'b> {
    let mut page = browser.open_with(&format!("{origin}/demo"), SCREEN, script);
    page.wait_for("document.body?.dataset.ready === 'true'");
    page
}

/// Presses a button as a keyboard user does, and waits for the result. Returns the status text of
/// the page.
fn press(page: &mut Page<'_>, selector: &str) -> String {
    let found = format!(
        "(() => {{ const button = document.querySelector({selector:?}); button?.focus();
           return button !== null && document.activeElement === button; }})()"
    );
    assert_eq!(page.evaluate(&found), true, "{selector} is missing or cannot have the focus");
    page.evaluate("document.activeElement.click()");
    page.wait_for("document.body.dataset.busy === 'false'");
    page.text("#told")
}

/// Returns the console messages, except the 401 responses, which the browser logs as errors.
fn complaints(page: &mut Page<'_>) -> Vec<String> {
    page.complaints()
        .into_iter()
        .filter(|text| !text.contains("the server responded with a status of 401"))
        .collect()
}

const LIVE: &str = "SELECT count(*) FROM sessions WHERE revoked_at IS NULL";

#[tokio::test(flavor = "multi_thread")]
async fn generated_key_completes_every_step_of_the_demo() {
    let database = Database::create().await;
    let (_api, origin) = start(&database, "5m").await;
    let mut browser = Browser::start();
    let mut page = open(&mut browser, &origin, "");
    assert!(page.text("#freighter-note").contains("not here"));
    page.is_sound(&format!("{origin}/"));

    press(&mut page, "#use-key");
    let address = page.text("#address");
    let message = page.text("#message");
    assert!(
        message.starts_with(&format!("localhost:{}", origin.rsplit(':').next().unwrap())),
        "{message}"
    );
    assert!(message.contains(&address));
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM accounts").await,
        0,
        "nothing is stored for a challenge"
    );

    assert!(press(&mut page, "#log-in").starts_with("Logged in"));
    assert_eq!(database.one::<String>("SELECT subject FROM accounts").await, address);
    assert!(page.text("#verified").contains("has checked its signature"));
    assert!(page.text("#claims").contains(&address));
    assert!(
        press(&mut page, "#log-in").starts_with("Refused, as it should be"),
        "a challenge is valid once"
    );

    press(&mut page, "#refresh");
    assert_eq!(page.evaluate("document.querySelectorAll('#chain li').length"), 2);
    assert!(press(&mut page, "#replay").contains("the same successor"));
    assert_eq!(
        database.one::<i64>("SELECT generation::int8 FROM token_families").await,
        1,
        "the chain does not fork"
    );
    assert_eq!(
        page.evaluate("localStorage.length + sessionStorage.length"),
        0,
        "credentials stay in memory"
    );
    page.is_sound(&format!("{origin}/"));

    press(&mut page, "#another");
    press(&mut page, "#another");
    assert_eq!(page.evaluate("document.querySelectorAll('#list tr').length"), 3);
    assert!(press(&mut page, "#list button").starts_with("Ended"));
    assert_eq!(page.evaluate("document.querySelectorAll('#list tr').length"), 2);
    assert_eq!(press(&mut page, "#end-others"), "One session ended; this one goes on.");
    assert_eq!(database.one::<i64>(LIVE).await, 1);

    assert!(press(&mut page, "#log-out").starts_with("Logged out"));
    assert_eq!((page.text("#alive").as_str(), database.one::<i64>(LIVE).await), ("over", 0));
    assert!(press(&mut page, "#again").starts_with("Here is a text to sign"));
    assert!(press(&mut page, "#log-in").starts_with("Logged in"));
    assert_eq!(complaints(&mut page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn reused_refresh_token_ends_the_session() {
    let database = Database::create().await;
    let (_api, origin) = start(&database, "0s").await;
    let mut browser = Browser::start();
    let mut page = open(&mut browser, &origin, "");
    press(&mut page, "#use-key");
    press(&mut page, "#log-in");
    press(&mut page, "#refresh");
    assert_eq!(page.text("#replay"), "Send the old one again, as a thief would");
    database.age_rotations("1 minute").await;
    assert!(press(&mut page, "#replay").starts_with("A used-up token came a second time"));
    assert_eq!(page.text("#alive"), "over");
    assert_eq!(database.one::<String>("SELECT revoked_reason FROM sessions").await, "reuse");
    page.is_sound(&format!("{origin}/"));
    assert_eq!(complaints(&mut page), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn freighter_logs_in_or_declines() {
    let database = Database::create().await;
    let (_api, origin) = start(&database, "5m").await;
    let mut browser = Browser::start();
    let mut page = open(&mut browser, &origin, FREIGHTER);
    assert!(page.text("#freighter-note").contains("Freighter is here"));
    press(&mut page, "#use-freighter");
    let wallet = Wallet::from_seed(vectors::sep53()["seed"].as_str().unwrap());
    assert_eq!(page.text("#address"), wallet.address());

    page.evaluate("window.decline = true");
    assert_eq!(press(&mut page, "#log-in"), "Freighter: The user rejected this request.");
    page.evaluate("window.decline = false");
    assert!(press(&mut page, "#log-in").starts_with("Logged in"));
    assert_eq!(page.text("#signature"), wallet.sign(page.text("#message")));
    assert_eq!(database.one::<String>("SELECT subject FROM accounts").await, wallet.address());
    page.is_sound(&format!("{origin}/"));
    assert_eq!(complaints(&mut page), Vec::<String>::new());
}

#[tokio::test]
async fn demo_is_off_by_default_and_loads_nothing_external() {
    let database = Database::create().await;
    let (with, _) = start(&database, "5m").await;
    let without = AuthApi::start(&database, &[]).await;
    for part in [
        "",
        "/page.css",
        "/page.js",
        "/draw.js",
        "/api.js",
        "/wallets.js",
        "/encoding.js",
        "/freighter-api.js",
    ] {
        let answer = with.send(with.client.get(format!("{}/demo{part}", with.url))).await;
        assert_eq!(answer.status, 200, "{part}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';")
                && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
        without
            .send(without.client.get(format!("{}/demo{part}", without.url)))
            .await
            .is_problem(404, "not_found");
    }
    let settings = with.send(with.client.get(format!("{}/demo/settings.json", with.url))).await;
    assert_eq!(
        settings.body,
        serde_json::json!({ "network": "stellar:testnet", "reuse_grace_ms": 300_000 })
    );
    without
        .send(without.client.get(format!("{}/demo/settings.json", without.url)))
        .await
        .is_problem(404, "not_found");
    with.send(with.client.get(format!("{}/demo/page.html", with.url)))
        .await
        .is_problem(404, "not_found");
    with.send(with.client.post(format!("{}/demo", with.url)))
        .await
        .is_problem(405, "method_not_allowed");
}

#[test]
fn bundled_freighter_package_is_the_published_one() {
    let packages = std::env::var("REAL_PACKAGES")
        .expect("REAL_PACKAGES must name the directory of the packages: run `make test`");
    let published = Path::new(&packages)
        .join("stellar-js/node_modules/@stellar/freighter-api/build/index.min.js");
    let ours = include_str!("../../src/routes/demo/freighter-api/index.min.js");
    assert_eq!(std::fs::read_to_string(published).unwrap(), ours);
}

/// Creates the screenshots of the demo in docs/images, for `deploy/local/screenshots`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it creates screenshots for manual review"]
async fn screenshots() {
    let into = std::env::var("SCREENSHOTS").expect("SCREENSHOTS must name the output directory");
    let database = Database::create().await;
    let (_api, origin) = start(&database, "5m").await;
    let mut browser = Browser::start();
    for (suffix, screen) in [
        ("light", Screen { width: 1120, height: 1000, dark: false }),
        ("dark", Screen { width: 1120, height: 1000, dark: true }),
        ("phone", Screen { width: 390, height: 844, dark: false }),
    ] {
        let mut page = open(&mut browser, &origin, FREIGHTER);
        page.look_by(screen);
        for button in ["#use-key", "#log-in", "#another", "#refresh"] {
            press(&mut page, button);
        }
        page.evaluate(
            "document.activeElement.blur(); document.querySelector('#tokens').scrollIntoView()",
        );
        std::fs::write(Path::new(&into).join(format!("demo-{suffix}.png")), page.picture())
            .unwrap();
    }
}
