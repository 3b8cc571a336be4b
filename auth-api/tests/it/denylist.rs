//! The access token of a revoked session is rejected, whatever the state of Redis.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use testkit::{AuthApi, Database, Proxy, Redis, Tokens, Wallet};

/// An API with its own Redis, a session that the tests revoke (`revoked`), and a session that stays
/// live.
struct Stage {
    database: Database,
    redis: Redis,
    api: AuthApi,
    revoked: Tokens,
    live: Tokens,
}

impl Stage {
    async fn start(interval: &str) -> Self {
        Self::start_with(interval, &[]).await
    }

    async fn start_with(interval: &str, more: &[(&str, &str)]) -> Self {
        let (database, redis) = (Database::create().await, Redis::start());
        let env = [
            ("REDIS_URL", redis.url()),
            ("DENYLIST_SYNC_INTERVAL", interval.into()),
            ("REDIS_PREFIX", "p".into()),
        ];
        let mut env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        env.extend_from_slice(more);
        let api = AuthApi::start(&database, &env).await;
        let wallet = Wallet::generate();
        let (revoked, live) = (api.login(&wallet).await, api.login(&wallet).await);
        let stage = Self { database, redis, api, revoked, live };
        stage.wait_for_redis().await;
        stage
    }

    async fn log_out(&self) {
        assert_eq!(self.api.logout(&self.revoked.access).await.status, 204);
    }

    /// Asserts that the token of the revoked session is rejected and the token of the live session
    /// is accepted.
    async fn check_tokens(&self) {
        self.api.denies(&self.revoked.access).await;
        assert_eq!(self.api.session(&self.live.access).await.status, 200);
    }

    async fn lookups(&self, source: &str) -> f64 {
        self.api
            .metric(&format!(
                "auth_api_denylist_lookup_duration_seconds_count{{source=\"{source}\"}}"
            ))
            .await
    }

    /// Returns the number of Redis commands for which requests have waited, whether or not Redis
    /// replied.
    async fn request_commands(&self) -> f64 {
        let mut total = 0.0;
        for command in ["lookup", "deny", "limit"] {
            let count =
                format!("auth_api_redis_command_duration_seconds_count{{command=\"{command}\"}}");
            total += self.api.metric(&count).await;
        }
        total
    }

    /// Waits until Redis answers look-ups.
    async fn wait_for_redis(&self) {
        testkit::eventually("Redis answers look-ups", async || {
            let before = self.lookups("redis").await;
            assert_eq!(self.api.session(&self.live.access).await.status, 200);
            self.lookups("redis").await > before
        })
        .await;
    }
}

#[tokio::test]
async fn logged_out_token_is_denied_by_redis_at_once() {
    let stage = Stage::start("1h").await;
    stage.log_out().await;
    let (redis, postgres) = (stage.lookups("redis").await, stage.lookups("postgres").await);
    stage.check_tokens().await;
    assert!((stage.lookups("redis").await - redis - 2.0).abs() < f64::EPSILON);
    assert!((stage.lookups("postgres").await - postgres).abs() < f64::EPSILON);
    let key = format!("{{p}}:deny:{}", stage.revoked.session_id);
    let ttl = stage.redis.command(&format!("TTL {key}"));
    // The entry expires after ACCESS_TOKEN_TTL plus one minute.
    let seconds: i64 = ttl.trim_start_matches(':').trim().parse().unwrap();
    assert!((900..=960).contains(&seconds), "{ttl}");
    assert!(stage.redis.command("EXISTS {p}:deny:complete").starts_with(":1"));
}

#[tokio::test]
async fn redis_flush_does_not_lose_denials() {
    let stage = Stage::start("1h").await;
    stage.log_out().await;
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    stage.check_tokens().await;
    stage.wait_for_redis().await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn empty_redis_after_a_crash_is_not_trusted() {
    let mut stage = Stage::start("1h").await;
    stage.log_out().await;
    stage.redis.kill();
    stage.redis.run();
    stage.check_tokens().await;
    stage.wait_for_redis().await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn redis_restored_from_an_old_dump_is_not_trusted() {
    let mut stage = Stage::start("1h").await;
    stage.redis.save();
    assert!(
        stage.redis.command("EXISTS {p}:deny:complete").starts_with(":1"),
        "the dump contains the completeness marker"
    );
    stage.log_out().await;
    stage.redis.kill();
    stage.redis.run();
    assert!(
        stage.redis.command("EXISTS {p}:deny:complete").starts_with(":1"),
        "the restored data contains the marker, too"
    );
    let key = format!("EXISTS {{p}}:deny:{}", stage.revoked.session_id);
    assert!(stage.redis.command(&key).starts_with(":0"));
    stage.check_tokens().await;
    stage.wait_for_redis().await;
    stage.check_tokens().await;
    assert!(stage.redis.command(&key).starts_with(":1"));
}

#[tokio::test]
async fn token_checks_and_logout_work_without_redis() {
    let mut stage = Stage::start("1h").await;
    stage.redis.kill();
    stage.log_out().await;
    let postgres = stage.lookups("postgres").await;
    stage.check_tokens().await;
    assert!((stage.lookups("postgres").await - postgres - 2.0).abs() < f64::EPSILON);
    stage.redis.run();
    stage.wait_for_redis().await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn api_starts_and_works_without_redis() {
    let database = Database::create().await;
    let nowhere = format!("redis://127.0.0.1:{}", testkit::free_port());
    let api = AuthApi::start(&database, &[("REDIS_URL", &nowhere)]).await;
    let tokens = api.login(&Wallet::generate()).await;
    assert_eq!(api.session(&tokens.access).await.status, 200);
    assert_eq!(api.logout(&tokens.access).await.status, 204);
    api.denies(&tokens.access).await;
}

#[tokio::test]
async fn hung_redis_costs_a_single_timeout() {
    let stage = Stage::start_with("1h", &[("REDIS_TIMEOUT", "2s")]).await;
    stage.log_out().await;
    stage.redis.hang();
    let timeouts = "auth_api_denylist_errors_total{kind=\"timeout\"}";
    let before = stage.api.metric(timeouts).await;
    let redis = stage.lookups("redis").await;
    for _ in 0..20 {
        stage.check_tokens().await;
    }
    assert!(
        (stage.lookups("redis").await - redis).abs() < f64::EPSILON,
        "the hung Redis must not answer a look-up"
    );
    // One look-up timed out. The rebuild makes other attempts, at most two per second.
    let lookups = "auth_api_redis_command_duration_seconds_count{command=\"lookup\"}";
    let tried = stage.api.metric(lookups).await - redis;
    assert!(tried <= 1.0 + f64::EPSILON, "{tried} look-ups waited for the hung Redis");
    assert!(stage.api.metric(timeouts).await > before);
    stage.redis.wake();
    stage.wait_for_redis().await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn hung_redis_delays_one_command_of_any_kind() {
    let roomy =
        ["RATE_LIMIT_IP", "RATE_LIMIT_ADDRESS", "RATE_LIMIT_REFRESH_IP", "RATE_LIMIT_SESSION"];
    let roomy = roomy.map(|name| (name, "100000/1h"));
    let more = [("REDIS_TIMEOUT", "3s"), ("RATE_LIMIT", "on"), ("SESSION_LIMIT", "2")];
    let more: Vec<_> = more.into_iter().chain(roomy).collect();
    // The first request to wait for the hung Redis: a login that denies the session it ends, a
    // logout, a look-up or a refresh.
    for first in ["login", "logout", "look-up", "refresh"] {
        let stage = Stage::start_with("1h", &more).await;
        let wallet = Wallet::generate();
        let (ended, live) = (stage.api.login(&wallet).await, stage.api.login(&wallet).await);
        let message = stage.api.challenge(&wallet).await;
        let signature = wallet.sign(&message);
        let before = stage.request_commands().await;
        stage.redis.hang();
        match first {
            "login" => drop(stage.api.submit(&message, &signature).await.tokens()),
            "logout" => stage.log_out().await,
            "look-up" => assert_eq!(stage.api.session(&stage.live.access).await.status, 200),
            _ => drop(stage.api.refresh(&live.refresh).await.tokens()),
        }
        for _ in 0..50 {
            assert_eq!(stage.api.session(&stage.live.access).await.status, 200);
            stage.api.refresh("rt_nonsense").await.is_problem(401, "refresh_refused");
        }
        if first != "login" {
            let _ = stage.api.submit(&message, &signature).await.tokens();
        }
        stage.api.denies(&ended.access).await;
        stage.log_out().await;
        stage.check_tokens().await;
        let waited = stage.request_commands().await - before;
        assert!(
            (waited - 1.0).abs() < f64::EPSILON,
            "{first}: {waited} commands waited for the hung Redis"
        );

        stage.redis.wake();
        stage.wait_for_redis().await;
        stage.check_tokens().await;
        stage.api.denies(&ended.access).await;
    }
}

#[tokio::test]
async fn redis_after_a_failover_is_not_trusted_until_rebuilt() {
    let (old, new) = (Redis::start(), Redis::start());
    let proxy = Proxy::to(&old.address()).await;
    let through = format!("redis://{}", proxy.address());
    // The interval is long, so only the new connection triggers the rebuild.
    let stage = Stage::start_with("1h", &[("REDIS_URL", &through)]).await;
    stage.log_out().await;
    // The new server has the marker, but not the denial.
    let _ = new.command("SET {p}:deny:complete 1");
    proxy.fail_over_to(&new.address());
    stage.check_tokens().await;
    stage.wait_for_redis().await;
    stage.check_tokens().await;
    let key = format!("EXISTS {{p}}:deny:{}", stage.revoked.session_id);
    assert!(
        new.command(&key).starts_with(":1"),
        "the rebuild has written the denial to the new server"
    );

    // A second failover, to an empty server.
    let empty = Redis::start();
    proxy.fail_over_to(&empty.address());
    stage.check_tokens().await;
    stage.wait_for_redis().await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn failover_seen_by_a_rate_limit_ends_trust_immediately() {
    let (old, new) = (Redis::start(), Redis::start());
    let proxy = Proxy::to(&old.address()).await;
    let through = format!("redis://{}", proxy.address());
    let more = [("REDIS_URL", through.as_str()), ("RATE_LIMIT", "on")];
    let stage = Stage::start_with("1h", &more).await;
    stage.log_out().await;
    let _ = new.command("SET {p}:deny:complete 1");
    let mut client = stage.database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.batch_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    proxy.fail_over_to(&new.address());
    testkit::eventually(
        "a rate limit detected the failover, and the rebuild waits for its first page",
        async || {
            stage.api.refresh("rt_nonsense").await.is_problem(401, "refresh_refused");
            new.command("EXISTS {p}:deny:epoch").starts_with(":1")
        },
    )
    .await;
    tokio::join!(stage.api.denies(&stage.revoked.access), async {
        testkit::eventually("the request waits, too", async || {
            let waiting =
                "SELECT count(*) = 2 FROM pg_stat_activity WHERE application_name = 'auth-api'
                           AND datname = current_database() AND wait_event_type = 'Lock'";
            holder.batch_execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
            holder.query_one(waiting, &[]).await.unwrap().get(0)
        })
        .await;
        holder.rollback().await.unwrap();
    });
    stage.wait_for_redis().await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn flush_during_a_rebuild_leaves_no_marker() {
    let stage = Stage::start("1s").await;
    stage.log_out().await;
    let mut client = stage.database.client().await;
    let holder = client.transaction().await.unwrap();
    // The next rebuild has started and waits for its first page.
    holder.batch_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    testkit::waits_for_a_lock(&holder, "auth-api").await;
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    holder.rollback().await.unwrap();
    testkit::eventually("the rebuild has detected the flush", async || {
        let failures = stage.api.program.log_events("denylist_rebuild_failed");
        failures
            .iter()
            .any(|fields| fields["error"].as_str().is_some_and(|error| error.contains("emptied")))
    })
    .await;
    stage.check_tokens().await;
    stage.wait_for_redis().await;
    stage.check_tokens().await;
    let key = format!("EXISTS {{p}}:deny:{}", stage.revoked.session_id);
    assert!(stage.redis.command(&key).starts_with(":1"));
}

#[tokio::test]
async fn failed_denial_is_repaired_for_all_replicas() {
    let (database, redis) = (Database::create().await, Redis::start());
    let proxy = Proxy::to(&redis.address()).await;
    let through = format!("redis://{}", proxy.address());
    let shared = [("REDIS_PREFIX", "p"), ("DENYLIST_SYNC_INTERVAL", "1h")];
    let one = AuthApi::start(&database, &[shared[0], shared[1], ("REDIS_URL", &through)]).await;
    let direct = redis.url();
    let other = AuthApi::start_with_keys(
        &database,
        one.copy_of_keys(),
        &[shared[0], shared[1], ("REDIS_URL", &direct)],
    )
    .await;
    let tokens = one.login(&Wallet::generate()).await;
    testkit::eventually("both replicas trust Redis", async || {
        let source = "auth_api_denylist_lookup_duration_seconds_count{source=\"redis\"}";
        assert_eq!(one.session(&tokens.access).await.status, 200);
        assert_eq!(other.session(&tokens.access).await.status, 200);
        one.metric(source).await > 0.0 && other.metric(source).await > 0.0
    })
    .await;
    proxy.cut();
    assert_eq!(one.logout(&tokens.access).await.status, 204);
    one.session(&tokens.access).await.is_problem(401, "unauthenticated");
    proxy.restore();
    testkit::eventually("the other replica rejects the token, too", async || {
        other.session(&tokens.access).await.status == 401
    })
    .await;
    let key = format!("EXISTS {{p}}:deny:{}", tokens.session_id);
    testkit::eventually("Redis has the denial", async || redis.command(&key).starts_with(":1"))
        .await;
}

#[tokio::test]
async fn sessions_revoked_in_sql_are_denied_by_the_next_rebuild() {
    let stage = Stage::start("1s").await;
    // Simulates a process that crashes between its commit and its SET.
    stage
        .database
        .execute(&format!(
            "UPDATE sessions SET revoked_at = now() WHERE id = '{}'",
            stage.revoked.session_id
        ))
        .await;
    let key = format!("EXISTS {{p}}:deny:{}", stage.revoked.session_id);
    testkit::eventually("Redis has the denial", async || {
        stage.redis.command(&key).starts_with(":1")
    })
    .await;
    stage.check_tokens().await;
}

#[tokio::test]
async fn ten_thousand_revocations_are_rebuilt_in_pages() {
    let stage = Stage::start("1h").await;
    stage
        .database
        .execute(
            "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at, revoked_at)
             SELECT gen_random_uuid(), (SELECT id FROM accounts), now(), now(), now() - (i % 7) * interval '1 second'
             FROM generate_series(1, 10000) AS i",
        )
        .await;
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    stage.wait_for_redis().await;
    // The epoch and the marker are the other two keys.
    assert!(
        stage.redis.command("DBSIZE").starts_with(":10002"),
        "{}",
        stage.redis.command("DBSIZE")
    );
}

#[tokio::test]
async fn bearer_request_is_503_without_both_stores() {
    let (database, mut redis) = (Database::create().await, Redis::start());
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let redis_url = redis.url();
    let api = AuthApi::start(
        &database,
        &[("DATABASE_URL", &url), ("REDIS_URL", &redis_url), ("DATABASE_CHECKOUT_TIMEOUT", "3s")],
    )
    .await;
    let tokens = api.login(&Wallet::generate()).await;
    redis.kill();
    proxy.cut();
    let answer = api.session(&tokens.access).await;
    answer.is_problem(503, "unavailable");
    assert_eq!(answer.headers["retry-after"], "1");
    let ready = api.client.get(format!("{}/readyz", api.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let alive = api.client.get(format!("{}/livez", api.ops_url)).send().await.unwrap();
    assert_eq!(alive.status(), 200);
    proxy.restore();
    testkit::eventually("the API works again", async || {
        api.session(&tokens.access).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn readyz_warns_about_a_redis_that_may_evict() {
    let stage = Stage::start("1h").await;
    stage.log_out().await;
    let redis = async || {
        let answer =
            stage.api.client.get(format!("{}/readyz", stage.api.ops_url)).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.json::<serde_json::Value>().await.unwrap()["redis"].clone()
    };
    assert_eq!(redis().await["maxmemory_policy"], "noeviction");
    assert_eq!(redis().await["denylist"], "complete");
    assert!(redis().await["warning"].is_null());
    let _ = stage.redis.command("CONFIG SET maxmemory-policy allkeys-lru");
    assert_eq!(redis().await["maxmemory_policy"], "allkeys-lru");
    assert!(redis().await["warning"].as_str().unwrap().contains("noeviction"));
    stage.check_tokens().await;
}

#[tokio::test]
async fn reuse_and_session_limit_add_denials() {
    let stage =
        Stage::start_with("1h", &[("SESSION_LIMIT", "2"), ("REFRESH_REUSE_GRACE", "0s")]).await;
    let third = stage.api.login(&Wallet::generate()).await;
    let next = stage.api.refresh(&third.refresh).await.tokens();
    stage.database.age_rotations("1 minute").await;
    stage.api.refresh(&third.refresh).await.is_problem(401, "refresh_refused");
    let denied =
        |id: &str| stage.redis.command(&format!("EXISTS {{p}}:deny:{id}")).starts_with(":1");
    assert!(denied(&third.session_id));
    stage.api.denies(&next.access).await;

    let wallet = Wallet::generate();
    let (oldest, _) = (stage.api.login(&wallet).await, stage.api.login(&wallet).await);
    assert!(!denied(&oldest.session_id));
    let _ = stage.api.login(&wallet).await;
    assert!(denied(&oldest.session_id));
    stage.api.denies(&oldest.access).await;
}

#[tokio::test]
async fn login_without_a_connection_keeps_the_denylist_trusted() {
    let one_connection = [("DATABASE_POOL_SIZE", "1"), ("DATABASE_CHECKOUT_TIMEOUT", "1s")];
    let stage = Stage::start_with("1h", &one_connection).await;
    let (first, second) = (Wallet::generate(), Wallet::generate());
    let _ = stage.api.login(&first).await;
    let (first_message, second_message) =
        (stage.api.challenge(&first).await, stage.api.challenge(&second).await);
    let (first_signature, second_signature) =
        (first.sign(&first_message), second.sign(&second_message));
    let mut client = stage.database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM accounts FOR UPDATE", &[]).await.unwrap();
    let (held, ()) = tokio::join!(stage.api.submit(&first_message, &first_signature), async {
        testkit::waits_for_a_lock(&holder, "auth-api").await;
        // The only connection is in use, so nothing can rebuild the denylist, either.
        stage.api.submit(&second_message, &second_signature).await.is_problem(503, "unavailable");
        let redis = stage.lookups("redis").await;
        stage.api.session(&stage.live.access).await.is_problem(503, "unavailable");
        assert!(stage.lookups("redis").await > redis, "the look-up did not go to Redis");
        holder.rollback().await.unwrap();
    });
    let _ = held.tokens();
    assert_eq!(stage.api.session(&stage.live.access).await.status, 200);
}

#[tokio::test]
async fn repeated_logout_restores_the_denial() {
    let stage = Stage::start("1h").await;
    stage.log_out().await;
    let key = format!("{{p}}:deny:{}", stage.revoked.session_id);
    let _ = stage.redis.command(&format!("DEL {key}"));
    stage.log_out().await;
    assert!(stage.redis.command(&format!("EXISTS {key}")).starts_with(":1"));
    stage.check_tokens().await;
}

#[tokio::test]
async fn unwritable_redis_falls_back_to_postgres_and_logs_once() {
    let stage = Stage::start("1h").await;
    stage.log_out().await;
    let _ = stage.redis.command("ACL SETUSER default -eval");
    assert!(stage.redis.command("FLUSHALL").starts_with("+OK"));
    let tries = "auth_api_redis_command_duration_seconds_count{command=\"rebuild\"}";
    let before = stage.api.metric(tries).await;
    stage.check_tokens().await;
    testkit::eventually("the rebuild has tried three times", async || {
        stage.api.metric(tries).await >= before + 9.0
    })
    .await;
    stage.check_tokens().await;
    assert_eq!(stage.api.program.log_events("denylist_rebuild_failed").len(), 1);
    let _ = stage.redis.command("ACL SETUSER default +eval");
    stage.wait_for_redis().await;
}

#[tokio::test]
async fn readyz_without_redis_info_keeps_the_denylist_trusted() {
    let stage = Stage::start("1h").await;
    let _ = stage.redis.command("ACL SETUSER default -info");
    for _ in 0..5 {
        let ready =
            stage.api.client.get(format!("{}/readyz", stage.api.ops_url)).send().await.unwrap();
        assert_eq!(ready.status(), 200);
        let redis = stage.lookups("redis").await;
        assert_eq!(stage.api.session(&stage.live.access).await.status, 200);
        assert!(stage.lookups("redis").await > redis, "PostgreSQL answered the look-up");
    }
}
