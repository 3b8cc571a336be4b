//! Sessions with cookie transport.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use testkit::{Answer, AuthApi, Database, Wallet};

/// Returns the name, the value and the attributes of the only cookie that a response sets.
fn set_cookie(answer: &Answer) -> (String, String, Vec<String>) {
    let mut lines = answer.headers.get_all("set-cookie").iter();
    let line = lines.next().unwrap().to_str().unwrap();
    assert!(lines.next().is_none(), "{answer:?}");
    let mut parts = line.split("; ");
    let (name, value) = parts.next().unwrap().split_once('=').unwrap();
    let mut attributes: Vec<String> = parts.map(str::to_owned).collect();
    attributes.sort();
    (name.to_owned(), value.to_owned(), attributes)
}

async fn status(api: &AuthApi, cookie: &str) -> u16 {
    api.with_cookie("GET", "/auth/session", cookie).await.status.as_u16()
}

#[tokio::test]
async fn cookie_login_sets_a_host_cookie_and_returns_no_token() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let answer = api.try_cookie_login(&wallet, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.body.as_object().unwrap();
    assert_eq!(body.keys().collect::<Vec<_>>(), ["expires_at", "session_id"]);

    let (name, value, attributes) = set_cookie(&answer);
    assert_eq!(name, "__Host-session");
    assert_eq!(attributes, ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax", "Secure"]);
    let token = URL_SAFE_NO_PAD.decode(value.strip_prefix("ses_").unwrap()).unwrap();
    assert_eq!(token.len(), 16 + 32 + 16);
    // The database stores only the hash of the token, and no token family.
    let stored: String = database.one("SELECT encode(token_hash, 'hex') FROM sessions").await;
    assert_eq!(stored, blake3::hash(value.as_bytes()).to_hex().as_str());
    assert_eq!(database.one::<i64>("SELECT count(*) FROM token_families").await, 0);

    let answer = api.with_cookie("GET", "/auth/session", &format!("{name}={value}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.body["session"]["transport"], "cookie");
    assert_eq!(answer.body["session"]["id"], body["session_id"]);
    assert_eq!(answer.body["session"]["current"], true);
    assert_eq!(answer.body["account"]["subject"], wallet.address());
    assert!(
        (api.metric("auth_api_sessions_created_total{transport=\"cookie\"}").await - 1.0).abs()
            < f64::EPSILON
    );
}

#[tokio::test]
async fn insecure_cookie_has_no_prefix_and_logs_a_warning() {
    let database = Database::create().await;
    let env = [("COOKIE_INSECURE", "1"), ("PUBLIC_URL", "http://localhost:8080")];
    let mut api = AuthApi::start(&database, &env).await;
    let warning = api.program.log_event("cookie_insecure").await;
    assert!(warning.is_object());
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let body =
        json!({ "message": message, "signature": wallet.sign(&message), "transport": "cookie" });
    let answer = api.post("/auth/login", &body).await;
    let (name, value, attributes) = set_cookie(&answer);
    assert_eq!(name, "session");
    assert_eq!(attributes, ["HttpOnly", "Max-Age=2592000", "Path=/", "SameSite=Lax"]);
    assert_eq!(status(&api, &format!("{name}={value}")).await, 200);
    // The cookie name of a secure deployment is ignored.
    assert_eq!(status(&api, &format!("__Host-session={value}")).await, 401);
}

#[tokio::test]
async fn login_ends_the_session_of_an_existing_cookie() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SESSION_LIMIT", "1")]).await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let first = api.cookie_login(&one).await;
    let second = api.try_cookie_login(&one, Some(&first)).await.cookie();
    assert_eq!((status(&api, &first).await, status(&api, &second).await), (401, 200));
    let third = api.try_cookie_login(&other, Some(&second)).await.cookie();
    assert_eq!((status(&api, &second).await, status(&api, &third).await), (401, 200));
    let reasons: String =
        database.one("SELECT string_agg(coalesce(revoked_reason, '-'), ' ' ORDER BY created_at) FROM sessions").await;
    assert_eq!(reasons, "superseded superseded -");
    // A rejected login does not end the session, and neither does a login with token transport.
    let message = api.challenge(&one).await;
    let refused =
        json!({ "message": message, "signature": other.sign(&message), "transport": "cookie" });
    let request =
        api.client.post(format!("{}/auth/login", api.url)).header("Origin", AuthApi::PUBLIC_URL);
    api.send(request.header("Cookie", &third).json(&refused))
        .await
        .is_problem(401, "login_refused");
    let by_token =
        json!({ "message": message, "signature": one.sign(&message), "transport": "token" });
    let request =
        api.client.post(format!("{}/auth/login", api.url)).header("Origin", AuthApi::PUBLIC_URL);
    assert_eq!(api.send(request.header("Cookie", &third).json(&by_token)).await.status, 200);
    assert_eq!(status(&api, &third).await, 200);
}

#[tokio::test]
async fn logins_with_swapped_cookies_do_not_deadlock() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("SESSION_LIMIT", "1")]).await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let (mut of_one, mut of_other) = (api.cookie_login(&one).await, api.cookie_login(&other).await);
    for _ in 0..20 {
        // Each login ends the session that the other login uses and, because of the session limit,
        // the existing session of its own account. Both rows are locked in the order of their ids.
        let (first, second) = tokio::join!(
            api.try_cookie_login(&one, Some(&of_other)),
            api.try_cookie_login(&other, Some(&of_one))
        );
        (of_one, of_other) = (first.cookie(), second.cookie());
    }
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await,
        2
    );
}

#[tokio::test]
async fn state_changes_require_an_allowed_origin() {
    let database = Database::create().await;
    let api = AuthApi::start(
        &database,
        &[("ALLOWED_ORIGINS", "https://app.example.test, https://app.example.test:8443")],
    )
    .await;
    let wallet = Wallet::generate();
    let cookie = api.cookie_login(&wallet).await;
    let session = api.with_cookie("GET", "/auth/session", &cookie).await.body["session"]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let paths = [
        ("POST", "/auth/logout".to_owned()),
        ("POST", "/auth/challenge".to_owned()),
        ("POST", "/auth/login".to_owned()),
        ("POST", "/auth/refresh".to_owned()),
        ("DELETE", "/auth/sessions".to_owned()),
        ("DELETE", format!("/auth/sessions/{session}")),
    ];
    let foreign = [
        "https://evil.example.test",
        "null",
        "",
        "http://auth.example.test",
        "https://auth.example.test:8443",
        "https://auth.example.test.evil.example",
        "https://app.example.test/",
        "HTTPS://APP.EXAMPLE.TEST",
    ];
    for (method, path) in &paths {
        for origin in foreign.iter().map(Some).chain([None]) {
            let mut request =
                api.client.request(method.parse().unwrap(), format!("{}{path}", api.url));
            if let Some(origin) = origin {
                request = request.header("Origin", *origin);
            }
            let answer = api.send(request.header("Cookie", &cookie)).await;
            answer.is_problem(403, "forbidden_origin");
        }
        let twice = api.client.request(method.parse().unwrap(), format!("{}{path}", api.url));
        let twice = twice
            .header("Origin", AuthApi::PUBLIC_URL)
            .header("Origin", "https://evil.example.test");
        api.send(twice.header("Cookie", &cookie)).await.is_problem(403, "forbidden_origin");
    }
    // Reads require no Origin, and the rejected requests have changed nothing.
    let plain = api.client.get(format!("{}/auth/session", api.url)).header("Cookie", &cookie);
    assert_eq!(api.send(plain).await.status, 200);
    for origin in ["https://app.example.test", "https://app.example.test:8443", AuthApi::PUBLIC_URL]
    {
        let request = api.client.delete(format!("{}/auth/sessions?except=current", api.url));
        let answer = api.send(request.header("Cookie", &cookie).header("Origin", origin)).await;
        assert_eq!((answer.status.as_u16(), &answer.body["revoked"]), (200, &json!(0)), "{origin}");
    }
    // Login CSRF: a foreign page cannot log a victim in to a session of the attacker.
    let message = api.challenge(&wallet).await;
    let body =
        json!({ "message": message, "signature": wallet.sign(&message), "transport": "cookie" });
    let request = api
        .client
        .post(format!("{}/auth/login", api.url))
        .header("Origin", "https://evil.example.test");
    api.send(request.json(&body)).await.is_problem(403, "forbidden_origin");
}

#[tokio::test]
async fn only_allowed_origins_can_read_responses() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("ALLOWED_ORIGINS", "https://app.example.test")]).await;
    let ask = |origin: &str| {
        let request =
            api.client.request("OPTIONS".parse().unwrap(), format!("{}/auth/sessions", api.url));
        let request =
            request.header("Origin", origin).header("Access-Control-Request-Method", "DELETE");
        api.send(
            request.header(
                "Access-Control-Request-Headers",
                "authorization,content-type,idempotency-key",
            ),
        )
    };
    let allowed = ask("https://app.example.test").await;
    assert_eq!(allowed.headers["access-control-allow-origin"], "https://app.example.test");
    assert_eq!(allowed.headers["access-control-allow-credentials"], "true");
    let methods = allowed.headers["access-control-allow-methods"].to_str().unwrap();
    assert!(methods.contains("DELETE"), "{methods}");
    for origin in ["https://evil.example.test", "null", "http://app.example.test"] {
        let refused = ask(origin).await;
        assert!(
            !refused.headers.contains_key("access-control-allow-origin"),
            "{origin}: {refused:?}"
        );
    }
    // Allowed pages can read errors, too, and the response varies by Origin.
    let request = api
        .client
        .get(format!("{}/auth/session", api.url))
        .header("Origin", "https://app.example.test");
    let answer = api.send(request).await;
    answer.is_problem(401, "unauthenticated");
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.test");
    assert!(
        answer.headers.get_all("vary").iter().any(|vary| vary
            .to_str()
            .unwrap()
            .to_lowercase()
            .contains("origin"))
    );
}

#[tokio::test]
async fn token_and_cookie_together_are_rejected() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let (cookie, tokens) = (api.cookie_login(&wallet).await, api.login(&wallet).await);
    for (method, path) in [
        ("GET", "/auth/session"),
        ("GET", "/auth/sessions"),
        ("DELETE", "/auth/sessions"),
        ("POST", "/auth/logout"),
    ] {
        let request = api.client.request(method.parse().unwrap(), format!("{}{path}", api.url));
        let request = request
            .header("Cookie", &cookie)
            .header("Origin", AuthApi::PUBLIC_URL)
            .bearer_auth(&tokens.access);
        api.send(request).await.is_problem(400, "malformed");
    }
    // Cookies with other names are ignored, even if they are malformed.
    for other in ["session=x", "theme", "a=b; theme; =; c=\"d", "x__Host-session=1"] {
        let request = api.client.get(format!("{}/auth/session", api.url)).header("Cookie", other);
        assert_eq!(api.send(request.bearer_auth(&tokens.access)).await.status, 200, "{other}");
    }
    // A malformed Bearer header counts as a token.
    for other in ["Bearer", "bearer\tx", "Bearer  "] {
        let request = api.client.get(format!("{}/auth/session", api.url)).header("Cookie", &cookie);
        api.send(request.header("Authorization", other)).await.is_problem(400, "malformed");
    }
    let twice = api.client.get(format!("{}/auth/session", api.url)).header("Cookie", &cookie);
    let twice = twice.header("Authorization", "Bearer a").header("Authorization", "Bearer b");
    api.send(twice).await.is_problem(400, "malformed");
    // Basic authentication is for a proxy and is ignored.
    let request = api.client.get(format!("{}/auth/session", api.url)).header("Cookie", &cookie);
    assert_eq!(api.send(request.header("Authorization", "Basic dTpw")).await.status, 200);
    // Browsers allow pages of a sibling host, or of plain HTTP, to set cookies whose names only
    // resemble the prefix.
    for space in ["\u{2000}", "\u{a0}", "\u{85}", "\u{3000}"] {
        assert_eq!(status(&api, &format!("{space}{cookie}")).await, 401);
        assert_eq!(status(&api, &format!("{space}__Host-session=planted; {cookie}")).await, 200);
    }
    let mut latin1 = b"other=\xff; ".to_vec();
    latin1.extend_from_slice(cookie.as_bytes());
    let request = api.client.get(format!("{}/auth/session", api.url)).header("Cookie", latin1);
    assert_eq!(api.send(request).await.status, 200);
    let among_others = format!("theme; {cookie}; a=b");
    assert_eq!(status(&api, &among_others).await, 200);
    // If there are two cookies with the same name, an attacker may have planted one of them.
    assert_eq!(status(&api, &format!("{cookie}; {cookie}")).await, 401);
}

#[tokio::test]
async fn every_invalid_cookie_gets_the_same_response() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let login = async || api.cookie_login(&Wallet::generate()).await;
    let (unknown, expired, revoked, wrong) =
        (login().await, login().await, login().await, login().await);
    let id = async |cookie: &str| {
        api.with_cookie("GET", "/auth/session", cookie).await.body["session"]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (of_unknown, of_expired, of_wrong) =
        (id(&unknown).await, id(&expired).await, id(&wrong).await);
    assert_eq!(api.with_cookie("POST", "/auth/logout", &revoked).await.status, 204);
    database.execute(&format!("DELETE FROM sessions WHERE id = '{of_unknown}'")).await;
    database
        .execute(&format!("UPDATE sessions SET expires_at = now() WHERE id = '{of_expired}'"))
        .await;
    database
        .execute(&format!(
            "UPDATE sessions SET token_hash = sha256('another') WHERE id = '{of_wrong}'"
        ))
        .await;
    let forged = format!("__Host-session=ses_{}", "A".repeat(86));
    let mut seen = Vec::new();
    for cookie in [&unknown, &expired, &revoked, &wrong, &forged, "__Host-session="] {
        let answer = api.with_cookie("GET", "/auth/session", cookie).await;
        answer.is_problem(401, "unauthenticated");
        let mut headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id" && *name != "date")
            .collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        seen.push(format!("{headers:?} {}", answer.body));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn logout_ends_the_session_and_deletes_the_cookie() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let cookie = api.cookie_login(&Wallet::generate()).await;
    for _ in 0..2 {
        let answer = api.with_cookie("POST", "/auth/logout", &cookie).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let (name, value, attributes) = set_cookie(&answer);
        assert_eq!((name.as_str(), value.as_str()), ("__Host-session", ""));
        assert!(
            attributes.contains(&"Max-Age=0".to_owned())
                && attributes.contains(&"Secure".to_owned()),
            "{attributes:?}"
        );
    }
    assert_eq!(status(&api, &cookie).await, 401);
    assert_eq!(database.one::<String>("SELECT revoked_reason FROM sessions").await, "logout");
    let forged = format!("__Host-session=ses_{}", "A".repeat(86));
    api.with_cookie("POST", "/auth/logout", &forged).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn used_session_is_updated_once_a_minute_and_slides() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let cookie = api.cookie_login(&Wallet::generate()).await;
    let first = cookie.clone();
    let used_after = async |seconds: i32| {
        let set =
            format!("UPDATE sessions SET last_seen_at = now() - interval '{seconds} seconds'");
        database.execute(&set).await;
        status(&api, &first).await
    };
    let updates = async || {
        api.metric("auth_api_db_query_duration_seconds_count{query=\"touch_sessions\"}").await
    };
    // The last update is less than a minute old, however long the request takes.
    assert_eq!(used_after(-3600).await, 200);
    let before: String = database.one("SELECT clock_timestamp()::text").await;
    assert_eq!(used_after(61).await, 200);
    let seen_now = format!("SELECT last_seen_at >= '{before}' FROM sessions");
    testkit::eventually("the last-seen time was written", async || {
        database.one::<bool>(&seen_now).await
    })
    .await;
    assert!(
        (updates().await - 1.0).abs() < f64::EPSILON,
        "the first use was too early to be written, and the queue keeps its order"
    );

    // Two days later, the expiration is extended, too, which writes an index.
    database
        .execute(
            "UPDATE sessions SET expires_at = expires_at - interval '2 days', last_seen_at = now() - interval '2 minutes'",
        )
        .await;
    let answer = api.with_cookie("GET", "/auth/session", &cookie).await;
    let (_, value, attributes) = set_cookie(&answer);
    assert_ne!(format!("__Host-session={value}"), cookie);
    let cookie = format!("__Host-session={value}");
    assert!(attributes.contains(&"Max-Age=2592000".to_owned()), "{attributes:?}");
    let extended = "SELECT expires_at > now() + interval '29 days 23 hours' FROM sessions";
    testkit::eventually("the expiration is extended", async || {
        database.one::<bool>(extended).await
    })
    .await;
    let before = updates().await;
    database.execute("UPDATE sessions SET last_seen_at = now() + interval '1 hour'").await;
    for _ in 0..20 {
        let answer = api.with_cookie("GET", "/auth/session", &cookie).await;
        assert!(!answer.headers.contains_key("set-cookie"), "{answer:?}");
    }
    assert!((updates().await - before).abs() < f64::EPSILON);
    // The expiration never exceeds the absolute lifetime.
    database
        .execute("UPDATE sessions SET previous_until = now(), absolute_expires_at = now() + interval '10 days', expires_at = now() + interval '5 days', last_seen_at = now() - interval '2 minutes'")
        .await;
    let answer = api.with_cookie("GET", "/auth/session", &cookie).await;
    let attributes = set_cookie(&answer).2;
    let max_age =
        attributes.iter().find_map(|attribute| attribute.strip_prefix("Max-Age=")).unwrap();
    let left = "SELECT floor(extract(epoch FROM absolute_expires_at - clock_timestamp()))::bigint FROM sessions";
    assert!(
        (database.one(left).await..=864_000).contains(&max_age.parse::<i64>().unwrap()),
        "{max_age}"
    );
    testkit::eventually("the session expires with its absolute lifetime", async || {
        database.one::<bool>("SELECT expires_at = absolute_expires_at FROM sessions").await
    })
    .await;
}

#[tokio::test]
async fn last_seen_update_neither_revives_nor_fails_a_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("DATABASE_STATEMENT_TIMEOUT", "3s")]).await;
    let cookie = api.cookie_login(&Wallet::generate()).await;
    database
        .execute(
            "UPDATE sessions SET last_seen_at = now() - interval '2 minutes', expires_at = now() + interval '2 days'",
        )
        .await;
    // The lock blocks last-seen updates, but not reads.
    let mut holder = database.client().await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    assert_eq!(status(&api, &cookie).await, 200);
    testkit::eventually("the last-seen update was dropped and counted", async || {
        api.metric("auth_api_touches_dropped_total").await > 0.0
    })
    .await;
    assert_eq!(status(&api, &cookie).await, 200);
    // The next update waits for the lock, whose holder revokes the session.
    lock.batch_execute("UPDATE sessions SET revoked_at = now(), revoked_reason = 'admin'")
        .await
        .unwrap();
    lock.commit().await.unwrap();
    assert_eq!(status(&api, &cookie).await, 401);
    let mut api = api;
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    let unchanged = "SELECT revoked_at IS NOT NULL AND last_seen_at < now() - interval '90 seconds' AND expires_at < now() + interval '3 days' FROM sessions";
    assert!(database.one::<bool>(unchanged).await);
}

#[tokio::test]
async fn queued_last_seen_updates_are_written_at_shutdown() {
    let database = Database::create().await;
    let mut api = AuthApi::start(&database, &[]).await;
    let cookie = api.cookie_login(&Wallet::generate()).await;
    let before: String = database.one("SELECT clock_timestamp()::text").await;
    database.execute("UPDATE sessions SET last_seen_at = now() - interval '2 minutes'").await;
    let mut holder = database.client().await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE sessions IN EXCLUSIVE MODE").await.unwrap();
    assert_eq!(status(&api, &cookie).await, 200);
    api.program.signal("TERM");
    let _ = api.program.log_event("shutdown_started").await;
    lock.commit().await.unwrap();
    assert_eq!(api.program.wait().await.code(), Some(0));
    assert!(
        database.one::<bool>(&format!("SELECT last_seen_at >= '{before}' FROM sessions")).await
    );
}
