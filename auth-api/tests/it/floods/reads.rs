use serde_json::json;
use testkit::{Answer, AuthApi, Database, Proxy, Service, Wallet, eventually};

use super::{field, is_limited_by, is_number, left};

/// Starts an API with these limits. All other limits are too high to be reached.
async fn start(database: &Database, more: &[(&str, &str)]) -> AuthApi {
    let limits =
        ["RATE_LIMIT_IP", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_READ_IP", "RATE_LIMIT_READ_SESSION"];
    let roomy = limits.map(|name| (name, "1000/1h"));
    let env = [("RATE_LIMIT", "on"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let env: Vec<_> = env.into_iter().chain(roomy).chain(more.iter().copied()).collect();
    AuthApi::start(database, &env).await
}

/// Sends a request with an access token, as a client with this address.
async fn ask(api: &AuthApi, from: &str, method: &str, path: &str, token: &str) -> Answer {
    let request = api.client.request(method.parse().unwrap(), format!("{}{path}", api.url));
    api.send(request.header("X-Forwarded-For", from).bearer_auth(token)).await
}

/// Returns the access token with an invalid signature.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{flipped}{}", &signature[1..])
}

/// Returns the number of Redis commands that counted a request.
async fn counted_in_redis(api: &AuthApi) -> f64 {
    api.metric("auth_api_redis_command_duration_seconds_count{command=\"limit\"}").await
}

#[tokio::test]
async fn invalid_signatures_are_limited_by_network() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT_READ_IP", "4/1h")]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let bad = forged(&tokens.access);
    let before = counted_in_redis(&api).await;
    let endpoints = [
        ("GET", "/auth/session"),
        ("GET", "/auth/sessions"),
        ("POST", "/auth/logout"),
        ("DELETE", "/auth/sessions/0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"),
    ];
    for (index, (method, path)) in endpoints.into_iter().enumerate() {
        let answer = ask(&api, "2001:db8::1", method, path, &bad).await;
        answer.is_problem(401, "unauthenticated");
        assert_eq!(left(&answer)[0], ("ip", 3 - index as u64), "{answer:?}");
    }
    // From now on, no signature is verified, whether valid or not.
    for (method, path) in endpoints.into_iter().chain([("DELETE", "/auth/sessions")]) {
        is_limited_by(&ask(&api, "2001:db8::2", method, path, &bad).await, "ip");
        is_limited_by(&ask(&api, "2001:db8::3", method, path, &tokens.access).await, "ip");
        let refused = format!(
            "auth_api_rate_limited_total{{route=\"{}\",scope=\"ip\"}}",
            path.replace("0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e", "{id}")
        );
        assert!(api.metric(&refused).await >= 2.0, "{refused}");
    }
    let victim = ask(&api, "2001:db8:0:1::1", "GET", "/auth/session", &tokens.access).await;
    assert_eq!(victim.status, 200, "{victim:?}");
    let policies = "\"ip\";q=4;w=3600, \"ip-56\";q=16;w=3600, \"ip-48\";q=256;w=3600, \"session\";q=1000;w=3600";
    assert_eq!(field(&victim, "ratelimit-policy"), policies);
    // The remaining quota of the session is hidden, because it would reveal the use of the session
    // to anyone with a copy of the token.
    assert_eq!(left(&victim), [("ip", 3), ("ip-56", 11), ("ip-48", 251)]);
    is_number(counted_in_redis(&api).await, before);
}

#[tokio::test]
async fn session_is_limited_before_any_query() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_CHECKOUT_TIMEOUT", "3s"),
        ("RATE_LIMIT_READ_SESSION", "3/1h"),
    ];
    let api = start(&database, &env).await;
    let (tokens, other) =
        (api.login(&Wallet::generate()).await, api.login(&Wallet::generate()).await);
    let cookie = api.cookie_login(&Wallet::generate()).await;
    // The number of networks does not matter.
    for (number, path) in
        ["/auth/session", "/auth/sessions", "/auth/sessions?limit=1"].into_iter().enumerate()
    {
        let from = format!("203.0.113.{number}");
        assert_eq!(ask(&api, &from, "GET", path, &tokens.access).await.status, 200);
        assert_eq!(api.with_cookie("GET", path, &cookie).await.status, 200);
    }
    proxy.cut();
    for (method, path) in
        [("GET", "/auth/session"), ("GET", "/auth/sessions"), ("POST", "/auth/logout")]
    {
        is_limited_by(&ask(&api, "203.0.113.9", method, path, &tokens.access).await, "session");
        is_limited_by(&api.with_cookie(method, path, &cookie).await, "session");
    }
    let logout = api.post("/auth/logout", &json!({ "refresh_token": tokens.refresh })).await;
    is_limited_by(&logout, "session");
    ask(&api, "203.0.113.9", "GET", "/auth/session", &other.access)
        .await
        .is_problem(503, "unavailable");
    is_number(
        api.metric("auth_api_rate_limited_total{route=\"/auth/logout\",scope=\"address\"}").await,
        3.0,
    );
    proxy.restore();
}

#[tokio::test]
async fn default_read_limits_exceed_normal_use() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("RATE_LIMIT", "on")]).await;
    let tokens = api.login(&Wallet::generate()).await;
    let answer = api.session(&tokens.access).await;
    assert_eq!(field(&answer, "ratelimit-policy"), "\"ip\";q=6000;w=60, \"session\";q=600;w=60");
    assert_eq!(left(&answer), [("ip", 5999)]);
    assert_eq!(api.logout(&tokens.access).await.status, 204);

    let unlimited = AuthApi::start(&database, &[("RATE_LIMIT_READ_IP", "1/1h")]).await;
    for _ in 0..3 {
        assert!(!unlimited.session("nonsense").await.headers.contains_key("ratelimit"));
    }
}

#[tokio::test]
async fn unauthenticated_introspection_is_limited_by_network() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = start(
        &database,
        &[("RATE_LIMIT_READ_IP", "2/1h"), ("RATE_LIMIT_IP", "3/1h"), service.env()],
    )
    .await;
    let tokens = api.login(&Wallet::generate()).await;
    let before = counted_in_redis(&api).await;
    let bare = async |path: &str| {
        api.send(api.client.post(format!("{}{path}", api.url)).form(&[("token", "x")])).await
    };
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let answer = bare(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["error"]),
            (401, &json!("invalid_client"))
        );
        assert_eq!(left(&answer)[0].0, "ip");
    }
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        let answer = bare(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["error"]),
            (429, &json!("temporarily_unavailable"))
        );
        assert_eq!(left(&answer), [("ip", 0)]);
        assert!(answer.headers.contains_key("retry-after"));
    }
    is_number(counted_in_redis(&api).await, before);
    // The quota of the network does not apply to an authenticated client, whatever token the client
    // sends.
    for token in [&tokens.access, &forged(&tokens.access)].into_iter().cycle().take(20) {
        let answer = api.introspect(&service, token).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["active"]),
            (200, &json!(token == &tokens.access))
        );
    }
    // Wrong secrets are guesses, which all processes count together.
    for status in [401, 401, 401, 429] {
        let wrong = api
            .client
            .post(format!("{}/oauth/introspect", api.url))
            .basic_auth(service.id, Some("wrong"));
        assert_eq!(api.send(wrong.form(&[("token", "x")])).await.status, status);
    }
    assert!(counted_in_redis(&api).await > before);
}

/// Returns the number of rejections of this kind that the log summarizes.
fn summed(api: &AuthApi, of: &str) -> u64 {
    let sums = api.program.log_events("repeated");
    sums.iter().filter(|sum| sum["of"] == of).map(|sum| sum["times"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn repeated_rejections_are_summarized_in_the_log() {
    let database = Database::create().await;
    let mut api = start(&database, &[("RATE_LIMIT_READ_IP", "40/1h")]).await;
    let tokens = api.login(&Wallet::generate()).await;
    for _ in 0..60 {
        let request =
            api.client.post(format!("{}/oauth/introspect", api.url)).form(&[("token", "x")]);
        let _ = api.send(request.header("X-Forwarded-For", "2001:db8::1")).await;
    }
    let logged = |api: &AuthApi, name: &str| api.program.log_events(name).len() as u64;
    // Each rejection has its own line, or is part of a summary that follows later.
    eventually("the rejections are summarized", async || {
        ["client_refused", "limit"]
            .map(|name| logged(&api, name) + summed(&api, name))
            .iter()
            .sum::<u64>()
            == 60
    })
    .await;
    let sum = &api.program.log_events("repeated")[0];
    assert_eq!(
        (&sum["who"], &sum["route"]),
        (&json!("2001:db8::/64"), &json!("/oauth/introspect"))
    );
    assert!(logged(&api, "client_refused") < 20 && logged(&api, "limit") < 10);

    // A process logs its pending summaries at shutdown.
    let before = api.program.log_events("repeated").len();
    for _ in 0..30 {
        let _ = ask(&api, "203.0.113.1", "GET", "/auth/session", &forged(&tokens.access)).await;
    }
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    let refused = api.program.log_events("access_token_rejected").len() as u64;
    assert_eq!(refused + summed(&api, "credential_refused"), 30);
    assert!(refused < 15 && api.program.log_events("repeated").len() > before);
}
