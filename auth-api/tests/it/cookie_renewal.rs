//! Sliding expiration renews the cookie of a session, and no browser loses its session.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use testkit::{Answer, AuthApi, Database, Proxy, Service, Wallet};

/// Returns the cookie that a response sets, if any.
fn set_cookie(answer: &Answer) -> Option<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = answer.headers.get("set-cookie")?.to_str().unwrap();
    Some(line.split(';').next().unwrap().to_owned())
}

async fn get(api: &AuthApi, cookie: &str) -> Answer {
    api.with_cookie("GET", "/auth/session", cookie).await
}

/// Simulates that two days have passed since the login or the last renewal, and that no requests
/// are pending.
async fn two_days_later(database: &Database) {
    database
        .execute(
            "UPDATE sessions SET expires_at = expires_at - interval '2 days', previous_until = previous_until - interval '2 days'",
        )
        .await;
}

/// Ends the grace period of the previous cookie, long before any later request.
async fn grace_is_over(database: &Database) {
    database
        .execute("UPDATE sessions SET previous_until = clock_timestamp() - interval '1 hour'")
        .await;
}

async fn revoked_reason(database: &Database) -> Option<String> {
    database.one("SELECT revoked_reason FROM sessions ORDER BY created_at LIMIT 1").await
}

async fn renewals(api: &AuthApi, outcome: &str) -> f64 {
    api.metric(&format!("auth_api_cookie_renewals_total{{outcome=\"{outcome}\"}}")).await
}

async fn counts_renewals(api: &AuthApi, outcome: &str, count: f64) {
    let counted = renewals(api, outcome).await;
    assert!((counted - count).abs() < f64::EPSILON, "{outcome}: {counted}");
}

/// Creates a session whose cookie is due for renewal.
async fn due(database: &Database, api: &AuthApi) -> String {
    let cookie = api.cookie_login(&Wallet::generate()).await;
    assert_eq!(set_cookie(&get(api, &cookie).await), None, "not due yet");
    two_days_later(database).await;
    cookie
}

/// Creates a session and renews its cookie. Returns the old cookie and the new one, which is
/// unused.
async fn renewed(database: &Database, api: &AuthApi) -> (String, String) {
    let old = due(database, api).await;
    let new = set_cookie(&get(api, &old).await).unwrap();
    assert_ne!(old, new);
    (old, new)
}

/// Forges a token for the session of `cookie`, from `AUTH_SECRET` and the session id alone.
fn forged_for(cookie: &str) -> String {
    let (name, token) = cookie.split_once("=ses_").unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    bytes[20] ^= 1;
    let (untagged, tag) = bytes.split_at_mut(48);
    let secret: [u8; 32] = STANDARD.decode(AuthApi::SECRET).unwrap().try_into().unwrap();
    let key = blake3::derive_key("session-reaper auth-api 2026-11 session token tag", &secret);
    tag.copy_from_slice(&blake3::keyed_hash(&key, untagged).as_bytes()[..16]);
    format!("{name}=ses_{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test]
async fn sliding_session_gets_one_new_cookie() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (old, new) = renewed(&database, &api).await;
    // Repeats the request as if each response had been lost.
    for _ in 0..3 {
        assert_eq!(set_cookie(&get(&api, &old).await).as_ref(), Some(&new));
    }
    counts_renewals(&api, "renewed", 1.0).await;
    // The row stores the hash of the new cookie.
    let stored: String = database.one("SELECT encode(token_hash, 'hex') FROM sessions").await;
    assert_eq!(stored, blake3::hash(new.split_once('=').unwrap().1.as_bytes()).to_hex().as_str());

    // The first use of the new cookie starts the grace period of the old one.
    let until: bool =
        database.one("SELECT previous_until > now() + interval '1 day' FROM sessions").await;
    assert!(until, "the old cookie keeps its own expiration");
    assert_eq!(set_cookie(&get(&api, &new).await), None);
    let until: bool = database
        .one("SELECT previous_until <= clock_timestamp() + interval '5 min' FROM sessions")
        .await;
    assert!(
        until,
        "the grace period (5 minutes in tests) starts with the first use of the new cookie"
    );
    let first_use: String = database.one("SELECT previous_until::text FROM sessions").await;
    assert_eq!(set_cookie(&get(&api, &new).await), None);
    let later_use: String = database.one("SELECT previous_until::text FROM sessions").await;
    assert_eq!(first_use, later_use);
    database.execute("UPDATE sessions SET previous_until = now() + interval '1 hour'").await;
    assert_eq!(set_cookie(&get(&api, &old).await).as_ref(), Some(&new));

    // After two more days, the new cookie is renewed as well.
    two_days_later(&database).await;
    let newest = set_cookie(&get(&api, &new).await).unwrap();
    assert!(newest != new && newest != old);
    assert_eq!(get(&api, &newest).await.status, 200);
    // A cookie older than the previous one is rejected and ends no session.
    get(&api, &old).await.is_problem(401, "unauthenticated");
    assert_eq!(get(&api, &newest).await.status, 200);
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn previous_cookie_after_the_grace_period_ends_the_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (old, new) = renewed(&database, &api).await;
    assert_eq!(get(&api, &new).await.status, 200);
    grace_is_over(&database).await;
    get(&api, &old).await.is_problem(401, "unauthenticated");
    get(&api, &new).await.is_problem(401, "unauthenticated");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
    testkit::eventually("the audit log contains the reuse event", async || {
        api.program.stderr().contains(r#""event":"reuse""#)
    })
    .await;
    assert!(
        (api.metric("auth_api_sessions_revoked_total{reason=\"reuse\"}").await - 1.0).abs()
            < f64::EPSILON
    );
}

#[tokio::test]
async fn previous_cookie_is_not_valid_past_its_expiration() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let old = due(&database, &api).await;
    let expiry: String = database.one("SELECT expires_at::text FROM sessions").await;
    let _ = set_cookie(&get(&api, &old).await).unwrap();
    assert_eq!(database.one::<String>("SELECT previous_until::text FROM sessions").await, expiry);
    // The first use of the new cookie does not extend the validity of the old one.
    let (other_database, grace) = (Database::create().await, [("REFRESH_REUSE_GRACE", "5m")]);
    let api = AuthApi::start(&other_database, &grace).await;
    let (_, new) = renewed(&other_database, &api).await;
    other_database
        .execute("UPDATE sessions SET previous_until = clock_timestamp() + interval '1 minute'")
        .await;
    let before: String = other_database.one("SELECT previous_until::text FROM sessions").await;
    assert_eq!(get(&api, &new).await.status, 200);
    assert_eq!(
        other_database.one::<String>("SELECT previous_until::text FROM sessions").await,
        before
    );
}

#[tokio::test]
async fn parallel_requests_renew_once_and_get_the_same_cookie() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let old = due(&database, &api).await;
    let answers = futures_util::future::join_all((0..20).map(|_| get(&api, &old))).await;
    let cookies: std::collections::BTreeSet<_> = answers.iter().filter_map(set_cookie).collect();
    assert_eq!(cookies.len(), 1, "{cookies:?}");
    counts_renewals(&api, "renewed", 1.0).await;
    // The first use of the new cookie does not invalidate pending requests with the old one.
    let new = cookies.first().unwrap();
    let answers = futures_util::future::join_all(
        (0..20).map(|n| get(&api, if n % 2 == 0 { new } else { &old })),
    )
    .await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn cross_site_request_does_not_slide_the_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let cookie = due(&database, &api).await;
    let ask = async |cookie: &str, sites: &[&str]| {
        let mut request =
            api.client.get(format!("{}/auth/session", api.url)).header("Cookie", cookie);
        for site in sites {
            request = request.header("Sec-Fetch-Site", *site);
        }
        set_cookie(&api.send(request).await)
    };
    for sites in
        [&["cross-site"][..], &["same-origin", "cross-site"], &["", "none"], &["anything"], &[""]]
    {
        assert_eq!(ask(&cookie, sites).await, None, "{sites:?}");
    }
    let mut current = cookie;
    for site in ["none", "same-origin", "same-site"] {
        current = ask(&current, &[site]).await.unwrap();
        two_days_later(&database).await;
        grace_is_over(&database).await;
    }
    // Any request receives a cookie that was already renewed, because sending that cookie does not
    // extend the session.
    let new = ask(&current, &[]).await.unwrap();
    assert_eq!(ask(&current, &["cross-site"]).await, Some(new));
}

#[tokio::test]
async fn failed_renewal_does_not_reject_the_request() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let cookie = due(&database, &api).await;
    let mut holder = database.client().await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    assert_eq!(set_cookie(&get(&api, &cookie).await), None);
    counts_renewals(&api, "failed", 1.0).await;
    lock.commit().await.unwrap();
    let new = set_cookie(&get(&api, &cookie).await).unwrap();
    // The same applies to the first use of the new cookie: the next request records it.
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    assert_eq!(get(&api, &new).await.status, 200);
    lock.commit().await.unwrap();
    assert_eq!(get(&api, &new).await.status, 200);
    assert!(
        database
            .one::<bool>("SELECT previous_until < now() + interval '6 minutes' FROM sessions")
            .await
    );
}

#[tokio::test]
async fn previous_cookie_is_checked_at_the_arrival_time() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_POOL_SIZE", "1"),
        ("DENYLIST_SYNC_INTERVAL", "1h"),
    ];
    let (slow, quick) =
        (AuthApi::start(&database, &env).await, AuthApi::start(&database, &[]).await);
    testkit::eventually("the denylist has been rebuilt", async || {
        slow.metric("auth_api_denylist_synced_timestamp_seconds").await > 0.0
    })
    .await;
    let (old, new) = renewed(&database, &quick).await;
    proxy.stall();
    let (answer, ()) = tokio::join!(get(&slow, &old), async {
        testkit::eventually("the request holds a connection", async || {
            slow.metric("auth_api_db_connections{state=\"busy\"}").await > 0.0
        })
        .await;
        assert_eq!(get(&quick, &new).await.status, 200);
        database.execute("UPDATE sessions SET previous_until = clock_timestamp()").await;
        proxy.restore();
    });
    assert_eq!(set_cookie(&answer), Some(new));
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn disconnected_client_does_not_end_the_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (old, new) = renewed(&database, &api).await;
    grace_is_over(&database).await;
    // The kernel accepts the connection and buffers the request.
    api.program.signal("STOP");
    let mut socket = TcpStream::connect(api.url.trim_start_matches("http://")).unwrap();
    write!(socket, "GET /auth/session HTTP/1.1\r\nhost: x\r\ncookie: {old}\r\n\r\n").unwrap();
    drop(socket);
    api.program.signal("CONT");
    testkit::eventually("the request was read", async || {
        api.metric("auth_api_db_query_duration_seconds_count{query=\"find_live_session\"}").await
            > 1.0
    })
    .await;
    assert_eq!(get(&api, &new).await.status, 200);
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn auth_secret_alone_cannot_end_a_session() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let (_, new) = renewed(&database, &api).await;
    let forged = forged_for(&new);
    get(&api, &forged).await.is_problem(401, "unauthenticated");
    api.with_cookie("POST", "/auth/logout", &forged).await.is_problem(401, "unauthenticated");
    let token = forged.split_once('=').unwrap().1;
    assert_eq!(api.revoke(&service, token).await.status, 200);
    assert_eq!(api.introspect(&service, token).await.body, json!({ "active": false }));
    let _ = api.try_cookie_login(&Wallet::generate(), Some(&forged)).await.cookie();
    assert_eq!(get(&api, &new).await.status, 200);
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn previous_cookie_can_log_out_of_its_session() {
    for how in ["logout", "client", "superseded"] {
        let database = Database::create().await;
        let service = Service::add().await;
        let api = AuthApi::start(&database, &[service.env()]).await;
        let (old, new) = renewed(&database, &api).await;
        match how {
            "logout" => assert_eq!(api.with_cookie("POST", "/auth/logout", &old).await.status, 204),
            "client" => {
                assert_eq!(api.revoke(&service, old.split_once('=').unwrap().1).await.status, 200);
            }
            _ => drop(api.try_cookie_login(&Wallet::generate(), Some(&old)).await.cookie()),
        }
        get(&api, &new).await.is_problem(401, "unauthenticated");
        assert_eq!(revoked_reason(&database).await.as_deref(), Some(how));
    }
}

#[tokio::test]
async fn introspection_checks_a_cookie_without_sliding() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = AuthApi::start(&database, &[service.env()]).await;
    let token = |cookie: &str| cookie.split_once('=').unwrap().1.to_owned();
    let old = due(&database, &api).await;
    assert_eq!(api.introspect(&service, &token(&old)).await.body["active"], true);
    // Introspection has not extended the session. If it had, this request of the browser would not
    // renew the cookie.
    let new = set_cookie(&get(&api, &old).await).unwrap();
    for cookie in [&old, &new, &old] {
        assert_eq!(api.introspect(&service, &token(cookie)).await.body["active"], true);
    }
    assert!(
        database
            .one::<bool>("SELECT previous_until < now() + interval '6 minutes' FROM sessions")
            .await
    );
    grace_is_over(&database).await;
    assert_eq!(api.introspect(&service, &token(&old)).await.body, json!({ "active": false }));
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
}
