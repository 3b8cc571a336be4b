//! POST /oauth/introspect (RFC 7662) and POST /oauth/revoke (RFC 7009), as used by other services.
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

/// Returns the claims of an access token.
fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap(),
    )
    .unwrap()
}

/// Returns the session token of a cookie.
fn session_token(cookie: &str) -> &str {
    cookie.split_once('=').unwrap().1
}

#[tokio::test]
async fn active_access_token_returns_its_claims() {
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
async fn only_the_current_refresh_token_is_active() {
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
    assert!(answer.body.get("token_type").is_none(), "a refresh token has no token_type");

    let second = api.refresh(&first.refresh).await.tokens();
    // Introspection of a used token is not reuse: the session stays live.
    is_inactive(&api.introspect(&service, &first.refresh).await);
    assert_eq!(api.introspect(&service, &second.refresh).await.body["active"], true);
    assert_eq!(api.session(&second.access).await.status, 200);
}

#[tokio::test]
async fn introspection_counts_as_use_of_a_session_token() {
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
    testkit::eventually("the last-seen time was updated", async || {
        database.one::<bool>(seen).await
    })
    .await;
    assert_eq!(api.with_cookie("POST", "/auth/logout", &cookie).await.status, 204);
    is_inactive(&api.introspect(&service, session_token(&cookie)).await);
}

#[tokio::test]
async fn invalid_token_is_inactive_without_details() {
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
async fn revoked_session_is_inactive_at_once_on_every_replica() {
    let database = Database::create().await;
    let (one, service) = start(&database, &[]).await;
    let env = [("REDIS_PREFIX", one.redis_prefix.as_str()), service.env()];
    let other = AuthApi::start_with_keys(&database, one.copy_of_keys(), &env).await;
    for round in 0..20 {
        let (revoker, replicas) =
            if round % 2 == 0 { (&one, [&one, &other]) } else { (&other, [&other, &one]) };
        let tokens = one.login(&Wallet::generate()).await;
        for api in replicas {
            assert_eq!(api.introspect(&service, &tokens.access).await.body["active"], true);
        }
        let ended = match round % 4 {
            0 | 1 => revoker.logout(&tokens.access).await.status.as_u16(),
            2 => revoker.revoke(&service, &tokens.refresh).await.status.as_u16(),
            _ => revoker.revoke(&service, &tokens.access).await.status.as_u16(),
        };
        assert!([200, 204].contains(&ended), "{ended}");
        for api in replicas {
            is_inactive(&api.introspect(&service, &tokens.access).await);
            is_inactive(&api.introspect(&service, &tokens.refresh).await);
        }
    }
}

#[tokio::test]
async fn introspection_works_without_redis_and_fails_closed() {
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
async fn revocation_ends_only_the_sessions_of_genuine_tokens() {
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
async fn requests_without_client_credentials_are_401() {
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
            // Credentials in the body (RFC 6749 §2.3.1) are not accepted.
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
    assert!(!api.program.stderr().contains(&service.secret), "the log contains a secret");
}

#[tokio::test]
async fn malformed_request_is_invalid_request() {
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
    // Standard parameters and unknown ones do not change the result.
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
async fn only_wrong_client_secrets_are_rate_limited() {
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
async fn old_client_hash_is_computed_once_for_many_requests() {
    let database = Database::create().await;
    let service = Service::of_an_earlier_release();
    let api = AuthApi::start(
        &database,
        &[service.env(), ("RATE_LIMIT", "on"), ("RATE_LIMIT_IP", "3/1h")],
    )
    .await;
    assert!(api.program.stderr().contains("\"old_client_hashes\""), "{}", api.program.stderr());
    let token = api.login(&Wallet::generate()).await.access;
    // A request waits up to a second for its turn. If a slow machine has not computed the first
    // hash by then, the response is 503 and the request is repeated. The limit counts hashes: a few
    // more hashes would cause a 429.
    let requests = (0..60).map(async |_| {
        loop {
            let answer = api.introspect(&service, &token).await;
            if answer.status != 503 {
                break answer;
            }
        }
    });
    for answer in futures_util::future::join_all(requests).await {
        assert_eq!(
            (answer.status.as_u16(), &answer.body["active"]),
            (200, &json!(true)),
            "{answer:?}"
        );
    }
}

/// Returns the peak memory of the process in KiB (proc(5)).
fn peak_memory(api: &AuthApi) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", api.program.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

#[tokio::test]
async fn wrong_secrets_use_the_memory_of_one_hash() {
    let database = Database::create().await;
    let service = Service::of_an_earlier_release();
    let api = AuthApi::start(&database, &[service.env()]).await;
    let token = api.login(&Wallet::generate()).await.access;
    assert_eq!(api.introspect(&service, &token).await.body["active"], true);
    let before = peak_memory(&api);
    // 503 means that the request did not get its turn within a second.
    let requests = (0..120).map(async |number| {
        let request = api.client.post(format!("{}/oauth/introspect", api.url));
        let request = request
            .basic_auth(service.id, Some(format!("wrong {number}")))
            .form(&[("token", &token)]);
        assert!([401, 503].contains(&api.send(request).await.status.as_u16()));
    });
    futures_util::future::join_all(requests).await;
    let more = peak_memory(&api) - before;
    assert!(more < 64 * 1024, "{more} KiB");
}

#[tokio::test]
async fn wrong_secrets_do_not_delay_other_requests() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[]).await;
    let token = api.login(&Wallet::generate()).await.access;
    // There is no queue: each request gets its own result.
    let requests = (0..200).map(async |number| {
        let request = api.client.post(format!("{}/oauth/introspect", api.url));
        let request = request
            .basic_auth(service.id, Some(format!("wrong {number}")))
            .form(&[("token", &token)]);
        is_error(&api.send(request).await, 401, "invalid_client");
        assert_eq!(api.introspect(&service, &token).await.body["active"], true);
    });
    futures_util::future::join_all(requests).await;
}

#[tokio::test]
async fn access_token_expires_with_its_session() {
    let database = Database::create().await;
    let (api, service) = start(&database, &[("SESSION_TTL", "2m")]).await;
    let login = api.try_login(&Wallet::generate()).await;
    let refreshed = api.refresh(&login.tokens().refresh).await;
    for answer in [&login, &refreshed] {
        assert!((1..=120).contains(&answer.body["expires_in"].as_i64().unwrap()), "{answer:?}");
    }
    let body = api.introspect(&service, &refreshed.tokens().access).await.body;
    let left = body["exp"].as_i64().unwrap() - body["iat"].as_i64().unwrap();
    assert_eq!(Some(left), refreshed.body["expires_in"].as_i64());
}

#[tokio::test]
async fn metadata_lists_the_supported_endpoints() {
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
async fn metadata_path_includes_the_issuer_path() {
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
        // A proxy that maps the issuer path to auth-api forwards only the rest of the path.
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
            "a configured path is not a label"
        );
    }
}
