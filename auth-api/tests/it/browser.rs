//! Cookie sessions in a browser, which applies its own rules to cookies and origins.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use testkit::{AuthApi, Browser, Database, Page, Screen, Wallet, free_port};

const SCREEN: Screen = Screen { width: 1000, height: 700, dark: false };

/// Starts an API at `http://localhost:port`. Browsers treat this origin as secure, like an HTTPS
/// origin, so the cookies can be `Secure`.
async fn start(database: &Database, env: &[(&str, &str)]) -> (AuthApi, String, String) {
    let (port, ops) = (free_port(), free_port());
    let (bind, ops_bind) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{ops}"));
    let (origin, ops_origin) =
        (format!("http://localhost:{port}"), format!("http://localhost:{ops}"));
    let mut all = vec![("BIND", bind.as_str()), ("OPS_BIND", &ops_bind), ("PUBLIC_URL", &origin)];
    // `OPS` stands for another origin of the same site, from which the browser sends the cookie.
    all.extend(
        env.iter().map(|(name, value)| {
            (*name, if *value == "OPS" { ops_origin.as_str() } else { *value })
        }),
    );
    (AuthApi::start(database, &all).await, origin, ops_origin)
}

/// Makes a request from the page. Returns its status and body.
fn fetch(page: &mut Page<'_>, method: &str, url: &str, body: Option<&Value>) -> (u64, Value) {
    let mut options = json!({ "method": method, "credentials": "include" });
    if let Some(body) = body {
        options["headers"] = json!({ "Content-Type": "application/json" });
        options["body"] = body.to_string().into();
    }
    let script = format!(
        "fetch({url:?}, {options}).then(async answer => [answer.status, await answer.text()]).catch(e => [0, String(e)])"
    );
    let answer = page.evaluate(&script);
    let text = answer[1].as_str().unwrap().to_owned();
    (answer[0].as_u64().unwrap(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn log_in(page: &mut Page<'_>, origin: &str, wallet: &Wallet) -> Value {
    let body = json!({ "address": wallet.address() });
    let (status, challenge) = fetch(page, "POST", &format!("{origin}/auth/challenge"), Some(&body));
    assert_eq!(status, 200, "{challenge}");
    let message = challenge["message"].as_str().unwrap();
    let signed =
        json!({ "message": message, "signature": wallet.sign(message), "transport": "cookie" });
    let (status, answer) = fetch(page, "POST", &format!("{origin}/auth/login"), Some(&signed));
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_session_survives_reload_until_revoked() {
    let database = Database::create().await;
    let (api, origin, _) = start(&database, &[]).await;
    let wallet = Wallet::generate();
    let elsewhere = api.login(&wallet).await;
    let mut browser = Browser::start();
    // The content security policy of other responses forbids all fetches. The policy of this file
    // allows fetches from its own origin.
    let mut page = browser.open(&format!("{origin}/docs/index.css"), SCREEN);
    page.wait_for("document.readyState === 'complete' && location.href.includes('index.css')");

    let session = format!("{origin}/auth/session");
    assert_eq!(fetch(&mut page, "GET", &session, None).0, 401);
    let begun = log_in(&mut page, &origin, &wallet);
    assert_eq!(page.evaluate("document.cookie"), "", "scripts cannot read the cookie");
    assert_eq!(fetch(&mut page, "GET", &session, None).1["session"]["id"], begun["session_id"]);

    page.evaluate("window.before = true; location.reload()");
    page.wait_for("window.before === undefined && document.readyState === 'complete'");
    let (status, answer) = fetch(&mut page, "GET", &format!("{origin}/auth/sessions"), None);
    assert_eq!(status, 200, "{answer}");
    let listed = answer["sessions"].as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((&listed[0]["id"], &listed[0]["current"]), (&begun["session_id"], &json!(true)));
    assert_eq!(listed[0]["device"], "Chrome on Linux");

    let path = format!("/auth/sessions/{}", begun["session_id"].as_str().unwrap());
    assert_eq!(api.with_token("DELETE", &path, &elsewhere.access).await.status, 204);
    assert_eq!(fetch(&mut page, "GET", &session, None).0, 401);

    // Logs in over the invalid cookie, then logs out: the browser deletes the cookie.
    log_in(&mut page, &origin, &wallet);
    assert_eq!(fetch(&mut page, "POST", &format!("{origin}/auth/logout"), None).0, 204);
    assert_eq!(
        fetch(&mut page, "POST", &format!("{origin}/auth/logout"), None).0,
        401,
        "the browser sends no cookie"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn cross_origin_page_is_subject_to_allowed_origins() {
    let database = Database::create().await;
    for allowed in [false, true] {
        let env: &[(&str, &str)] = if allowed { &[("ALLOWED_ORIGINS", "OPS")] } else { &[] };
        let (api, origin, other) = start(&database, env).await;
        let mut browser = Browser::start();
        let mut page = browser.open(&format!("{origin}/docs/index.css"), SCREEN);
        page.wait_for("document.readyState === 'complete' && location.href.includes('index.css')");
        log_in(&mut page, &origin, &Wallet::generate());
        page.ignore_policies();
        page.evaluate(&format!("location.href = '{other}/livez'"));
        page.wait_for("document.readyState === 'complete' && location.href.includes('livez')");

        let (status, answer) = fetch(&mut page, "GET", &format!("{origin}/auth/session"), None);
        assert_eq!(status, if allowed { 200 } else { 0 }, "{answer}");
        // A request without a CORS preflight: the browser sends the cookie because the site is the
        // same. It withholds the response from the page, because Cross-Origin-Resource-Policy
        // allows only pages of the API's own origin to read it.
        let blind = format!(
            "fetch('{origin}/auth/logout', {{ method: 'POST', mode: 'no-cors', credentials: 'include' }}).then(() => false, () => true)"
        );
        assert_eq!(page.evaluate(&blind), true);
        let ended =
            database.one::<i64>("SELECT count(*) FROM sessions WHERE revoked_at IS NOT NULL").await;
        assert_eq!(ended, i64::from(allowed));
        let refused = "auth_api_http_request_duration_seconds_count{method=\"POST\",route=\"/auth/logout\",status=\"403\"}";
        assert!((api.metric(refused).await - f64::from(u8::from(!allowed))).abs() < f64::EPSILON);
    }
}
