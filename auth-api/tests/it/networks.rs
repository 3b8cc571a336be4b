//! A thief with a copy of a refresh token, and the legitimate client, on two networks. The tests
//! check what the thief can observe of the client's refreshes, and how retries from another network
//! count.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};
use testkit::{Answer, AuthApi, Database, HANG, Proxy, Service, Tokens, Wallet};

const HOME: &str = "203.0.113.7";
const ELSEWHERE: &str = "198.51.100.9";
const KEY: &str = "c1a2b3d4e5f60718293a";

/// Starts an API behind a proxy that forwards the addresses of its clients.
async fn start(database: &Database, more: &[(&str, &str)]) -> AuthApi {
    let env: Vec<_> =
        [("TRUSTED_PROXIES", "127.0.0.0/8")].into_iter().chain(more.iter().copied()).collect();
    AuthApi::start(database, &env).await
}

async fn login_from(api: &AuthApi, network: &str) -> Tokens {
    let wallet = Wallet::generate();
    let message = api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) });
    let request =
        api.client.post(format!("{}/auth/login", api.url)).header("X-Forwarded-For", network);
    api.send(request.json(&body)).await.tokens()
}

async fn refresh_with(
    api: &AuthApi,
    network: &str,
    key: Option<&str>,
    refresh_token: &str,
) -> Answer {
    let request =
        api.client.post(format!("{}/auth/refresh", api.url)).header("X-Forwarded-For", network);
    let request =
        key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
    api.send(request.json(&json!({ "refresh_token": refresh_token }))).await
}

async fn refresh_from(api: &AuthApi, network: &str, refresh_token: &str) -> Answer {
    refresh_with(api, network, None, refresh_token).await
}

/// Moves the last rotation back in time, but not the rotation before it. Without this, a request
/// could appear to arrive before the rotation, and it would not count: arrival times are accurate
/// only to a few milliseconds.
async fn rotated_earlier(database: &Database, by: &str) {
    database
        .execute(&format!("UPDATE token_families SET rotated_at = rotated_at - interval '{by}'"))
        .await;
}

async fn rotate(api: &AuthApi, database: &Database, network: &str, current: &Tokens) -> Tokens {
    let next = refresh_from(api, network, &current.refresh).await.tokens();
    rotated_earlier(database, "1 second").await;
    next
}

/// Refreshes the tokens, and retries from another network. Asserts that the retry returns the same
/// refresh token.
async fn rotate_and_retry(
    api: &AuthApi,
    database: &Database,
    from: &str,
    retried_from: &str,
    current: &Tokens,
) -> Tokens {
    let next = rotate(api, database, from, current).await;
    let retried = refresh_from(api, retried_from, &current.refresh).await.tokens();
    assert_eq!(retried.refresh, next.refresh, "rotated from {from}, retried from {retried_from}");
    next
}

/// Asserts how many refresh tokens have been retried from another network.
async fn counted(api: &AuthApi, generations: f64) {
    let counted = api.metric("auth_api_foreign_generations_total").await;
    assert!(
        (counted - generations).abs() < f64::EPSILON,
        "{counted} generations, not {generations}"
    );
}

async fn revoked_reason(database: &Database) -> Option<String> {
    database.one("SELECT revoked_reason FROM sessions").await
}

/// Returns everything about the session that can be read with these tokens and with the credentials
/// of a service.
async fn view(api: &AuthApi, service: &Service, tokens: &Tokens) -> Vec<Value> {
    let session = api.session(&tokens.access).await;
    let list = api.with_token("GET", "/auth/sessions", &tokens.access).await;
    assert_eq!((session.status.as_u16(), list.status.as_u16()), (200, 200));
    let introspections =
        [&tokens.access, &tokens.refresh].map(|token| api.introspect(service, token));
    let [access, refresh] = introspections;
    vec![session.body, list.body, access.await.body, refresh.await.body]
}

#[tokio::test]
async fn rotation_is_hidden_while_the_old_token_can_be_retried() {
    let database = Database::create().await;
    let service = Service::add().await;
    let api = start(&database, &[service.env()]).await;
    let mut current = login_from(&api, HOME).await;
    for rotation in 1..=6 {
        // Makes each rotation extend the expiration of the session.
        database.execute("UPDATE sessions SET expires_at = expires_at - interval '2 days'").await;
        let stolen = current.clone();
        let before = view(&api, &service, &stolen).await;
        current = refresh_from(&api, HOME, &stolen.refresh).await.tokens();
        assert_eq!(
            view(&api, &service, &stolen).await,
            before,
            "rotation {rotation} is visible at once"
        );
        rotated_earlier(&database, "6 minutes").await;
        assert_eq!(
            view(&api, &service, &stolen).await,
            before,
            "rotation {rotation} is visible before twice the grace period"
        );
        rotated_earlier(&database, "5 minutes").await;
        let [session, list, access, refresh] =
            view(&api, &service, &stolen).await.try_into().unwrap();
        assert_ne!(session["session"]["last_seen_at"], before[0]["session"]["last_seen_at"]);
        assert_ne!(session["session"]["expires_at"], before[0]["session"]["expires_at"]);
        assert_eq!(list["sessions"][0], session["session"]);
        assert_eq!((access, refresh), (before[2].clone(), json!({ "active": false })));
    }
    // By then, the old token counts as reuse.
    let stolen = current.clone();
    current = refresh_from(&api, HOME, &stolen.refresh).await.tokens();
    database.age_rotations("10 minutes").await;
    refresh_from(&api, ELSEWHERE, &stolen.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
    api.denies(&current.access).await;
}

#[tokio::test]
async fn operators_see_a_rotation_at_once() {
    let database = Database::create().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "operators-token-of-thirty-two-characters").unwrap();
    let api = start(&database, &[("ADMIN_TOKEN_FILE", file.path().to_str().unwrap())]).await;
    let tokens = login_from(&api, HOME).await;
    let list = async || {
        let request = api.client.get(api.admin("/admin/sessions?order=activity"));
        let answer =
            api.send(request.bearer_auth("operators-token-of-thirty-two-characters")).await;
        answer.body["sessions"][0]["last_seen_at"].clone()
    };
    let before = list().await;
    assert!(before.is_string());
    let next = refresh_from(&api, HOME, &tokens.refresh).await.tokens();
    assert_ne!(list().await, before);
    let shown = api.session(&next.access).await;
    assert_eq!(shown.body["session"]["last_seen_at"], before, "the owner sees the rotation later");
}

#[tokio::test]
async fn rotation_is_visible_at_once_without_a_grace_period() {
    let database = Database::create().await;
    let api = start(&database, &[("REFRESH_REUSE_GRACE", "0s")]).await;
    let first = login_from(&api, HOME).await;
    let seen = async |tokens: &Tokens| {
        api.session(&tokens.access).await.body["session"]["last_seen_at"].clone()
    };
    let before = seen(&first).await;
    let next = refresh_from(&api, HOME, &first.refresh).await.tokens();
    assert_ne!(seen(&next).await, before);
}

/// Returns whether `RateLimit` has the item that shows how often a session is refreshed.
fn shows_the_session(head: &str) -> bool {
    head.lines().any(|line| {
        line.to_ascii_lowercase().starts_with("ratelimit:") && line.contains("\"session\"")
    })
}

fn has_session_item(answer: &Answer) -> bool {
    let left =
        answer.headers.get("ratelimit").unwrap_or_else(|| panic!("no RateLimit: {answer:?}"));
    shows_the_session(&format!("ratelimit: {}", left.to_str().unwrap()))
}

fn head_of_a_refresh(network: &str, length: usize) -> String {
    let head = format!("POST /auth/refresh HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {network}\r\n");
    format!("{head}content-type: application/json\r\ncontent-length: {length}\r\n\r\n")
}

/// Sends a refresh and closes the sending half of the connection. Returns the response.
fn refresh_half_closed(api: &AuthApi, refresh_token: &str) -> String {
    let body = json!({ "refresh_token": refresh_token }).to_string();
    let mut socket = TcpStream::connect(api.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    write!(socket, "{}{body}", head_of_a_refresh(HOME, body.len())).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    // The server may reset the connection after its response.
    let _ = socket.read_to_string(&mut answer);
    answer
}

#[tokio::test]
async fn session_quota_is_shown_only_with_new_tokens() {
    let database = Database::create().await;
    let roomy = ["RATE_LIMIT_IP", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_REFRESH_IP"]
        .map(|name| (name, "1000/1h"));
    let env: Vec<_> =
        [("RATE_LIMIT", "on"), ("RATE_LIMIT_SESSION", "4/1h")].into_iter().chain(roomy).collect();
    let api = start(&database, &env).await;
    let first = login_from(&api, HOME).await;
    // A malformed request neither shows nor uses the quota.
    for _ in 0..5 {
        let malformed = refresh_with(&api, ELSEWHERE, Some("short"), &first.refresh).await;
        malformed.is_problem(400, "malformed");
        assert!(!has_session_item(&malformed), "{malformed:?}");
    }
    let answer = refresh_from(&api, HOME, &first.refresh).await;
    assert!(has_session_item(&answer), "{answer:?}");
    let second = answer.tokens();
    let retried = refresh_from(&api, HOME, &first.refresh).await;
    assert!(has_session_item(&retried), "{retried:?}");
    let third = refresh_from(&api, HOME, &second.refresh).await.tokens();
    database.age_rotations("1 minute").await;
    let reuse = refresh_from(&api, ELSEWHERE, &first.refresh).await;
    reuse.is_problem(401, "refresh_refused");
    assert!(!has_session_item(&reuse), "{reuse:?}");
    // A response with 429 shows the limit.
    let limited = refresh_from(&api, HOME, &third.refresh).await;
    limited.is_problem(429, "rate_limited");
    assert!(has_session_item(&limited), "{limited:?}");
}

#[tokio::test]
async fn half_closed_connection_gets_no_quota() {
    let database = Database::create().await;
    let api = start(&database, &[("RATE_LIMIT", "on")]).await;
    let tokens = login_from(&api, HOME).await;
    let mut current = tokens.clone();
    for _ in 0..3 {
        let head = refresh_half_closed(&api, &current.refresh);
        assert!(!shows_the_session(&head) && !head.contains("rt_"), "{head}");
        current = refresh_from(&api, HOME, &current.refresh).await.tokens();
    }
}

#[tokio::test]
async fn foreign_retries_of_two_generations_are_reuse() {
    for (home, elsewhere) in [
        (HOME, ELSEWHERE),
        ("2001:db8:1:1::7", "2001:db8:1:2::7"),
        // The client has used no address of the thief's IP version.
        (HOME, "2001:db8:1:2::7"),
        ("2001:db8:1:1::7", ELSEWHERE),
    ] {
        let database = Database::create().await;
        let api = start(&database, &[]).await;
        let first = login_from(&api, home).await;
        let second = rotate_and_retry(&api, &database, home, elsewhere, &first).await;
        assert_eq!(
            revoked_reason(&database).await,
            None,
            "a single generation may be a client that changed networks"
        );
        let third = rotate(&api, &database, home, &second).await;
        refresh_from(&api, elsewhere, &second.refresh).await.is_problem(401, "refresh_refused");
        assert_eq!(
            revoked_reason(&database).await.as_deref(),
            Some("reuse"),
            "{home}, {elsewhere}"
        );
        api.denies(&third.access).await;
        counted(&api, 2.0).await;
        let retries = api.program.log_events("foreign_retry");
        let fields: Vec<_> = retries
            .iter()
            .map(|event| (&event["event"], &event["generations"], &event["ip"]))
            .collect();
        let (event, ip) = (json!("foreign_retry"), json!(elsewhere));
        assert_eq!(fields, [(&event, &json!(1), &ip), (&event, &json!(2), &ip)]);
        assert_eq!(retries[0]["session_id"], json!(first.session_id));
        let reuse = &api.program.log_events("reuse")[0];
        assert_eq!(reuse["reason"], "foreign_generations");
    }
}

#[tokio::test]
async fn only_consecutive_foreign_generations_are_reuse() {
    let database = Database::create().await;
    let api = start(&database, &[("REFRESH_FOREIGN_GENERATIONS", "3")]).await;
    let mut current = login_from(&api, HOME).await;
    // Two generations with a foreign retry, one without, and two more.
    for foreign in [true, true, false, true, true] {
        let next = rotate(&api, &database, HOME, &current).await;
        for _ in 0..if foreign { 5 } else { 0 } {
            assert_eq!(
                refresh_from(&api, ELSEWHERE, &current.refresh).await.tokens().refresh,
                next.refresh
            );
        }
        current = next;
    }
    counted(&api, 4.0).await;
    assert_eq!(revoked_reason(&database).await, None);
    let _ = rotate(&api, &database, HOME, &current).await;
    refresh_from(&api, "192.0.2.1", &current.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
}

#[tokio::test]
async fn foreign_retries_are_only_reported_with_a_limit_of_zero() {
    let database = Database::create().await;
    let api = start(&database, &[("REFRESH_FOREIGN_GENERATIONS", "0")]).await;
    let mut current = login_from(&api, HOME).await;
    for _ in 0..4 {
        current = rotate_and_retry(&api, &database, HOME, ELSEWHERE, &current).await;
    }
    counted(&api, 4.0).await;
    assert_eq!(api.program.log_events("foreign_retry").len(), 4);
    assert_eq!(revoked_reason(&database).await, None);
}

#[tokio::test]
async fn first_foreign_retry_is_reuse_with_a_limit_of_one() {
    let database = Database::create().await;
    let api = start(&database, &[("REFRESH_FOREIGN_GENERATIONS", "1")]).await;
    let first = login_from(&api, HOME).await;
    let _ = rotate(&api, &database, HOME, &first).await;
    refresh_from(&api, ELSEWHERE, &first.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
}

#[tokio::test]
async fn five_concurrent_tabs_get_the_same_successor() {
    let database = Database::create().await;
    let api = start(&database, &[]).await;
    let mut current = login_from(&api, HOME).await;
    for _ in 0..4 {
        let tabs = (0..5).map(|_| refresh_from(&api, HOME, &current.refresh));
        let answers: Vec<Tokens> =
            futures_util::future::join_all(tabs).await.iter().map(Answer::tokens).collect();
        assert!(answers.iter().all(|tokens| tokens.refresh == answers[0].refresh), "{answers:?}");
        current = answers[0].clone();
    }
    counted(&api, 0.0).await;
    assert_eq!(database.one::<i64>("SELECT generation FROM token_families").await, 4);
}

#[tokio::test]
async fn client_that_changes_networks_keeps_its_session() {
    let database = Database::create().await;
    let api = start(&database, &[]).await;
    // The response to a rotation at home is lost, and the retry comes from another network.
    let first = login_from(&api, HOME).await;
    let second = rotate_and_retry(&api, &database, HOME, ELSEWHERE, &first).await;
    counted(&api, 1.0).await;
    // The client rotates from the other network, and that network is recorded.
    let third = rotate_and_retry(&api, &database, ELSEWHERE, ELSEWHERE, &second).await;
    counted(&api, 1.0).await;
    let _ = rotate_and_retry(&api, &database, ELSEWHERE, HOME, &third).await;
    counted(&api, 2.0).await;
    assert_eq!(revoked_reason(&database).await, None, "the two generations are not consecutive");
}

#[tokio::test]
async fn foreign_retry_with_the_same_key_does_not_count() {
    let database = Database::create().await;
    let api = start(&database, &[]).await;
    let mut current = login_from(&api, HOME).await;
    for generation in 0..6 {
        let key = format!("{KEY}-{generation}");
        let next = refresh_with(&api, HOME, Some(&key), &current.refresh).await.tokens();
        rotated_earlier(&database, "1 second").await;
        for network in [ELSEWHERE, "192.0.2.1", "2001:db8:1:2::7"] {
            let retried = refresh_with(&api, network, Some(&key), &current.refresh).await.tokens();
            assert_eq!(retried.refresh, next.refresh);
        }
        current = next;
    }
    counted(&api, 0.0).await;
    // A retry with the key of another attempt counts.
    let next = refresh_with(&api, HOME, Some(KEY), &current.refresh).await.tokens();
    rotated_earlier(&database, "1 second").await;
    let retried =
        refresh_with(&api, ELSEWHERE, Some("of-another-attempt"), &current.refresh).await.tokens();
    assert_eq!(retried.refresh, next.refresh);
    counted(&api, 1.0).await;
}

#[tokio::test]
async fn client_may_alternate_between_ipv4_and_ipv6() {
    let database = Database::create().await;
    let api = start(&database, &[]).await;
    let mut current = login_from(&api, HOME).await;
    for host in 1..=3 {
        // The IPv6 address of the client changes within the /64.
        let (v6, other_v6) =
            (format!("2001:db8:1:1::{host}"), format!("2001:db8:1:1:ffff::{host}"));
        current = rotate_and_retry(&api, &database, &v6, HOME, &current).await;
        current = rotate_and_retry(&api, &database, HOME, &other_v6, &current).await;
    }
    counted(&api, 0.0).await;
    assert_eq!(revoked_reason(&database).await, None);
}

/// An earlier auth-api, which does not know these columns, rotates a token but does not record the
/// networks of the rotation.
#[tokio::test]
async fn rotation_without_recorded_networks_is_not_compared() {
    let database = Database::create().await;
    let api = start(&database, &[]).await;
    let mut current = login_from(&api, HOME).await;
    for _ in 0..3 {
        let next = rotate(&api, &database, HOME, &current).await;
        database
            .execute("UPDATE token_families SET recorded_generation = recorded_generation - 1")
            .await;
        assert_eq!(
            refresh_from(&api, ELSEWHERE, &current.refresh).await.tokens().refresh,
            next.refresh
        );
        current = next;
    }
    counted(&api, 0.0).await;
}

/// Sends a refresh from another network to an API whose database is stalled, runs `meanwhile` while
/// the request waits, and resumes the database.
async fn refresh_slowly(
    slow: &AuthApi,
    proxy: &Proxy,
    refresh_token: &str,
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    proxy.stall();
    let (answer, ()) = tokio::join!(refresh_from(slow, ELSEWHERE, refresh_token), async {
        testkit::eventually("the request holds a connection", async || {
            slow.metric("auth_api_db_connections{state=\"busy\"}").await > 0.0
        })
        .await;
        meanwhile().await;
        proxy.restore();
    });
    answer
}

#[tokio::test]
async fn request_from_before_the_rotation_does_not_count() {
    for rotations in 1..=2 {
        let database = Database::create().await;
        let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
        let env = [
            ("DATABASE_URL", url.as_str()),
            ("DATABASE_POOL_SIZE", "1"),
            ("DENYLIST_SYNC_INTERVAL", "1h"),
        ];
        let slow = start(&database, &env).await;
        testkit::eventually("the denylist has been rebuilt", async || {
            slow.metric("auth_api_denylist_synced_timestamp_seconds").await > 0.0
        })
        .await;
        let quick = start(&database, &[]).await;
        let first = login_from(&slow, HOME).await;
        let mut current = first.clone();
        let answer = refresh_slowly(&slow, &proxy, &first.refresh, async || {
            for _ in 0..rotations {
                current = refresh_from(&quick, HOME, &current.refresh).await.tokens();
            }
        })
        .await;
        match rotations {
            1 => assert_eq!(answer.tokens().refresh, current.refresh),
            // The successor was already used.
            _ => answer.is_problem(401, "refresh_refused"),
        }
        counted(&slow, 0.0).await;
        assert_eq!(revoked_reason(&database).await, None);
    }
}

#[tokio::test]
async fn foreign_retry_of_a_disconnected_client_does_not_count() {
    let database = Database::create().await;
    let api = start(&database, &[("REFRESH_FOREIGN_GENERATIONS", "1")]).await;
    let first = login_from(&api, HOME).await;
    let next = rotate(&api, &database, HOME, &first).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let mut socket = TcpStream::connect(api.url.trim_start_matches("http://")).unwrap();
    let body = json!({ "refresh_token": first.refresh }).to_string();
    write!(socket, "{}{body}", head_of_a_refresh(ELSEWHERE, body.len())).unwrap();
    testkit::waits_for_a_lock(&holder, "auth-api").await;
    drop(socket);
    holder.rollback().await.unwrap();
    testkit::eventually("the request has an outcome", async || {
        api.metric("auth_api_refreshes_total{outcome=\"hung_up\"}").await > 0.0
    })
    .await;
    counted(&api, 0.0).await;
    assert_eq!(revoked_reason(&database).await, None);
    let _ = refresh_from(&api, HOME, &next.refresh).await.tokens();
}

#[tokio::test]
async fn negative_foreign_generations_are_rejected() {
    let database = Database::create().await;
    let url = database.url_as("auth_api");
    let env = [("DATABASE_URL", url.as_str()), ("REFRESH_FOREIGN_GENERATIONS", "-1")];
    let (code, program) =
        testkit::Program::run(testkit::binary("auth-api"), &["config"], &env).await;
    assert_eq!(code, Some(78));
    assert!(program.stderr().contains("REFRESH_FOREIGN_GENERATIONS"), "{}", program.stderr());
}
