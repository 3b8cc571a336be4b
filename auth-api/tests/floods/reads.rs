use serde_json::json;
use testkit::{Answer, AuthApi, Database, Proxy, Service, Wallet, eventually};

use super::{events, field, is_limited_by, is_number, left};

/// An API with limits; those that are not named are out of reach.
async fn start(database: &Database, more: &[(&str, &str)]) -> AuthApi {
    let limits =
        ["RATE_LIMIT_IP", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_READ_IP", "RATE_LIMIT_READ_SESSION"];
    let roomy = limits.map(|name| (name, "1000/1h"));
    let env = [("RATE_LIMIT", "on"), ("TRUSTED_PROXIES", "127.0.0.1")];
    let env: Vec<_> = env.into_iter().chain(roomy).chain(more.iter().copied()).collect();
    AuthApi::start(database, &env).await
}

/// A request of a client with this address, with an access token.
async fn ask(api: &AuthApi, from: &str, method: &str, path: &str, token: &str) -> Answer {
    let request = api.client.request(method.parse().unwrap(), format!("{}{path}", api.url));
    api.send(request.header("X-Forwarded-For", from).bearer_auth(token)).await
}

/// An access token whose signature is not ours.
fn forged(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    format!("{signed}.{flipped}{}", &signature[1..])
}

/// Commands to Redis that counted a request.
async fn counted_in_redis(api: &AuthApi) -> f64 {
    api.metric("auth_api_redis_command_duration_seconds_count{command=\"limit\"}").await
}

#[tokio::test]
async fn bad_signatures_are_limited_by_network() {
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
    for (asked, (method, path)) in endpoints.into_iter().enumerate() {
        let answer = ask(&api, "2001:db8::1", method, path, &bad).await;
        answer.is_problem(401, "unauthenticated");
        assert_eq!(left(&answer)[0], ("ip", 3 - asked as u64), "{answer:?}");
    }
    // From now on no signature is verified, good or bad.
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
    // What is left of the session's quota would tell whoever has a copy of the token when it is
    // used.
    assert_eq!(left(&victim), [("ip", 3), ("ip-56", 11), ("ip-48", 251)]);
    is_number(counted_in_redis(&api).await, before);
}

#[tokio::test]
async fn a_session_is_limited_before_the_database_is_asked() {
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
    // From as many networks as one likes.
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
async fn people_do_not_reach_the_limits_on_reading_sessions() {
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
async fn introspection_without_credentials_is_limited_by_network() {
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
    // A client that proves who it is is not limited by its network, whatever it asks about.
    for token in [&tokens.access, &forged(&tokens.access)].into_iter().cycle().take(20) {
        let answer = api.introspect(&service, token).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["active"]),
            (200, &json!(token == &tokens.access))
        );
    }
    // Wrong secrets are guesses: all processes count them together.
    for status in [401, 401, 401, 429] {
        let wrong = api
            .client
            .post(format!("{}/oauth/introspect", api.url))
            .basic_auth(service.id, Some("wrong"));
        assert_eq!(api.send(wrong.form(&[("token", "x")])).await.status, status);
    }
    assert!(counted_in_redis(&api).await > before);
}

/// Sums of refusals of this kind, and how many refusals they are.
fn summed(api: &AuthApi, of: &str) -> u64 {
    let sums = events(api, "repeated");
    sums.iter().filter(|sum| sum["of"] == of).map(|sum| sum["times"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn repeated_refusals_are_summed_up_in_the_log() {
    let database = Database::create().await;
    let mut api = start(&database, &[("RATE_LIMIT_READ_IP", "40/1h")]).await;
    let tokens = api.login(&Wallet::generate()).await;
    for _ in 0..60 {
        let request =
            api.client.post(format!("{}/oauth/introspect", api.url)).form(&[("token", "x")]);
        let _ = api.send(request.header("X-Forwarded-For", "2001:db8::1")).await;
    }
    let logged = |api: &AuthApi, name: &str| events(api, name).len() as u64;
    // Each has a line of its own, or is in a sum that comes when its time is over.
    eventually("the refusals are summed up", async || {
        ["client_refused", "limit"]
            .map(|name| logged(&api, name) + summed(&api, name))
            .iter()
            .sum::<u64>()
            == 60
    })
    .await;
    let sum = &events(&api, "repeated")[0];
    assert_eq!(
        (&sum["who"], &sum["route"]),
        (&json!("2001:db8::/64"), &json!("/oauth/introspect"))
    );
    assert!(logged(&api, "client_refused") < 20 && logged(&api, "limit") < 10);

    // A process that stops logs what it has.
    let before = events(&api, "repeated").len();
    for _ in 0..30 {
        let _ = ask(&api, "203.0.113.1", "GET", "/auth/session", &forged(&tokens.access)).await;
    }
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    let refused = api.program.log_events("access_token_rejected").len() as u64;
    assert_eq!(refused + summed(&api, "credential_refused"), 30);
    assert!(refused < 15 && events(&api, "repeated").len() > before);
}
