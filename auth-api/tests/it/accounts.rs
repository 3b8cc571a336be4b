//! Disabling, enabling and deleting accounts, with a command or directly in the table.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use testkit::{AuthApi, Database, Program, Wallet, binary};

/// Runs `auth-api accounts …` next to a running API. Returns the exit code, standard output and
/// standard error.
async fn accounts(
    api: &AuthApi,
    url: &str,
    redis: &str,
    args: &[&str],
) -> (Option<i32>, String, String) {
    let env = [
        ("DATABASE_URL", url),
        ("REDIS_URL", redis),
        ("REDIS_PREFIX", &api.redis_prefix),
        ("STELLAR_NETWORK", "testnet"),
    ];
    let (code, program) =
        Program::run(binary("auth-api"), &[&["accounts"], args].concat(), &env).await;
    (code, program.stdout(), program.stderr())
}

#[tokio::test]
async fn disabled_account_has_no_sessions_until_it_is_enabled() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let (tokens, others) = (api.login(&wallet).await, api.login(&other).await);
    let cookie = api.cookie_login(&wallet).await;
    let (url, redis) = (database.url_as("auth_api"), testkit::Redis::shared_url());
    let run = async |args: &[&str]| accounts(&api, &url, &redis, args).await;

    let (code, stdout, errors) = run(&["disable", wallet.address()]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(
        stdout.starts_with(&format!("disabled {}", wallet.address()))
            && stdout.contains("2 live sessions ended"),
        "{stdout}"
    );
    // The denylist rejects the token immediately.
    api.denies(&tokens.access).await;
    assert_eq!(api.with_cookie("GET", "/auth/session", &cookie).await.status, 401);
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    api.try_login(&wallet).await.is_problem(401, "login_refused");
    assert!(
        (api.metric("auth_api_logins_total{outcome=\"disabled\"}").await - 1.0).abs()
            < f64::EPSILON
    );
    assert_eq!(api.session(&others.access).await.status, 200);
    let reasons = "SELECT string_agg(DISTINCT revoked_reason, ' ') FROM sessions WHERE revoked_at IS NOT NULL";
    assert_eq!(database.one::<String>(reasons).await, "disabled");
    // Disabling is idempotent.
    let (code, stdout, _) = run(&["disable", wallet.address()]).await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("0 live sessions ended"), "{stdout}");

    let id: String = database
        .one(&format!("SELECT id::text FROM accounts WHERE subject = '{}'", wallet.address()))
        .await;
    let (code, stdout, errors) = run(&["enable", &id]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(stdout.contains(wallet.address()), "{stdout}");
    api.session(&tokens.access).await.is_problem(401, "unauthenticated");
    assert_eq!(api.try_login(&wallet).await.status, 200);
}

#[tokio::test]
async fn deleted_account_is_removed_and_wallet_can_log_in_again() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let redis = testkit::Redis::shared_url();
    // The role of the API does not have the DELETE privilege (least privilege).
    let (code, _, errors) =
        accounts(&api, &database.url_as("auth_api"), &redis, &["delete", wallet.address()]).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("permission denied"), "{errors}");
    let (code, stdout, errors) =
        accounts(&api, &database.url(), &redis, &["delete", wallet.address()]).await;
    assert_eq!(code, Some(0), "{errors}");
    assert!(stdout.starts_with("deleted"), "{stdout}");
    api.denies(&tokens.access).await;
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    let left = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM sessions) + (SELECT count(*) FROM token_families)";
    assert_eq!(database.one::<i64>(left).await, 0);
    assert_eq!(api.try_login(&wallet).await.status, 200);
}

#[tokio::test]
async fn account_commands_report_errors() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let (url, redis) = (database.url_as("auth_api"), testkit::Redis::shared_url());
    for (args, expected, exit_code) in [
        (["disable", wallet.address()], "there is no such account", 1),
        (["enable", "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"], "there is no such account", 1),
        (["delete", "0197f0a2-7c3e-7d10-9c55-0d0c6d8d3a7e"], "there is no such account", 1),
        (["disable", "somebody"], "neither a wallet's address", 2),
    ] {
        let (code, _, errors) = accounts(&api, &url, &redis, &args).await;
        assert_eq!(code, Some(exit_code), "{args:?}: {errors}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
    let tokens = api.login(&wallet).await;
    let nowhere = format!("redis://127.0.0.1:{}", testkit::free_port());
    let (code, _, errors) = accounts(&api, &url, &nowhere, &["disable", wallet.address()]).await;
    assert_eq!(code, Some(1));
    assert!(errors.contains("Redis was not told"), "{errors}");
    // The table is authoritative, and the API's own endpoints read it.
    api.session(&tokens.access).await.is_problem(401, "unauthenticated");
    let (code, _, errors) = accounts(&api, &url, &redis, &["disable", wallet.address()]).await;
    assert_eq!(code, Some(0), "{errors}");
    api.denies(&tokens.access).await;
    let (code, _, _) = accounts(
        &api,
        "postgres://nobody@127.0.0.1:1/none",
        &redis,
        &["disable", wallet.address()],
    )
    .await;
    assert_eq!(code, Some(69));
    let (code, _) =
        Program::run(binary("auth-api"), &["accounts", "disable", wallet.address()], &[]).await;
    assert_eq!(code, Some(78));
}

#[tokio::test]
async fn setting_disabled_at_in_the_table_ends_the_sessions() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    let tokens = api.login(&wallet).await;
    let cookie = api.cookie_login(&wallet).await;
    database.execute("UPDATE accounts SET disabled_at = now()").await;
    for (method, path) in
        [("GET", "/auth/session"), ("GET", "/auth/sessions"), ("DELETE", "/auth/sessions")]
    {
        api.with_token(method, path, &tokens.access).await.is_problem(401, "unauthenticated");
        api.with_cookie(method, path, &cookie).await.is_problem(401, "unauthenticated");
    }
    api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
    api.try_login(&wallet).await.is_problem(401, "login_refused");
}

#[tokio::test]
async fn login_concurrent_with_disabling_leaves_no_session() {
    let database = Database::create().await;
    let api = AuthApi::start(&database, &[]).await;
    let wallet = Wallet::generate();
    api.login(&wallet).await;
    let message = api.challenge(&wallet).await;
    let signature = wallet.sign(&message);
    // The login waits for the account lock that the operator's transaction holds.
    let mut operator = database.client().await;
    let disabling = operator.transaction().await.unwrap();
    disabling.batch_execute("UPDATE accounts SET disabled_at = now()").await.unwrap();
    let observer = database.client().await;
    let login = async {
        let answer = api.submit(&message, &signature).await;
        answer.is_problem(401, "login_refused");
    };
    let commit = async {
        testkit::waits_for_a_lock(&observer, "auth-api").await;
        disabling.commit().await.unwrap();
    };
    tokio::join!(login, commit);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM sessions").await,
        1,
        "the rejected login left no session"
    );
    assert_eq!(
        database
            .one::<i64>("SELECT count(*) FROM consumed_challenges WHERE expires_at > now()")
            .await,
        1
    );

    // Concurrent logins and a disable command: sessions of logins that commit first are revoked.
    database.execute("UPDATE accounts SET disabled_at = NULL").await;
    let messages = futures_util::future::join_all((0..10).map(|_| api.challenge(&wallet))).await;
    let logins = futures_util::future::join_all(messages.iter().map(|message| {
        let signature = wallet.sign(message);
        let api = &api;
        async move { api.submit(message, &signature).await }
    }));
    let (url, redis) = (database.url_as("auth_api"), testkit::Redis::shared_url());
    let args = ["disable", wallet.address()];
    let (answers, (code, _, errors)) = tokio::join!(logins, accounts(&api, &url, &redis, &args));
    assert_eq!(code, Some(0), "{errors}");
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        api.session(&answer.tokens().access).await.is_problem(401, "unauthenticated");
    }
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM sessions WHERE revoked_at IS NULL").await,
        0
    );
}
