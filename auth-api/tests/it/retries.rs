//! Retries of POST /auth/refresh: an honest client keeps its session, whatever the database and the
//! network do to the responses.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test fails by panicking")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::json;
use testkit::{Answer, AuthApi, Database, HANG, Proxy, Server, Tokens, Wallet};

const KEY: &str = "c1a2b3d4e5f60718293a";
const OTHER_KEY: &str = "00112233445566778899";

async fn refreshes(api: &AuthApi, outcome: &str) -> f64 {
    api.metric(&format!("auth_api_refreshes_total{{outcome=\"{outcome}\"}}")).await
}

async fn counts(api: &AuthApi, outcome: &str, count: f64) {
    let counted = refreshes(api, outcome).await;
    assert!((counted - count).abs() < f64::EPSILON, "{outcome}: {counted}");
}

async fn revoked_reason(database: &Database) -> Option<String> {
    database.one("SELECT revoked_reason FROM sessions").await
}

/// Asserts that the session of `current` is live, and refreshes it.
async fn continues(api: &AuthApi, database: &Database, current: &Tokens) -> Tokens {
    assert_eq!(revoked_reason(database).await, None);
    assert_eq!(api.session(&current.access).await.status, 200);
    api.refresh(&current.refresh).await.tokens()
}

/// Starts an auth-api with one database connection, through a proxy.
async fn behind_a_proxy(database: &Database, more: &[(&str, &str)]) -> (AuthApi, Proxy) {
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let mut env = vec![
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_POOL_SIZE", "1"),
        ("DENYLIST_SYNC_INTERVAL", "1h"),
    ];
    env.extend(more);
    let api = AuthApi::start(database, &env).await;
    // From now on, auth-api queries the database only for requests.
    testkit::eventually("the denylist has been rebuilt", async || {
        api.metric("auth_api_denylist_synced_timestamp_seconds").await > 0.0
    })
    .await;
    (api, proxy)
}

/// Sends a refresh to `slow` while its database is stalled, runs `meanwhile` while the request
/// waits, and resumes the database.
async fn refresh_slowly(
    slow: &AuthApi,
    proxy: &Proxy,
    refresh_token: &str,
    meanwhile: impl AsyncFnOnce(),
) -> Answer {
    proxy.stall();
    let (answer, ()) = tokio::join!(slow.refresh(refresh_token), async {
        testkit::eventually("the request holds a connection", async || {
            slow.metric("auth_api_db_connections{state=\"busy\"}").await > 0.0
        })
        .await;
        meanwhile().await;
        proxy.restore();
    });
    answer
}

fn open(api: &AuthApi) -> TcpStream {
    let socket = TcpStream::connect(api.url.trim_start_matches("http://")).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    socket
}

fn ask(socket: &mut TcpStream, refresh_token: &str) {
    let body = json!({ "refresh_token": refresh_token }).to_string();
    let head = "POST /auth/refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length";
    write!(socket, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
}

#[tokio::test]
async fn slow_request_gets_the_successor_of_a_faster_one() {
    let database = Database::create().await;
    // Without a grace period, only the arrival time shows that the request is not reuse.
    let grace = [("REFRESH_REUSE_GRACE", "0s")];
    let (slow, proxy) = behind_a_proxy(&database, &grace).await;
    let quick = AuthApi::start(&database, &grace).await;
    let first = slow.login(&Wallet::generate()).await;
    let mut next = first.clone();
    let answer = refresh_slowly(&slow, &proxy, &first.refresh, async || {
        next = quick.refresh(&first.refresh).await.tokens();
    })
    .await;
    assert_eq!(answer.tokens().refresh, next.refresh);
    counts(&slow, "retry", 1.0).await;
    let _ = continues(&quick, &database, &next).await;
}

#[tokio::test]
async fn token_outdated_while_waiting_ends_nothing() {
    for rotations in [2, 3, 5] {
        let database = Database::create().await;
        let (slow, proxy) = behind_a_proxy(&database, &[]).await;
        let quick = AuthApi::start(&database, &[]).await;
        let first = slow.login(&Wallet::generate()).await;
        let mut current = first.clone();
        let answer = refresh_slowly(&slow, &proxy, &first.refresh, async || {
            for _ in 0..rotations {
                current = quick.refresh(&current.refresh).await.tokens();
            }
        })
        .await;
        answer.is_problem(401, "refresh_refused");
        counts(&slow, "superseded", 1.0).await;
        let current = continues(&quick, &database, &current).await;
        // The same token in a later request counts as reuse.
        database.age_rotations("1 minute").await;
        quick.refresh(&first.refresh).await.is_problem(401, "refresh_refused");
        assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
        quick.session(&current.access).await.is_problem(401, "unauthenticated");
    }
}

#[tokio::test]
async fn predecessor_with_unreadable_successor_ends_nothing() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let next = api.refresh(&first.refresh).await.tokens();
    database
        .execute("UPDATE token_families SET sealed_successor = sha256('a') || sha256('b')")
        .await;
    api.refresh(&first.refresh).await.is_problem(401, "refresh_refused");
    counts(&api, "superseded", 1.0).await;
    let _ = continues(&api, &database, &next).await;
}

#[tokio::test]
async fn request_read_after_its_client_left_ends_nothing() {
    let database = Database::create().await;
    let (paused, other) =
        (AuthApi::start(&database, &[]).await, AuthApi::start(&database, &[]).await);
    let first = paused.login(&Wallet::generate()).await;
    paused.program.signal("STOP");
    // The kernel accepts the connection and buffers the request.
    let mut socket = open(&paused);
    ask(&mut socket, &first.refresh);
    drop(socket);
    let next = other.refresh(&first.refresh).await.tokens();
    let last = other.refresh(&next.refresh).await.tokens();
    database.age_rotations("1 minute").await;
    paused.program.signal("CONT");
    testkit::eventually("the request has an outcome", async || {
        refreshes(&paused, "hung_up").await + refreshes(&paused, "reuse").await > 0.0
    })
    .await;
    counts(&paused, "hung_up", 1.0).await;
    let _ = continues(&other, &database, &last).await;
}

#[tokio::test]
async fn disconnect_before_the_decision_ends_nothing() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let next = api.refresh(&first.refresh).await.tokens();
    let last = api.refresh(&next.refresh).await.tokens();
    database.age_rotations("1 minute").await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM sessions FOR UPDATE", &[]).await.unwrap();
    let mut socket = open(&api);
    ask(&mut socket, &first.refresh);
    testkit::waits_for_a_lock(&holder, "auth-api").await;
    drop(socket);
    holder.rollback().await.unwrap();
    testkit::eventually("the request has an outcome", async || {
        refreshes(&api, "hung_up").await + refreshes(&api, "reuse").await > 0.0
    })
    .await;
    counts(&api, "hung_up", 1.0).await;
    let last = continues(&api, &database, &last).await;
    // A client that waits for the response ends the session.
    api.refresh(&first.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
    api.denies(&last.access).await;
}

#[tokio::test]
async fn half_closed_connection_gets_no_tokens() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM token_families FOR UPDATE", &[]).await.unwrap();
    let mut socket = open(&api);
    ask(&mut socket, &first.refresh);
    testkit::waits_for_a_lock(&holder, "auth-api").await;
    socket.shutdown(Shutdown::Write).unwrap();
    holder.rollback().await.unwrap();
    let mut answer = String::new();
    // The server may reset the connection after its response.
    let _ = socket.read_to_string(&mut answer);
    assert!(!answer.contains("rt_"), "{answer}");
    assert_eq!(database.one::<i64>("SELECT generation FROM token_families").await, 1);
    // The client retries, and waits for the response.
    let next = api.refresh(&first.refresh).await.tokens();
    let _ = continues(&api, &database, &next).await;
}

/// Short timeouts for the database, and a grace period that exceeds them.
const SHORT: [(&str, &str); 3] = [
    ("DATABASE_STATEMENT_TIMEOUT", "1s"),
    ("DATABASE_CHECKOUT_TIMEOUT", "5s"),
    ("REFRESH_REUSE_GRACE", "40s"),
];

/// Sends three refreshes with the same token within 60 seconds. All three responses are 503,
/// although the first refresh replaced the token. Then sends a fourth refresh to another process,
/// whose database works.
async fn three_failed_refreshes(
    refresh: impl AsyncFn(&AuthApi, &str) -> Answer,
) -> (Database, AuthApi, Tokens, Answer) {
    let database = Database::create().await;
    let (api, proxy) = behind_a_proxy(&database, &SHORT).await;
    let login = api.login(&Wallet::generate()).await;
    let first = api.refresh(&login.refresh).await.tokens();
    proxy.hold_answers_from_an_update();
    for _ in 0..3 {
        let answer = refresh(&api, &first.refresh).await;
        answer.is_problem(503, "unavailable");
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        testkit::eventually("the rotation is committed", async || {
            database.one::<i64>("SELECT generation FROM token_families").await == 2
        })
        .await;
        database.age_rotations("20 seconds").await;
    }
    let bounds = [
        ("DATABASE_STATEMENT_TIMEOUT", "5s"),
        ("DATABASE_CHECKOUT_TIMEOUT", "5s"),
        ("REFRESH_REUSE_GRACE", "45s"),
    ];
    let other = AuthApi::start(&database, &bounds).await;
    let answer = refresh(&other, &first.refresh).await;
    (database, other, first, answer)
}

#[tokio::test]
async fn session_survives_three_503s_with_a_key() {
    let (database, api, first, answer) =
        three_failed_refreshes(async |api, token| api.refresh_as(KEY, token).await).await;
    let next = answer.tokens();
    assert_ne!(next.refresh, first.refresh);
    assert_eq!(
        database.one::<i64>("SELECT generation FROM token_families").await,
        2,
        "the chain does not fork"
    );
    let _ = continues(&api, &database, &next).await;
}

#[tokio::test]
async fn retry_without_a_key_after_the_grace_period_is_reuse() {
    let (database, _api, _, answer) =
        three_failed_refreshes(async |api, token| api.refresh(token).await).await;
    answer.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
}

#[tokio::test]
async fn session_survives_a_delayed_database_response() {
    let database = Database::create().await;
    let (api, proxy) = behind_a_proxy(&database, &SHORT).await;
    let login = api.login(&Wallet::generate()).await;
    let first = api.refresh(&login.refresh).await.tokens();
    proxy.hold_answers_from_an_update();
    api.refresh(&first.refresh).await.is_problem(503, "unavailable");
    testkit::eventually("the rotation is committed", async || {
        database.one::<i64>("SELECT generation FROM token_families").await == 2
    })
    .await;
    // Simulates how long the client would wait for the response with the default timeouts. The
    // grace period is always longer.
    database.age_rotations("12 seconds").await;
    // Another process answers the retry.
    let other = AuthApi::start(&database, &[("REFRESH_REUSE_GRACE", "5m")]).await;
    let next = other.refresh(&first.refresh).await.tokens();
    proxy.restore();
    let _ = continues(&other, &database, &next).await;
}

#[tokio::test]
async fn session_survives_a_paused_synchronous_standby() {
    let server = Server::start(&[("synchronous_commit", "local")]).await;
    let database = server.database().await;
    let replica = server.replica().await;
    // Applies the setting only to this database. The database is dropped through a connection to
    // another database, after the standby has stopped.
    let waits =
        format!("ALTER DATABASE {} SET synchronous_commit = 'remote_apply'", database.name());
    database.execute(&waits).await;
    let short = [("DATABASE_STATEMENT_TIMEOUT", "1s"), ("DENYLIST_SYNC_INTERVAL", "1h")];
    let api = AuthApi::start(&database, &short).await;
    let first = api.login(&Wallet::generate()).await;
    let primary = server.client().await;
    primary.batch_execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await.unwrap();
    primary.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    replica.catch_up().await;
    testkit::eventually("commits wait for the standby", async || {
        let waits = "SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
        primary.query_one(waits, &[]).await.unwrap().get(0)
    })
    .await;
    replica.pause().await;
    // The first request rotates and waits for the standby. The second waits for the first.
    for _ in 0..2 {
        api.refresh(&first.refresh).await.is_problem(503, "unavailable");
    }
    replica.resume().await;
    testkit::eventually("the rotation is committed", async || {
        database.one::<i64>("SELECT generation FROM token_families").await == 1
    })
    .await;
    database.age_rotations("12 seconds").await;
    let next = api.refresh(&first.refresh).await.tokens();
    assert_eq!(database.one::<i64>("SELECT generation FROM token_families").await, 1);
    let _ = continues(&api, &database, &next).await;
}

#[tokio::test]
async fn key_returns_the_successor_until_it_is_used() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let first = api.login(&Wallet::generate()).await;
    let next = api.refresh_as(KEY, &first.refresh).await.tokens();
    database.age_rotations("1 day").await;
    for network in ["203.0.113.7", "2001:db8::7"] {
        let request =
            api.client.post(format!("{}/auth/refresh", api.url)).header("X-Forwarded-For", network);
        let request =
            request.header("Idempotency-Key", KEY).json(&json!({ "refresh_token": first.refresh }));
        assert_eq!(api.send(request).await.tokens().refresh, next.refresh, "from {network}");
    }
    counts(&api, "retry", 2.0).await;
    let next = continues(&api, &database, &next).await;
    database.age_rotations("1 minute").await;
    api.refresh_as(KEY, &first.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
    api.denies(&next.access).await;
}

#[tokio::test]
async fn retry_with_another_key_after_the_grace_period_is_reuse() {
    for rotated_with in [Some(KEY), None] {
        let database = Database::create().await;
        let api = AuthApi::start(&database, &[]).await;
        let first = api.login(&Wallet::generate()).await;
        let next = match rotated_with {
            Some(key) => api.refresh_as(key, &first.refresh).await.tokens(),
            None => api.refresh(&first.refresh).await.tokens(),
        };
        // Within the grace period, a key is not required, and another key is accepted.
        assert_eq!(api.refresh(&first.refresh).await.tokens().refresh, next.refresh);
        assert_eq!(api.refresh_as(OTHER_KEY, &first.refresh).await.tokens().refresh, next.refresh);
        database.age_rotations("6 minutes").await;
        api.refresh_as(OTHER_KEY, &first.refresh).await.is_problem(401, "refresh_refused");
        assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
    }
}

#[tokio::test]
async fn key_belongs_to_one_rotation() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    let second = api.refresh_as(KEY, &first.refresh).await.tokens();
    let _ = api.refresh(&second.refresh).await.tokens();
    database.age_rotations("6 minutes").await;
    api.refresh_as(KEY, &second.refresh).await.is_problem(401, "refresh_refused");
    assert_eq!(revoked_reason(&database).await.as_deref(), Some("reuse"));
}

#[tokio::test]
async fn malformed_key_is_rejected_and_changes_nothing() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let first = api.login(&Wallet::generate()).await;
    for key in [
        "",
        "fifteen-letters",
        &"x".repeat(65),
        "sixteen letters with spaces",
        "sechzehn-zeichen-ä",
    ] {
        let answer = api.refresh_as(key, &first.refresh).await;
        answer.is_problem(400, "malformed");
        assert_eq!(answer.body["field"], "Idempotency-Key", "{key:?}");
    }
    let twice = api.client.post(format!("{}/auth/refresh", api.url)).header("Idempotency-Key", KEY);
    let twice =
        twice.header("Idempotency-Key", KEY).json(&json!({ "refresh_token": first.refresh }));
    api.send(twice).await.is_problem(400, "malformed");
    assert_eq!(database.one::<i64>("SELECT generation FROM token_families").await, 0);
    for key in ["sixteen-letters!".to_owned(), "x".repeat(64)] {
        let fresh = api.login(&Wallet::generate()).await;
        let _ = api.refresh_as(&key, &fresh.refresh).await.tokens();
    }
}
