//! POST /oauth/introspect (RFC 7662) and POST /oauth/revoke (RFC 7009), as other services use them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use testkit::{Answer, AuthApi, Database, Redis, Service, Wallet};

async fn start(database: &Database, more: &[(&str, &str)]) -> (AuthApi, Service) {
    let service = Service::add().await;
    let env: Vec<_> = [service.env()].iter().chain(more).copied().collect();
    (AuthApi::start(database, &env).await, service)
}

fn is_inactive(answer: &Answer) {
    assert_eq!(
        (answer.status.as_u16(), &answer.body),
        (200, &json!({ "active": false })),
        "{answer:?}"
    );
}

fn is_error(answer: &Answer, status: u16, error: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.body["error"], error, "{answer:?}");
    assert!(answer.body["error_description"].is_string(), "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

/// What the payload of an access token says.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap(),
    )
    .unwrap()
}

/// The session token inside a cookie.
fn session_token(cookie: &str) -> &str {
    cookie.split_once('=').unwrap().1
}

#[tokio::test]
async fn an_access_token_is_active_with_what_it_says() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let answer = api.introspect(&service, &tokens.access).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut expected = claims(&tokens.access);
    expected["active"] = true.into();
    expected["token_use"] = "access_token".into();
    expected["token_type"] = "Bearer".into();
    assert_eq!(answer.body, expected);
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn of_refresh_tokens_only_the_current_one_is_active_and_asking_uses_nothing_up() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[("REFRESH_REUSE_GRACE", "0s")]).await;
    let wallet = Wallet::generate();
    let first = api.login(&wallet).await;
    let answer = api.introspect(&service, &first.refresh).await;
    assert_eq!(
        (&answer.body["active"], &answer.body["token_use"]),
        (&json!(true), &json!("refresh_token"))
    );
    assert_eq!(answer.body["sid"], first.session_id);
    assert_eq!(answer.body["wallet"], wallet.address());
    assert_eq!(answer.body["sub"], claims(&first.access)["sub"]);
    assert_eq!(answer.body["iss"], AuthApi::PUBLIC_URL);
    assert!(answer.body["exp"].as_i64() > answer.body["iat"].as_i64(), "{answer:?}");
    assert!(answer.body.get("token_type").is_none(), "nobody is to take it for an access token");

    let second = api.refresh(&first.refresh).await.tokens();
    // A used-up one is no reuse when somebody asks about it: the session lives on.
    is_inactive(&api.introspect(&service, &first.refresh).await);
    assert_eq!(api.introspect(&service, &second.refresh).await.body["active"], true);
    assert_eq!(api.session(&second.access).await.status, 200);
}

#[tokio::test]
async fn a_session_token_is_active_and_asking_about_it_is_a_use_of_it() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let cookie = api.cookie_login(&Wallet::generate()).await;
    database.execute("UPDATE sessions SET last_seen_at = last_seen_at - interval '1 hour'").await;
    let answer = api.introspect(&service, session_token(&cookie)).await;
    assert_eq!(
        (&answer.body["active"], &answer.body["token_use"]),
        (&json!(true), &json!("session_token"))
    );
    let seen = "SELECT last_seen_at > now() - interval '10 minutes' FROM sessions";
    testkit::eventually("the use was noted", async || database.one::<bool>(seen).await).await;
    assert_eq!(api.with_cookie("POST", "/auth/logout", &cookie).await.status, 204);
    is_inactive(&api.introspect(&service, session_token(&cookie)).await);
}

#[tokio::test]
async fn what_is_not_good_is_inactive_and_nothing_else_is_said() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let cookie = api.cookie_login(&Wallet::generate()).await;
    let mut forged = tokens.access.clone();
    forged.replace_range(
        forged.len() - 10..forged.len() - 9,
        if forged.ends_with("AAAAAAAAAA") { "B" } else { "A" },
    );
    let none = format!(
        "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.{}.",
        tokens.access.split('.').nth(1).unwrap()
    );
    for token in [
        "x",
        "rt_",
        "ses_",
        "null",
        &format!("rt_{}", &tokens.refresh[4..]),
        &none,
        &"a".repeat(9000),
    ] {
        is_inactive(&api.introspect(&service, token).await);
    }
    if forged != tokens.access {
        is_inactive(&api.introspect(&service, &forged).await);
    }
    database
        .execute(
            "UPDATE sessions SET created_at = created_at - interval '60 days', expires_at = now()",
        )
        .await;
    is_inactive(&api.introspect(&service, &tokens.refresh).await);
    is_inactive(&api.introspect(&service, session_token(&cookie)).await);
}

#[tokio::test]
async fn a_revoked_session_is_inactive_at_the_next_request_of_every_replica() {
    let database = Database::create().await;
    let (one, service) = start(&database, &[]).await;
    let env = [("REDIS_PREFIX", one.redis_prefix.as_str()), service.env()];
    let other = AuthApi::start_with_keys(&database, one.copy_of_keys(), &env).await;
    for round in 0..20 {
        let (revoker, asked) =
            if round % 2 == 0 { (&one, [&one, &other]) } else { (&other, [&other, &one]) };
        let tokens = one.login(&Wallet::generate()).await;
        for api in asked {
            assert_eq!(api.introspect(&service, &tokens.access).await.body["active"], true);
        }
        let ended = match round % 4 {
            0 | 1 => revoker.logout(&tokens.access).await.status.as_u16(),
            2 => revoker.revoke(&service, &tokens.refresh).await.status.as_u16(),
            _ => revoker.revoke(&service, &tokens.access).await.status.as_u16(),
        };
        assert!([200, 204].contains(&ended), "{ended}");
        for api in asked {
            is_inactive(&api.introspect(&service, &tokens.access).await);
            is_inactive(&api.introspect(&service, &tokens.refresh).await);
        }
    }
}

#[tokio::test]
async fn introspection_goes_on_without_redis_and_fails_closed_without_both_stores() {
    let database = Database::create().await;
    let mut redis = Redis::start();
    let url = redis.url();
    let (proxy, through) = testkit::Proxy::before(&database.url_as("auth_api")).await;
    let env =
        [("REDIS_URL", &*url), ("DATABASE_URL", &through), ("DATABASE_CHECKOUT_TIMEOUT", "3s")];
    let (api, service) = start(&database, &env).await;
    let (good, bad) = (api.login(&Wallet::generate()).await, api.login(&Wallet::generate()).await);
    redis.kill();
    assert_eq!(api.logout(&bad.access).await.status, 204);
    assert_eq!(api.introspect(&service, &good.access).await.body["active"], true);
    is_inactive(&api.introspect(&service, &bad.access).await);
    proxy.cut();
    let answer = api.introspect(&service, &good.access).await;
    is_error(&answer, 503, "temporarily_unavailable");
    assert!(answer.headers.contains_key("retry-after"));
    is_error(&api.revoke(&service, &good.access).await, 503, "temporarily_unavailable");
}

#[tokio::test]
async fn revocation_ends_the_session_of_any_genuine_token_and_says_nothing_of_others() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[("REFRESH_REUSE_GRACE", "0s")]).await;
    let reason = async |id: &str| {
        let query = format!("SELECT coalesce(revoked_reason, '') FROM sessions WHERE id = '{id}'");
        database.one::<String>(&query).await
    };
    for kind in 0..3 {
        let old = api.login(&Wallet::generate()).await;
        let tokens = api.refresh(&old.refresh).await.tokens();
        let token = [&tokens.access, &tokens.refresh, &old.refresh][kind];
        for _ in 0..2 {
            let answer = api.revoke(&service, token).await;
            assert_eq!((answer.status.as_u16(), &answer.body), (200, &json!("")), "{answer:?}");
        }
        assert_eq!(reason(&tokens.session_id).await, "client");
        api.denies(&tokens.access).await;
        api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    }
    let cookie = api.cookie_login(&Wallet::generate()).await;
    assert_eq!(api.revoke(&service, session_token(&cookie)).await.status, 200);
    api.with_cookie("GET", "/auth/session", &cookie).await.is_problem(401, "unauthenticated");
    for token in ["x", "rt_AAAA", &"b".repeat(5000)] {
        let answer = api.revoke(&service, token).await;
        assert_eq!((answer.status.as_u16(), &answer.body), (200, &json!("")), "{answer:?}");
    }
    assert!(
        (api.metric("auth_api_sessions_revoked_total{reason=\"client\"}").await - 4.0).abs()
            < f64::EPSILON
    );
}

#[tokio::test]
async fn without_the_credentials_of_a_client_nothing_is_told_and_nothing_done() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let tokens = api.login(&Wallet::generate()).await;
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let request =
            || api.client.post(format!("{}{path}", api.url)).form(&[("token", &tokens.access)]);
        let unknown = ["nobody", "", "orders:", "a b", "%00", "orders\n"];
        let mut requests = vec![
            request(),
            request().bearer_auth(&tokens.access),
            request().header("Authorization", "Basic"),
            request().header("Authorization", "Basic !!!!"),
            request().header("Authorization", "Basic b3JkZXJz"),
            request().basic_auth(service.id, Some("wrong")),
            request().basic_auth(service.id, None::<&str>),
            request().basic_auth("ORDERS", Some(&service.secret)),
            request().basic_auth(service.id, Some(format!("{}=", service.secret))),
            request()
                .basic_auth(service.id, Some(&service.secret))
                .header("Authorization", "Basic eDp5"),
            // In the body, which is for clients that cannot do better (RFC 6749 §2.3.1).
            api.client.post(format!("{}{path}", api.url)).form(&[
                ("token", tokens.access.as_str()),
                ("client_id", service.id),
                ("client_secret", &service.secret),
            ]),
        ];
        requests.extend(unknown.map(|id| request().basic_auth(id, Some(&service.secret))));
        for request in requests {
            let answer = api.send(request).await;
            is_error(&answer, 401, "invalid_client");
            assert!(
                answer.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "),
                "{answer:?}"
            );
        }
    }
    assert_eq!(api.session(&tokens.access).await.status, 200);
    assert!(!api.program.stderr().contains(&service.secret), "a secret stands in the log");
}

#[tokio::test]
async fn a_request_that_is_none_is_invalid() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let request = || {
            api.client
                .post(format!("{}{path}", api.url))
                .basic_auth(service.id, Some(&service.secret))
        };
        let form = |body: String| {
            request().header("Content-Type", "application/x-www-form-urlencoded").body(body)
        };
        for wrong in [
            request(),
            form(String::new()),
            form("token=".into()),
            form("Token=x".into()),
            form(format!("token={token}&token={token}")),
            form(format!("token={token}&token_type_hint=a&token_type_hint=a")),
            form(format!("token={token}{}", "&a=".repeat(100))),
            request().json(&json!({ "token": token })),
            request().header("Content-Type", "text/plain").body(format!("token={token}")),
            request()
                .header("Content-Type", "application/x-www-form-urlencoded")
                .header("Content-Encoding", "gzip")
                .body(format!("token={token}")),
        ] {
            is_error(&api.send(wrong).await, 400, "invalid_request");
        }
        is_error(
            &api.send(form(format!("token={}", "x".repeat(20_000)))).await,
            413,
            "invalid_request",
        );
        api.send(api.client.get(format!("{}{path}", api.url)))
            .await
            .is_problem(405, "method_not_allowed");
    }
    // What a standard adds, and what it does not know of, changes nothing.
    for more in
        ["&token_type_hint=refresh_token", "&token_type_hint=nonsense", "&resource=x", "&empty="]
    {
        let body = format!("token={token}{more}");
        let request = api.client.post(format!("{}/oauth/introspect", api.url));
        let request = request.basic_auth(service.id, Some(&service.secret));
        let request = request
            .header("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
            .body(body);
        assert_eq!(api.send(request).await.body["active"], true, "{more}");
    }
}

#[tokio::test]
async fn wrong_secrets_are_limited_and_a_client_is_not() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[("RATE_LIMIT", "on"), ("RATE_LIMIT_IP", "3/1h")]).await;
    let token = api.login(&Wallet::generate()).await.access;
    assert_eq!(api.introspect(&service, &token).await.body["active"], true);
    for _ in 0..3 {
        let request = api
            .client
            .post(format!("{}/oauth/introspect", api.url))
            .basic_auth("orders", Some("wrong"));
        is_error(&api.send(request.form(&[("token", &token)])).await, 401, "invalid_client");
    }
    let request = api
        .client
        .post(format!("{}/oauth/introspect", api.url))
        .basic_auth("orders", Some("wrong"));
    let answer = api.send(request.form(&[("token", &token)])).await;
    is_error(&answer, 429, "temporarily_unavailable");
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    for _ in 0..10 {
        assert_eq!(api.introspect(&service, &token).await.body["active"], true);
    }
}

#[tokio::test]
async fn many_requests_of_a_client_with_an_old_hash_are_one_hash() {
    let database = Database::create().await;
    let service = Service::of_an_earlier_release();
    let api = AuthApi::start(
        &database,
        &[service.env(), ("RATE_LIMIT", "on"), ("RATE_LIMIT_IP", "3/1h")],
    )
    .await;
    assert!(api.program.stderr().contains("\"old_client_hashes\""), "{}", api.program.stderr());
    let token = api.login(&Wallet::generate()).await.access;
    // A request waits a second for its turn, in which a slow machine may not have computed the
    // first hash: 503, and it asks again. What the limit counts are hashes: another few would
    // be 429.
    let asked = (0..60).map(async |_| {
        loop {
            let answer = api.introspect(&service, &token).await;
            if answer.status != 503 {
                break answer;
            }
        }
    });
    for answer in futures_util::future::join_all(asked).await {
        assert_eq!(
            (answer.status.as_u16(), &answer.body["active"]),
            (200, &json!(true)),
            "{answer:?}"
        );
    }
}

/// KiB of memory that a process has had at most (proc(5)).
fn peak_memory(api: &AuthApi) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", api.program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn wrong_secrets_take_the_memory_of_one_hash() {
    let database = Database::create().await;
    let service = Service::of_an_earlier_release();
    let api = AuthApi::start(&database, &[service.env()]).await;
    let token = api.login(&Wallet::generate()).await.access;
    assert_eq!(api.introspect(&service, &token).await.body["active"], true);
    let before = peak_memory(&api);
    // 503: its turn did not come within a second.
    let asked = (0..120).map(async |number| {
        let request = api.client.post(format!("{}/oauth/introspect", api.url));
        let request = request
            .basic_auth(service.id, Some(format!("wrong {number}")))
            .form(&[("token", &token)]);
        assert!([401, 503].contains(&api.send(request).await.status.as_u16()));
    });
    futures_util::future::join_all(asked).await;
    let more = peak_memory(&api) - before;
    assert!(more < 64 * 1024, "{more} KiB");
}

#[tokio::test]
async fn wrong_secrets_keep_nobody_waiting() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    // No queue: all are answered for what they are.
    let asked = (0..200).map(async |number| {
        let request = api.client.post(format!("{}/oauth/introspect", api.url));
        let request = request
            .basic_auth(service.id, Some(format!("wrong {number}")))
            .form(&[("token", &token)]);
        is_error(&api.send(request).await, 401, "invalid_client");
        assert_eq!(api.introspect(&service, &token).await.body["active"], true);
    });
    futures_util::future::join_all(asked).await;
}

#[tokio::test]
async fn an_access_token_ends_with_its_session() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[("SESSION_TTL", "2m")]).await;
    let login = api.try_login(&Wallet::generate()).await;
    let refreshed = api.refresh(&login.tokens().refresh).await;
    for answer in [&login, &refreshed] {
        assert!((1..=120).contains(&answer.body["expires_in"].as_i64().unwrap()), "{answer:?}");
    }
    let said = api.introspect(&service, &refreshed.tokens().access).await.body;
    let left = said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap();
    assert_eq!(Some(left), refreshed.body["expires_in"].as_i64());
}

#[tokio::test]
async fn the_metadata_names_what_there_is() {
    let database = Database::create().await;
    let api =
        AuthApi::start(&database, &[("PUBLIC_URL", "https://auth.example.test/wallets/")]).await;
    let url = format!("{}/.well-known/oauth-authorization-server", api.url);
    let answer = api.send(api.client.get(url)).await;
    assert_eq!(answer.headers["cache-control"], "public, max-age=3600");
    let at = |path: &str| format!("https://auth.example.test/wallets{path}");
    let basic = json!(["client_secret_basic"]);
    assert_eq!(
        answer.body,
        json!({
            "issuer": at("/"),
            "jwks_uri": at("/.well-known/jwks.json"),
            "introspection_endpoint": at("/oauth/introspect"),
            "introspection_endpoint_auth_methods_supported": basic,
            "revocation_endpoint": at("/oauth/revoke"),
            "revocation_endpoint_auth_methods_supported": basic,
            "response_types_supported": [],
            "grant_types_supported": [],
            "service_documentation": at("/docs"),
        })
    );
}

/// RFC 8414 §3.1: the path of an issuer follows the well-known path.
#[tokio::test]
async fn the_metadata_is_where_the_issuers_path_puts_it() {
    const WELL_KNOWN: &str = "/.well-known/oauth-authorization-server";
    let database = Database::create().await;
    let plain = ("https://auth.example.test", "https://auth.example.test", "");
    for (public_url, issuer, path) in [
        plain,
        ("https://auth.example.test/", "https://auth.example.test/", ""),
        ("https://auth.example.test/wallets", "https://auth.example.test/wallets", "/wallets"),
        ("https://auth.example.test/wallets/", "https://auth.example.test/wallets/", "/wallets"),
        ("https://auth.example.test", "https://issuer.example.test/a/{b}.c", "/a/%7Bb%7D.c"),
    ] {
        let api =
            AuthApi::start(&database, &[("PUBLIC_URL", public_url), ("ISSUER", issuer)]).await;
        let get = async |path: &str| api.send(api.client.get(format!("{}{path}", api.url))).await;
        // A proxy that maps the issuer's path to auth-api passes on what follows it.
        for place in [WELL_KNOWN.to_owned(), format!("{WELL_KNOWN}{path}")] {
            let answer = get(&place).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body["issuer"]),
                (200, &json!(issuer)),
                "{place}"
            );
            assert_eq!(answer.headers["cache-control"], "public, max-age=3600");
            let head = api.send(api.client.head(format!("{}{place}", api.url))).await;
            assert_eq!((head.status.as_u16(), head.body.as_str()), (200, Some("")), "{place}");
            let post = api.send(api.client.post(format!("{}{place}", api.url))).await;
            post.is_problem(405, "method_not_allowed");
            assert_eq!(post.headers["allow"], "GET, HEAD");
        }
        for other in ["/other", "/wallets/more", "/a/xbx.c", "/a", "/"] {
            get(&format!("{WELL_KNOWN}{other}")).await.is_problem(404, "not_found");
        }
        let count = format!(
            "auth_api_http_request_duration_seconds_count{{method=\"GET\",route=\"{WELL_KNOWN}\",status=\"200\"}}"
        );
        assert!(
            (api.metric(&count).await - 2.0).abs() < f64::EPSILON,
            "a path of the configuration is no label"
        );
    }
}
