//! Rate limits and their header fields, with several processes, with and without Redis.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{Answer, AuthApi, Database, Proxy, Redis, Wallet};

const ROOMY: &str = "1000/1h";

/// Starts an API with these limits. All other limits are too high to be reached.
async fn start(database: &Database, quotas: &[(&str, &str)]) -> AuthApi {
    let names =
        ["RATE_LIMIT_IP", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_REFRESH_IP", "RATE_LIMIT_SESSION"];
    let roomy = names.map(|name| (name, ROOMY));
    let env: Vec<_> =
        [("RATE_LIMIT", "on")].into_iter().chain(roomy).chain(quotas.iter().copied()).collect();
    AuthApi::start(database, &env).await
}

async fn challenge(api: &AuthApi, wallet: &Wallet) -> Answer {
    api.post("/auth/challenge", &json!({ "address": wallet.address() })).await
}

/// Requests a challenge through a proxy, as a client with this address.
async fn challenge_from(api: &AuthApi, address: &str) -> Answer {
    let body = json!({ "address": Wallet::generate().address() });
    let request =
        api.client.post(format!("{}/auth/challenge", api.url)).header("X-Forwarded-For", address);
    api.send(request.json(&body)).await
}

fn field<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.headers.get(name).unwrap_or_else(|| panic!("no {name}: {answer:?}")).to_str().unwrap()
}

/// Parses items such as `"ip";r=2;t=1200` into their names and numbers.
fn left(answer: &Answer) -> Vec<(String, u64, u64)> {
    let items = field(answer, "ratelimit").split(", ").map(|item| {
        let mut parts = item.split(';');
        let name = parts.next().unwrap().trim_matches('"').to_owned();
        let mut number =
            |prefix: &str| parts.next().unwrap().strip_prefix(prefix).unwrap().parse().unwrap();
        (name, number("r="), number("t="))
    });
    items.collect()
}

/// Asserts that a response has the status 429, because the quota of this policy is used up, and has
/// consistent header fields.
fn is_limited_by(answer: &Answer, policy: &str) {
    answer.is_problem(429, "rate_limited");
    let (name, requests, seconds) = left(answer).pop().unwrap();
    assert_eq!((name.as_str(), requests), (policy, 0), "{answer:?}");
    assert!(seconds >= 1, "{answer:?}");
    assert_eq!(field(answer, "retry-after"), seconds.to_string());
    assert_eq!(field(answer, "cache-control"), "no-store");
}

async fn refused(api: &AuthApi, route: &str, scope: &str) -> f64 {
    api.metric(&format!("auth_api_rate_limited_total{{route=\"{route}\",scope=\"{scope}\"}}")).await
}

#[tokio::test]
async fn every_response_shows_the_remaining_quota() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT_IP", "4/1h"), ("RATE_LIMIT_ADDRESS", "2/1h")]).await;
    let wallet = Wallet::generate();
    let first = challenge(&api, &wallet).await;
    assert_eq!(first.status, 200);
    assert_eq!(field(&first, "ratelimit-policy"), "\"ip\";q=4;w=3600");
    assert_eq!(field(&first, "ratelimit"), "\"ip\";r=3;t=900");
    assert!(!first.headers.contains_key("retry-after"));

    // Malformed requests count, too.
    let malformed = api.post("/auth/challenge", &json!({ "address": 7 })).await;
    malformed.is_problem(400, "malformed");
    assert_eq!(left(&malformed)[0].1, 2);
    for _ in 0..2 {
        assert_eq!(challenge(&api, &wallet).await.status, 200);
    }
    let fifth = challenge(&api, &wallet).await;
    is_limited_by(&fifth, "ip");
    assert_eq!(field(&fifth, "ratelimit-policy"), "\"ip\";q=4;w=3600");
    assert!((refused(&api, "/auth/challenge", "ip").await - 1.0).abs() < f64::EPSILON);

    // Each endpoint has its own count, and some endpoints have none.
    let message = first.body["message"].as_str().unwrap();
    let login = async || api.submit(message, &wallet.sign(message)).await;
    let (began, replayed, third) = (login().await, login().await, login().await);
    let policies = "\"ip\";q=4;w=3600, \"address\";q=2;w=3600";
    for answer in [&replayed, &third] {
        assert_eq!(field(answer, "ratelimit-policy"), policies);
    }
    // The first login created the account.
    assert_eq!(
        field(&began, "ratelimit-policy"),
        format!("{policies}, \"new-accounts\";q=500;w=3600")
    );
    let remaining = "\"ip\";r=3;t=900, \"address\";r=1;t=1800, \"new-accounts\";r=499;t=8";
    assert_eq!(field(&began, "ratelimit"), remaining);
    let requests: Vec<_> =
        left(&replayed).into_iter().map(|(name, requests, _)| (name, requests)).collect();
    assert_eq!(requests, [("ip".to_owned(), 2), ("address".to_owned(), 0)]);
    is_limited_by(&third, "address");
    assert!((refused(&api, "/auth/login", "address").await - 1.0).abs() < f64::EPSILON);
    api.refresh("rt_nonsense").await.is_problem(401, "refresh_refused");
    let keys = api.send(api.client.get(format!("{}/.well-known/jwks.json", api.url))).await;
    assert!(!keys.headers.contains_key("ratelimit"), "{keys:?}");
}

#[tokio::test]
async fn default_limits_exceed_normal_use() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("RATE_LIMIT", "on")]).await;
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let _ = api.submit(&message, &wallet.sign(&message)).await;
    let message = api.challenge(&wallet).await;
    let login = api.submit(&message, &wallet.sign(&message)).await;
    assert_eq!(field(&login, "ratelimit-policy"), "\"ip\";q=120;w=60, \"address\";q=240;w=60");
    let requests: Vec<_> =
        left(&login).into_iter().map(|(name, requests, _)| (name, requests)).collect();
    assert!(requests[0].1 >= 118 && requests[1].1 >= 238, "{login:?}");
    let refresh = api.refresh(&login.tokens().refresh).await;
    assert_eq!(field(&refresh, "ratelimit-policy"), "\"ip\";q=600;w=60, \"session\";q=30;w=60");
    assert_eq!(field(&refresh, "ratelimit"), "\"ip\";r=599;t=1, \"session\";r=29;t=2");
}

#[tokio::test]
async fn limits_can_be_turned_off() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT", "off"), ("RATE_LIMIT_IP", "1/1h")]).await;
    for _ in 0..20 {
        let answer = challenge(&api, &Wallet::generate()).await;
        assert_eq!(answer.status, 200);
        assert!(
            !answer.headers.contains_key("ratelimit")
                && !answer.headers.contains_key("ratelimit-policy")
        );
    }
}

#[tokio::test]
async fn processes_share_one_quota() {
    let database = Database::create().await;
    let redis = Redis::start();
    let url = redis.url();
    let env = [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "p"), ("RATE_LIMIT_IP", "4/1h")];
    let (one, other) = (start(&database, &env).await, start(&database, &env).await);
    for _ in 0..2 {
        for api in [&one, &other] {
            assert_eq!(challenge(api, &Wallet::generate()).await.status, 200);
        }
    }
    for api in [&one, &other] {
        is_limited_by(&challenge(api, &Wallet::generate()).await, "ip");
    }
}

#[tokio::test]
async fn quota_recovers_and_its_keys_expire() {
    let (database, redis) = (Database::create().await, Redis::start());
    let url = redis.url();
    let env = [("REDIS_URL", url.as_str()), ("REDIS_PREFIX", "p"), ("RATE_LIMIT_IP", "2/1h")];
    let api = start(&database, &env).await;
    let ask = async || challenge(&api, &Wallet::generate()).await;
    for _ in 0..2 {
        assert_eq!(ask().await.status, 200);
    }
    is_limited_by(&ask().await, "ip");

    let key = "{p}:limit:challenge:ip:127.0.0.1";
    let number = |answer: String| answer.trim_start_matches(':').trim().parse::<i64>().unwrap();
    assert!((1..=3_600_000).contains(&number(redis.command(&format!("PTTL {key}")))));
    // Half an hour passes. After this time, the limit allows one more request.
    let _ = redis.command(&format!("DECRBY {key} 1800000000"));
    assert_eq!(ask().await.status, 200);
    is_limited_by(&ask().await, "ip");

    // The clock of Redis was set back by a day: clients do not wait until it catches up.
    let _ = redis.command(&format!("INCRBY {key} 86400000000"));
    assert_eq!(ask().await.status, 200);

    assert!(redis.command("FLUSHALL").starts_with("+OK"));
    assert_eq!(left(&ask().await)[0].1, 1);
}

#[tokio::test]
async fn processes_count_separately_without_redis() {
    let (database, mut redis) = (Database::create().await, Redis::start());
    let url = redis.url();
    let api = start(
        &database,
        &[("REDIS_URL", &url), ("RATE_LIMIT_IP", "3/1h"), ("RATE_LIMIT_ADDRESS", "2/1h")],
    )
    .await;
    redis.kill();
    let wallet = Wallet::generate();
    let first = challenge(&api, &wallet).await;
    assert_eq!(field(&first, "ratelimit-policy"), "\"ip\";q=3;w=3600");
    assert_eq!(field(&first, "ratelimit"), "\"ip\";r=2;t=1200");
    let message = first.body["message"].as_str().unwrap();
    let login = async || api.submit(message, &wallet.sign(message)).await;
    let remaining = "\"ip\";r=2;t=1200, \"address\";r=1;t=1800, \"new-accounts\";r=499;t=8";
    assert_eq!(field(&login().await, "ratelimit"), remaining);
    login().await.is_problem(401, "login_refused");
    is_limited_by(&login().await, "address");
    is_limited_by(&login().await, "ip");

    redis.run();
    testkit::eventually("Redis counts again", async || login().await.status == 401).await;
}

#[tokio::test]
async fn ipv6_clients_are_counted_by_64_bit_network() {
    let database = Database::create().await;
    let api =
        start(&database, &[("TRUSTED_PROXIES", "127.0.0.1"), ("RATE_LIMIT_IP", "2/1h")]).await;
    for address in ["2001:db8::1", "2001:db8:0:0:ffff::2"] {
        assert_eq!(challenge_from(&api, address).await.status, 200, "{address}");
    }
    is_limited_by(&challenge_from(&api, "2001:db8::3").await, "ip");
    let another = challenge_from(&api, "2001:db8:0:1::1").await;
    let policies = "\"ip\";q=2;w=3600, \"ip-56\";q=8;w=3600, \"ip-48\";q=128;w=3600";
    assert_eq!((another.status.as_u16(), field(&another, "ratelimit-policy")), (200, policies));
    let requests: Vec<_> = left(&another).into_iter().map(|(_, requests, _)| requests).collect();
    assert_eq!(requests, [1, 5, 125], "the other networks do not count what the /64 rejected");
    for address in ["203.0.113.7", "::ffff:203.0.113.7"] {
        assert_eq!(challenge_from(&api, address).await.status, 200, "{address}");
    }
    is_limited_by(&challenge_from(&api, "203.0.113.7").await, "ip");
    assert_eq!(challenge_from(&api, "203.0.113.8").await.status, 200);
}

#[tokio::test]
async fn networks_of_one_ipv6_customer_share_a_quota() {
    let (database, redis) = (Database::create().await, Redis::start());
    let url = redis.url();
    let env = [
        ("REDIS_URL", url.as_str()),
        ("REDIS_PREFIX", "p"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("RATE_LIMIT_IP", "1/1h"),
    ];
    let api = start(&database, &env).await;
    for network in 0..4 {
        assert_eq!(challenge_from(&api, &format!("2001:db8:7:{network}::1")).await.status, 200);
    }
    is_limited_by(&challenge_from(&api, "2001:db8:7:4::1").await, "ip-56");
    let other = challenge_from(&api, "2001:db8:7:100::1").await;
    assert_eq!(other.status, 200);
    assert_eq!(left(&other)[2].1, 64 - 5, "the /48 does not count what the /56 rejected");
    // Simulates requests from 59 more networks of the /48. Each of these networks uses up its quota
    // for an hour.
    let shares = 59 * 3_600_000_000_u64 / 64;
    let _ = redis.command(&format!("INCRBY {{p}}:limit:challenge:ip-48:2001:db8:7::/48 {shares}"));
    is_limited_by(&challenge_from(&api, "2001:db8:7:200::1").await, "ip-48");
    assert!((refused(&api, "/auth/challenge", "ip").await - 2.0).abs() < f64::EPSILON);
    assert_eq!(challenge_from(&api, "2001:db8:8::1").await.status, 200);
}

#[tokio::test]
async fn forged_client_address_gets_no_extra_quota() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT_IP", "2/1h")]).await;
    for address in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!(challenge_from(&api, address).await.status, 200);
    }
    is_limited_by(&challenge_from(&api, "203.0.113.3").await, "ip");
}

#[tokio::test]
async fn wallet_quota_counts_only_valid_signatures() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT_ADDRESS", "2/1h")]).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let message = api.challenge(&wallet).await;
    for _ in 0..5 {
        let answer = api.submit(&message, &stranger.sign(&message)).await;
        answer.is_problem(401, "login_refused");
        assert_eq!(
            left(&answer).len(),
            1,
            "the remaining quota of a wallet is shown only to the wallet: {answer:?}"
        );
    }
    assert_eq!(api.submit(&message, &wallet.sign(&message)).await.status, 200);
    api.submit(&message, &wallet.sign(&message)).await.is_problem(401, "login_refused");
    is_limited_by(&api.submit(&message, &wallet.sign(&message)).await, "address");
    assert!((refused(&api, "/auth/login", "address").await - 1.0).abs() < f64::EPSILON);
    assert!(
        (api.metric("auth_api_logins_total{outcome=\"limited\"}").await - 1.0).abs() < f64::EPSILON
    );
    let events = api.program.log_events("limit");
    assert_eq!(
        (&events[0]["event"], &events[0]["wallet"]),
        (&json!("limit"), &json!(wallet.address()))
    );
    let _ = api.login(&stranger).await;
}

/// An attacker on three networks requests challenges for another wallet, and submits them with
/// invalid signatures.
#[tokio::test]
async fn wallet_cannot_be_locked_out_by_others() {
    let database = Database::create().await;
    let quotas = [
        ("TRUSTED_PROXIES", "127.0.0.1"),
        ("RATE_LIMIT_IP", "5/1h"),
        ("RATE_LIMIT_ADDRESS", "10/1h"),
    ];
    let api = start(&database, &quotas).await;
    let (wallet, stranger) = (Wallet::generate(), Wallet::generate());
    let from = async |network: &str, path: &str, body: &serde_json::Value| {
        let request =
            api.client.post(format!("{}{path}", api.url)).header("X-Forwarded-For", network);
        api.send(request.json(body)).await
    };
    let challenge_body = json!({ "address": wallet.address() });
    for network in ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1"] {
        for _ in 0..5 {
            let challenge = from(network, "/auth/challenge", &challenge_body).await;
            assert_eq!(challenge.status, 200);
            let message = challenge.body["message"].as_str().unwrap();
            let login = json!({ "message": message, "signature": stranger.sign(message) });
            from(network, "/auth/login", &login).await.is_problem(401, "login_refused");
        }
        is_limited_by(&from(network, "/auth/challenge", &challenge_body).await, "ip");
    }
    let challenge = from("203.0.113.7", "/auth/challenge", &challenge_body).await;
    assert_eq!(challenge.status, 200, "{challenge:?}");
    let message = challenge.body["message"].as_str().unwrap();
    let login = json!({ "message": message, "signature": wallet.sign(message) });
    let _ = from("203.0.113.7", "/auth/login", &login).await.tokens();
}

#[tokio::test]
async fn refreshes_are_limited_by_session_before_any_query() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_CHECKOUT_TIMEOUT", "3s"),
        ("RATE_LIMIT_SESSION", "2/1h"),
    ];
    let api = start(&database, &env).await;
    let (tokens, other) =
        (api.login(&Wallet::generate()).await, api.login(&Wallet::generate()).await);
    let second = api.refresh(&tokens.refresh).await.tokens();
    let third = api.refresh(&second.refresh).await.tokens();
    proxy.cut();
    is_limited_by(&api.refresh(&third.refresh).await, "session");
    api.refresh(&other.refresh).await.is_problem(503, "unavailable");
    assert!((refused(&api, "/auth/refresh", "address").await - 1.0).abs() < f64::EPSILON);
    assert!(
        (api.metric("auth_api_refreshes_total{outcome=\"limited\"}").await - 1.0).abs()
            < f64::EPSILON
    );
    // A forged token does not count against a session.
    let forged = api.refresh(&format!("{}x", &third.refresh[..third.refresh.len() - 1])).await;
    forged.is_problem(401, "refresh_refused");
    assert_eq!(left(&forged).len(), 1, "{forged:?}");
}
