//! The program: configuration, commands, logs, startup, timeouts and shutdown.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use serde_json::json;
use testkit::{AuthApi, Database, Program, Proxy, Wallet, binary};

async fn run(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let (code, program) = Program::run(binary("auth-api"), args, env).await;
    (code, program.stdout(), program.stderr())
}

/// Returns a valid configuration. Its stores need not exist.
fn good(keys: &str) -> Vec<(&str, &str)> {
    vec![
        ("DATABASE_URL", "postgres://user:hunter2@127.0.0.1/db"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1"),
        ("PUBLIC_URL", "https://auth.example.test:8443"),
        ("AUTH_SECRET", AuthApi::SECRET),
        ("SIGNING_KEYS_DIR", keys),
    ]
}

#[tokio::test]
async fn all_configuration_errors_are_reported_at_once() {
    let env = [
        ("REDIS_URL", "http://nonsense"),
        ("BIND", "nowhere"),
        ("PUBLIC_URL", "ftp://auth.example.test"),
        ("STELLAR_NETWORK", "moonnet"),
        ("AUTH_SECRET", "c2hvcnQ="),
        ("ACCESS_TOKEN_TTL", "31m"),
        ("EXTEND_THRESHOLD", "60d"),
        ("SESSION_MAX_AGE", "0s"),
        ("REFRESH_REUSE_GRACE", "1h"),
        ("DATABASE_STATEMENT_TIMEOUT", "30d"),
        ("SESSION_LIMIT", "0"),
        ("CHALLENGE_TTL", "five minutes"),
        ("DATABASE_POOL_SIZE", "many"),
        ("RATE_LIMIT", "maybe"),
        ("RATE_LIMIT_IP", "60"),
        ("RATE_LIMIT_SESSION", "0/1m"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 0.0.0.0/0"),
        ("PROXY_HEADER", "x-real-ip"),
        ("RATE_LIMIT_NEW_ACCOUNTS", "500"),
        ("RATE_LIMIT_READ_IP", "many"),
        ("RATE_LIMIT_READ_SESSION", "1/1d"),
        ("MAX_CONNECTIONS", "0"),
        ("MAX_CONNECTIONS_PER_NETWORK", "0"),
        ("HEAD_TIMEOUT", "0s"),
        ("MAX_BODY_SIZE", "1GB"),
    ];
    for command in ["serve", "config"] {
        let (code, stdout, stderr) = run(&[command], &env).await;
        assert_eq!(code, Some(78), "{stderr}");
        assert_eq!(stdout, "");
        for name in
            ["DATABASE_URL", "SIGNING_KEYS_DIR"].iter().chain(env.iter().map(|(name, _)| name))
        {
            assert!(stderr.contains(&format!("\n  {name}: ")), "{name} in:\n{stderr}");
        }
        assert!(!stderr.contains("c2hvcnQ="), "the message contains a secret");
    }
}

#[tokio::test]
async fn grace_period_exceeds_the_longest_response_by_15_seconds() {
    for (name, value, code) in [
        ("REFRESH_REUSE_GRACE", "0s", 0),
        ("REFRESH_REUSE_GRACE", "10s", 78),
        // By default, a response takes at most 2 s for a connection, 11 s for queries and 50 ms for
        // Redis.
        ("REFRESH_REUSE_GRACE", "28s", 78),
        ("REFRESH_REUSE_GRACE", "28050ms", 0),
        ("DATABASE_STATEMENT_TIMEOUT", "6s", 78),
        ("DATABASE_CHECKOUT_TIMEOUT", "4s", 78),
        ("REDIS_TIMEOUT", "3s", 78),
    ] {
        let mut env = good("/keys");
        env.push((name, value));
        let (ended, _, stderr) = run(&["config"], &env).await;
        assert_eq!(ended, Some(code), "{name}={value}: {stderr}");
        assert_eq!(stderr.contains("\n  REFRESH_REUSE_GRACE: "), code != 0, "{stderr}");
    }
}

#[tokio::test]
async fn secret_comes_from_a_variable_or_a_file_not_both() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("secret");
    std::fs::write(&file, format!("{}\n", AuthApi::SECRET)).unwrap();
    let mut env = good("/keys");
    env.retain(|(name, _)| *name != "AUTH_SECRET");
    env.push(("AUTH_SECRET_FILE", file.to_str().unwrap()));
    assert_eq!(run(&["config"], &env).await.0, Some(0));
    env.push(("AUTH_SECRET", AuthApi::SECRET));
    let (code, _, stderr) = run(&["config"], &env).await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains("AUTH_SECRET: given twice"), "{stderr}");
    env.retain(|(name, _)| *name != "AUTH_SECRET");
    std::fs::remove_file(&file).unwrap();
    assert!(run(&["config"], &env).await.2.contains("AUTH_SECRET_FILE: "));
}

#[tokio::test]
async fn insecure_settings_are_rejected() {
    let constant = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let weak = [
        ("AUTH_SECRET", constant),
        ("COOKIE_INSECURE", "1"),
        ("ISSUER", "auth.example.test"),
        ("ISSUER", "urn:example:issuer"),
        ("ISSUER", "https://auth.example.test/?tenant=1"),
        ("ISSUER", ""),
        ("TRUSTED_PROXIES", "10.0.0.0/6"),
        ("TRUSTED_PROXIES", "2001:db8::/15"),
        ("TRUSTED_PROXIES", "::/0"),
        ("ADMIN_BIND", "127.0.0.1:9080"),
        ("OPS_HOSTS", "http://ops.example.test"),
        ("STEP_UP_AGE", "0s"),
        ("STEP_UP_AGE", "1500ms"),
        ("STEP_UP_AGE", "soon"),
    ];
    for (name, value) in weak {
        let mut env = good("/keys");
        env.retain(|(other, _)| *other != name);
        env.push((name, value));
        let (code, _, stderr) = run(&["config"], &env).await;
        assert_eq!(code, Some(78), "{name}={value}");
        assert!(
            stderr.contains(&format!("\n  {name}: ")) && !stderr.contains(constant),
            "{name} in:\n{stderr}"
        );
    }
    let fine = [
        ("AUTH_SECRET", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="),
        ("ISSUER", "https://issuer.example.test/wallets"),
        ("TRUSTED_PROXIES", "10.0.0.0/7, fd00::/16"),
    ];
    for (name, value) in fine {
        let mut env = good("/keys");
        env.retain(|(other, _)| *other != name);
        env.push((name, value));
        assert_eq!(run(&["config"], &env).await.0, Some(0), "{name}={value}");
    }
}

#[tokio::test]
async fn secret_on_the_command_line_is_rejected() {
    let secrets = [
        ("AUTH_SECRET", "--auth-secret", AuthApi::SECRET),
        ("DATABASE_URL", "--database-url", "postgres://user:hunter2@127.0.0.1/db"),
        ("DATABASE_URL", "--database-url", "postgres://user@127.0.0.1/db?password=hunter2"),
        ("DATABASE_URL", "--database-url", "host=127.0.0.1 password=hunter2"),
        ("REDIS_URL", "--redis-url", "redis://:hunter2@127.0.0.1"),
    ];
    for (name, flag, value) in secrets {
        let joined = format!("{flag}={value}");
        for argument in [vec![flag, value], vec![joined.as_str()]] {
            let (code, stdout, stderr) =
                run(&[&["config"], argument.as_slice()].concat(), &good("/keys")).await;
            assert_eq!((code, stdout.as_str()), (Some(78), ""), "{flag}");
            assert!(stderr.contains(&format!("\n  {name}: ")), "{name} in:\n{stderr}");
            assert!(!stderr.contains("hunter2") && !stderr.contains(AuthApi::SECRET), "{stderr}");
        }
    }
    for url in [
        "postgres://user@127.0.0.1/db",
        "postgres://user@127.0.0.1:5432,127.0.0.1:5433/db",
        "postgres:///db?host=/run/postgresql&user=user",
        "host=127.0.0.1 user=user",
    ] {
        let without_password =
            ["config", "--database-url", url, "--redis-url", "redis://127.0.0.1"];
        assert_eq!(run(&without_password, &good("/keys")).await.0, Some(0), "{url}");
    }
    let args = ["admin", "sessions", "--database-url", "postgres://user:hunter2@127.0.0.1/db"];
    assert_eq!(run(&args, &good("/keys")).await.0, Some(78), "the check applies to all commands");
}

#[tokio::test]
async fn secret_file_permissions_are_checked() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::TempDir::new().unwrap();
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let files = [
        ("AUTH_SECRET", AuthApi::SECRET),
        ("DATABASE_URL", "postgres://user:hunter2@127.0.0.1/db"),
        ("REDIS_URL", "redis://:hunter2@127.0.0.1"),
        ("ADMIN_TOKEN", "a-token-of-the-operators-0123456789"),
        ("INTROSPECTION_CLIENTS", "# nobody"),
    ];
    for (name, content) in files {
        let (file, variable) = (directory.path().join(name), format!("{name}_FILE"));
        std::fs::write(&file, content).unwrap();
        let mut env = good("/keys");
        env.retain(|(other, _)| *other != name);
        env.extend([(variable.as_str(), file.to_str().unwrap()), ("LOG_FORMAT", "json")]);
        for (mode, code, warned) in
            [(0o600, 0, false), (0o640, 0, false), (0o644, 0, true), (0o602, 78, false)]
        {
            set(&file, mode);
            let (exit, _, stderr) = run(&["config"], &env).await;
            assert_eq!(exit, Some(code), "{name} {mode:o}: {stderr}");
            assert_eq!(
                stderr.contains("\"secret_file_readable\""),
                warned,
                "{name} {mode:o}: {stderr}"
            );
            assert_eq!(
                stderr.contains(&format!("\n  {variable}: ")),
                code == 78,
                "{name} {mode:o}: {stderr}"
            );
            assert!(!stderr.contains("hunter2"), "{stderr}");
        }
    }
    // A user who can change a key, or add one, can sign any token.
    let keys = directory.path().join("keys");
    let dir = keys.to_str().unwrap();
    let made = run(&["keys", "generate", "--dir", dir], &[]).await.1;
    let list = async || run(&["keys", "list", "--dir", dir], &[]).await.0;
    for path in [std::path::Path::new(made.trim()), &keys] {
        let private = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(list().await, Some(0));
        set(path, private | 0o002);
        assert_eq!(list().await, Some(78), "{}", path.display());
        set(path, private);
    }
    // Kubernetes mounts directories with this mode.
    set(&keys, 0o1777);
    assert_eq!(list().await, Some(0));
}

#[tokio::test]
async fn public_url_without_tls_logs_a_warning() {
    let database = Database::create().await;
    for (url, warned) in [
        ("http://auth.example.com", true),
        ("http://localhost:8080", false),
        ("https://auth.example.com", false),
    ] {
        let api = AuthApi::start(&database, &[("PUBLIC_URL", url)]).await;
        assert_eq!(api.program.stderr().contains("\"public_url_without_tls\""), warned, "{url}");
    }
}

#[tokio::test]
async fn empty_file_variable_counts_as_unset() {
    let mut env = good("/keys");
    env.extend([
        ("INTROSPECTION_CLIENTS_FILE", ""),
        ("ADMIN_TOKEN_FILE", ""),
        ("AUTH_SECRET_FILE", ""),
    ]);
    let (code, _, stderr) = run(&["config"], &env).await;
    assert_eq!(code, Some(0), "{stderr}");
    env.push(("SIGNING_KEYS_DIR", ""));
    let (code, _, stderr) = run(&["config"], &env).await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains("\n  SIGNING_KEYS_DIR: missing"), "{stderr}");
}

#[tokio::test]
async fn config_prints_effective_settings_without_secrets() {
    let (code, stdout, stderr) = run(&["config", "--session-limit", "3"], &good("/keys")).await;
    assert_eq!(code, Some(0), "{stderr}");
    for line in [
        "SESSION_LIMIT=3",
        "ACCESS_TOKEN_TTL=15m",
        "SESSION_TTL=30d",
        "REFRESH_REUSE_GRACE=30s",
        "STELLAR_NETWORK=pubnet",
        "RATE_LIMIT=on",
        "RATE_LIMIT_IP=120/1m",
        "TRUSTED_PROXIES=",
        "PROXY_HEADER=x-forwarded-for",
        "MAX_CONNECTIONS=1000",
        "MAX_HEAD_SIZE=16KiB",
        "ISSUER=https://auth.example.test:8443",
        "AUTH_SECRET=[redacted]",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{line} in:\n{stdout}");
    }
    let (_, braced, _) = run(&["config", "--redis-prefix", "{mine}"], &good("/keys")).await;
    assert!(braced.contains("REDIS_PREFIX=mine\n"), "{braced}");
    assert!(!stdout.contains("hunter2") && !stdout.contains(AuthApi::SECRET), "{stdout}");
}

#[tokio::test]
async fn generated_key_is_readable_only_by_its_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::TempDir::new().unwrap();
    let keys = directory.path().join("new");
    let (code, stdout, stderr) =
        run(&["keys", "generate", "--dir", keys.to_str().unwrap()], &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    let path = std::path::Path::new(stdout.trim());
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let checked = std::process::Command::new("openssl")
        .args(["pkey", "-noout", "-text", "-in"])
        .arg(path)
        .output();
    assert!(String::from_utf8(checked.unwrap().stdout).unwrap().contains("ED25519"));

    let (one, other) =
        (run(&["keys", "secret"], &[]).await.1, run(&["keys", "secret"], &[]).await.1);
    assert_ne!(one, other);
    let mut env = good("/keys");
    env.retain(|(name, _)| *name != "AUTH_SECRET");
    env.push(("AUTH_SECRET", one.trim()));
    assert_eq!(run(&["config"], &env).await.0, Some(0));
}

#[tokio::test]
async fn unusable_signing_key_is_reported_with_its_file() {
    let directory = tempfile::TempDir::new().unwrap();
    let keys = directory.path().to_str().unwrap();
    let mut env = good(keys);
    env.extend([("BIND", "127.0.0.1:0"), ("OPS_BIND", "127.0.0.1:0")]);
    let (code, _, stderr) = run(&["serve"], &env).await;
    assert_eq!(code, Some(78));
    assert!(stderr.contains("keys generate"), "{stderr}");
    for (name, content) in [("mykey.pem", "x"), ("20261121T090000Z-a.pem", "not a key")] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let (code, _, stderr) = run(&["serve"], &env).await;
        assert_eq!(code, Some(78));
        assert!(stderr.contains(name), "{stderr}");
        std::fs::remove_file(path).unwrap();
    }
}

#[tokio::test]
async fn migrate_creates_the_tables_and_can_be_repeated() {
    let database = Database::empty().await;
    let url = database.url();
    let (code, stdout, _) = run(&["migrate"], &[("DATABASE_URL", &url)]).await;
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/auth"))
        .unwrap()
        .count();
    assert_eq!((code, stdout.lines().count()), (Some(0), migrations), "{stdout}");
    let (code, stdout, _) = run(&["migrate"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(0));
    assert!(stdout.starts_with("nothing to do"), "{stdout}");
    let nowhere = format!("postgres://x@127.0.0.1:{}/x", testkit::free_port());
    let (code, _, stderr) = run(&["migrate"], &[("DATABASE_URL", &nowhere)]).await;
    assert_eq!(code, Some(69), "{stderr}");
}

#[tokio::test]
async fn readyz_is_503_without_the_tables() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    database.execute("DELETE FROM __diesel_schema_migrations WHERE version = '1002'").await;
    let ready = api.client.get(format!("{}/readyz", api.ops_url)).send().await.unwrap();
    assert_eq!(ready.status(), 503);
    let why: serde_json::Value = ready.json().await.unwrap();
    assert!(why["postgres"].as_str().unwrap().contains("auth-api migrate"), "{why}");
}

#[tokio::test]
async fn full_pool_is_answered_503() {
    let database = Database::create().await;
    let env = [
        ("DATABASE_POOL_SIZE", "1"),
        ("DATABASE_CHECKOUT_TIMEOUT", "3s"),
        ("DENYLIST_SYNC_INTERVAL", "1h"),
    ];
    let api = AuthApi::start(&database, &env).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM accounts FOR UPDATE", &[]).await.unwrap();
    let waiting = api.challenge(&wallet).await;
    let signature = wallet.sign(&waiting);
    let (held, ()) = tokio::join!(api.submit(&waiting, &signature), async {
        testkit::waits_for_a_lock(&holder, "auth-api").await;
        // The request is answered while the connection is still in use.
        let refused = api.refresh(&tokens.refresh).await;
        refused.is_problem(503, "unavailable");
        assert_eq!(refused.headers["retry-after"], "1");
        holder.rollback().await.unwrap();
    });
    let _ = held.tokens();
    let _ = api.refresh(&tokens.refresh).await.tokens();
    assert!(api.metric("auth_api_db_acquire_timeouts_total").await >= 1.0);
}

#[tokio::test]
async fn statement_timeout_is_answered_503() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[("DATABASE_STATEMENT_TIMEOUT", "3s")]).await;
    let wallet = Wallet::generate();
    let _ = api.login(&wallet).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM accounts FOR UPDATE", &[]).await.unwrap();
    api.try_login(&wallet).await.is_problem(503, "unavailable");
    holder.rollback().await.unwrap();
    let _ = api.login(&wallet).await;
}

#[tokio::test]
async fn unresponsive_database_loses_its_connection() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("auth_api")).await;
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("DATABASE_POOL_SIZE", "1"),
        ("DATABASE_STATEMENT_TIMEOUT", "3s"),
        ("DATABASE_CHECKOUT_TIMEOUT", "3s"),
    ];
    let api = AuthApi::start(&database, &env).await;
    let tokens = api.login(&Wallet::generate()).await;
    proxy.stall();
    // The first request waits for its response, the second for the connection. The client of the
    // test would wait for minutes.
    for _ in 0..2 {
        api.refresh(&tokens.refresh).await.is_problem(503, "unavailable");
    }
    proxy.restore();
    testkit::eventually("refreshes work again", async || {
        api.refresh(&tokens.refresh).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn api_recovers_after_its_connections_are_killed() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let _ = api.login(&wallet).await;
    database
        .execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
             WHERE application_name = 'auth-api' AND datname = current_database()",
        )
        .await;
    testkit::eventually("logins work again", async || api.try_login(&wallet).await.status == 200)
        .await;
}

#[tokio::test]
async fn sigterm_finishes_open_requests_and_exits_0() {
    let database = Database::create().await;
    let mut api = AuthApi::start(&database, &[("SHUTDOWN_TIMEOUT", "10m")]).await;
    let wallet = Wallet::generate();
    let _ = api.login(&wallet).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM accounts FOR UPDATE", &[]).await.unwrap();
    let message = api.challenge(&wallet).await;
    let signature = wallet.sign(&message);
    let body = json!({ "message": message, "signature": signature });
    let request = api.client.post(format!("{}/auth/login", api.url)).json(&body).send();
    let under_way = tokio::spawn(request);
    testkit::waits_for_a_lock(&holder, "auth-api").await;
    api.program.signal("TERM");
    let _ = api.program.log_event("shutdown_started").await;
    testkit::eventually("the server accepts no new connections", async || {
        reqwest::Client::new().get(&api.url).send().await.is_err()
    })
    .await;
    holder.rollback().await.unwrap();
    assert_eq!(under_way.await.unwrap().unwrap().status(), 200);
    assert_eq!(api.program.wait().await.code(), Some(0));
}

#[tokio::test]
async fn shutdown_timeout_ends_open_requests() {
    let database = Database::create().await;
    // Without the timeout, the login would wait for a minute and a half.
    let mut api = AuthApi::start(&database, &[("SHUTDOWN_TIMEOUT", "1s")]).await;
    let wallet = Wallet::generate();
    let _ = api.login(&wallet).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    holder.execute("SELECT FROM accounts FOR UPDATE", &[]).await.unwrap();
    let message = api.challenge(&wallet).await;
    let body = json!({ "message": message, "signature": wallet.sign(&message) });
    let under_way =
        tokio::spawn(api.client.post(format!("{}/auth/login", api.url)).json(&body).send());
    testkit::waits_for_a_lock(&holder, "auth-api").await;
    api.program.signal("TERM");
    assert_eq!(api.program.wait().await.code(), Some(0));
    drop(under_way);
}
