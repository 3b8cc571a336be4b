//! `auth-api admin …`: the admin operations on the command line, directly on the stores.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{AuthApi, Database, Program, Redis, Wallet, binary};

/// An operator's shell next to a running API.
struct Shell {
    database: Database,
    api: AuthApi,
    redis: String,
}

/// The result of a command.
struct Output {
    code: Option<i32>,
    stdout: String,
    log: Program,
}

impl Output {
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.log.stderr());
        serde_json::from_str(&self.stdout).unwrap()
    }

    #[track_caller]
    fn failed(&self, code: i32, why: &str) {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.log.stderr());
        assert!(self.log.stderr().contains(why), "{why}: {}", self.log.stderr());
    }
}

impl Shell {
    async fn open() -> Self {
        let database = Database::create().await;
        let api = AuthApi::start(&database, &[]).await;
        Self { database, api, redis: Redis::shared_url() }
    }

    async fn run(&self, args: &[&str]) -> Output {
        let url = self.database.url_as("auth_api");
        let env = [
            ("DATABASE_URL", url.as_str()),
            ("REDIS_URL", &self.redis),
            ("REDIS_PREFIX", &self.api.redis_prefix),
            ("STELLAR_NETWORK", "testnet"),
            ("LOG_FORMAT", "json"),
        ];
        let (code, log) =
            Program::run(binary("auth-api"), &[&["admin"], args].concat(), &env).await;
        Output { code, stdout: log.stdout(), log }
    }

    /// Sets the creation and the last use of a session to `created` and `used` minutes ago.
    async fn age(&self, session: &str, created: u32, used: u32) {
        self.database
            .execute(&format!(
                "UPDATE sessions SET created_at = now() - interval '{created} minutes',
                     last_seen_at = now() - interval '1 minute' * CASE WHEN token_hash IS NULL THEN {created} ELSE {used} END
                 WHERE id = '{session}';
                 UPDATE token_families SET rotated_at = now() - interval '{used} minutes' WHERE session_id = '{session}'"
            ))
            .await;
    }

    async fn live(&self) -> BTreeSet<String> {
        let live =
            "SELECT coalesce(string_agg(id::text, ' '), '') FROM sessions WHERE revoked_at IS NULL";
        self.database.one::<String>(live).await.split_whitespace().map(str::to_owned).collect()
    }

    async fn time(&self, minutes_ago: u32) -> String {
        let time = format!("SELECT to_json(now() - interval '{minutes_ago} minutes')::text");
        self.database.one::<String>(&time).await.trim_matches('"').to_owned()
    }
}

fn set<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn sessions_are_listed_as_a_table_or_as_api_json() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("token");
    let database = Database::create().await;
    let (code, made) = Program::run(binary("auth-api"), &["admin", "token"], &[]).await;
    assert_eq!(code, Some(0), "{}", made.stderr());
    std::fs::write(&file, made.stdout()).unwrap();
    let api = AuthApi::start(&database, &[("ADMIN_TOKEN_FILE", file.to_str().unwrap())]).await;
    let shell = Shell { database, api, redis: Redis::shared_url() };
    let wallet = Wallet::generate();
    let (first, second) = (shell.api.login(&wallet).await, shell.api.login(&wallet).await);
    shell.api.cookie_login(&Wallet::generate()).await;
    let agent = "UPDATE sessions SET user_agent = E'tool\\u001b[31m' || chr(7) || '/1' WHERE token_hash IS NOT NULL";
    shell.database.execute(agent).await;

    let over_http = |query: &str| {
        let request = shell.api.client.get(shell.api.admin(&format!("/admin/sessions{query}")));
        shell.api.send(request.bearer_auth(made.stdout().trim()))
    };
    for (args, query) in [
        (vec![], ""),
        (vec!["--order", "activity"], "?order=activity"),
        (vec!["--limit", "1"], "?limit=1"),
        (
            vec!["--limit", "1", "--after", &second.session_id],
            &format!("?limit=1&after={}", second.session_id),
        ),
        (vec!["--account", wallet.address()], &format!("?account={}", wallet.address())),
        (
            vec!["--transport", "cookie", "--younger-than", "1d"],
            "?transport=cookie&younger_than=1d",
        ),
        (vec!["--ip", "127.0.0.0/8", "--older-than", "0s"], "?ip=127.0.0.0/8&older_than=0s"),
        (vec!["--created-before", "2020-01-01T00:00:00Z"], "?created_before=2020-01-01T00:00:00Z"),
    ] {
        let output =
            shell.run(&[&["sessions", "--output", "json"], args.as_slice()].concat()).await;
        assert_eq!(output.json(), over_http(query).await.body, "{args:?}");
        assert_eq!(output.log.log_events("admin_list")[0]["via"], "shell");
    }

    let output = shell.run(&["sessions"]).await;
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}", output.stdout);
    let heads =
        ["SESSION", "ACCOUNT", "TRANSPORT", "DEVICE", "IP", "CREATED", "LAST SEEN", "EXPIRES"];
    assert!(heads.iter().all(|head| lines[0].contains(head)), "{}", output.stdout);
    assert!(
        lines[2].contains(&second.session_id) && lines[2].contains(wallet.address()),
        "{}",
        output.stdout
    );
    assert!(lines[1].contains("cookie") && lines[1].contains("tool[31m/1"), "{:?}", lines[1]);
    assert!(
        !output.stdout.contains(['\u{1b}', '\u{7}']),
        "the table contains no terminal control characters"
    );
    let output = shell.run(&["sessions", "--limit", "2"]).await;
    assert!(
        output.stdout.contains(&format!("there are more: --after {}", second.session_id)),
        "{}",
        output.stdout
    );
    assert!(!output.stdout.contains(&first.session_id));
}

#[tokio::test]
async fn generated_tokens_are_long_and_unique() {
    let mut tokens = BTreeSet::new();
    for _ in 0..2 {
        let (code, made) = Program::run(binary("auth-api"), &["admin", "token"], &[]).await;
        assert_eq!(code, Some(0), "{}", made.stderr());
        assert_eq!(made.stdout().trim().len(), 43);
        tokens.insert(made.stdout());
    }
    assert_eq!(tokens.len(), 2);
}

#[tokio::test]
async fn invalid_token_file_is_a_configuration_error() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("token");
    let path = file.to_str().unwrap();
    for (content, why) in [
        (None, "No such file"),
        (Some(""), "shorter than 32 characters"),
        (Some("  \n"), "shorter than 32 characters"),
        (Some("0123456789012345678901234567890\n"), "shorter than 32 characters"),
        (Some("0123456789012345 67890123456789012"), "one word of visible ASCII"),
        (Some("ä123456789012345678901234567890123"), "one word of visible ASCII"),
    ] {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let (code, program) =
            Program::run(binary("auth-api"), &["config", "--admin-token-file", path], &[]).await;
        assert_eq!(code, Some(78));
        let line = program
            .stderr()
            .lines()
            .find(|line| line.contains("ADMIN_TOKEN_FILE"))
            .unwrap()
            .to_owned();
        assert!(line.contains(path) && line.contains(why), "{line}");
    }
}

#[tokio::test]
async fn revoke_ends_one_session_or_all_of_an_account() {
    let shell = Shell::open().await;
    let (wallet, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (shell.api.login(&wallet).await, shell.api.login(&wallet).await);
    let others = shell.api.login(&other).await;
    let output = shell.run(&["revoke", &first.session_id]).await;
    assert_eq!(
        (output.code, output.stdout.trim()),
        (Some(0), "revoked 1 sessions"),
        "{}",
        output.log.stderr()
    );
    let event = json!({
        "event": "admin_revoke", "who": "admin", "via": "shell",
        "filters": format!("session={}", first.session_id), "matched": 1, "revoked": 1, "dry_run": false,
    });
    assert_eq!(output.log.log_events("admin_revoke"), [event]);
    assert_eq!(output.log.log_events("revoke")[0]["reason"], "admin");
    shell.api.denies(&first.access).await;
    shell.run(&["revoke", &first.session_id]).await.failed(1, "there is no such session");

    let output = shell.run(&["revoke", "--account", wallet.address(), "--output", "json"]).await;
    assert_eq!(output.json(), json!({ "revoked": 1 }));
    shell.api.denies(&second.access).await;
    assert_eq!(shell.api.session(&others.access).await.status, 200);

    let nobody = Wallet::generate();
    shell
        .run(&["revoke", "--account", nobody.address()])
        .await
        .failed(1, "there is no such account");
    shell.run(&["revoke", "--account", "somebody"]).await.failed(2, "neither a wallet's address");
    shell.run(&["revoke"]).await.failed(2, "SESSION_ID");
    shell.run(&["revoke", "1"]).await.failed(2, "SESSION_ID");
    shell
        .run(&["revoke", &others.session_id, "--account", other.address()])
        .await
        .failed(2, "cannot be used with");
    assert_eq!(shell.live().await, set([&others.session_id]));
}

#[tokio::test]
async fn revoke_matching_requires_a_selection_and_confirmation() {
    let shell = Shell::open().await;
    let (one, other) = (Wallet::generate(), Wallet::generate());
    let (first, second) = (shell.api.login(&one).await, shell.api.login(&other).await);
    shell.run(&["revoke-matching", "--all"]).await.failed(2, "--dry-run");
    shell
        .run(&["revoke-matching", "--all", "--yes", "--dry-run"])
        .await
        .failed(2, "cannot be used with");
    shell.run(&["revoke-matching", "--yes"]).await.failed(2, "either a filter or --all");
    shell
        .run(&["revoke-matching", "--all", "--transport", "token", "--yes"])
        .await
        .failed(2, "either a filter or --all");
    shell
        .run(&["revoke-matching", "--transport", "x", "--yes"])
        .await
        .failed(2, "transport: expected token or cookie");
    // The clock was set back: for the database, one session is created in the future. It is live
    // nevertheless.
    let ahead = format!(
        "UPDATE sessions SET created_at = now() + interval '5 minutes' WHERE id = '{}'",
        first.session_id
    );
    shell.database.execute(&ahead).await;
    let output = shell.run(&["revoke-matching", "--all", "--dry-run"]).await;
    assert_eq!(
        (output.code, output.stdout.trim()),
        (Some(0), "would revoke 2 sessions"),
        "{}",
        output.log.stderr()
    );
    assert_eq!(shell.live().await.len(), 2);
    let output = shell
        .run(&["revoke-matching", "--account", one.address(), "--yes", "--output", "json"])
        .await;
    assert_eq!(output.json(), json!({ "matched": 1, "revoked": 1, "dry_run": false }));
    shell.api.denies(&first.access).await;
    assert_eq!(shell.api.session(&second.access).await.status, 200);
    let output = shell.run(&["revoke-matching", "--all", "--yes"]).await;
    assert_eq!(output.stdout.trim(), "revoked 1 sessions");
    shell.api.denies(&second.access).await;
}

#[tokio::test]
async fn revoke_since_ends_sessions_created_or_used_since_a_leak() {
    let shell = Shell::open().await;
    let wallet = Wallet::generate();
    let mut sessions = Vec::new();
    // Minutes since the creation and since the last use. The leak began 120 minutes ago.
    for (created, used) in [(600, 600), (600, 200), (600, 140), (600, 60), (100, 100)] {
        let mut tokens = shell.api.login(&wallet).await;
        if used != created {
            tokens = shell.api.refresh(&tokens.refresh).await.tokens();
        }
        shell.age(&tokens.session_id, created, used).await;
        sessions.push(tokens);
    }
    let mut cookies = Vec::new();
    for (created, used) in [(600, 200), (600, 60)] {
        let before = shell.live().await;
        cookies.push(shell.api.cookie_login(&wallet).await);
        let id = shell.live().await.difference(&before).next().unwrap().clone();
        shell.age(&id, created, used).await;
    }
    let leak = shell.time(120).await;
    let output = shell.run(&["revoke-since", &leak, "--dry-run", "--output", "json"]).await;
    assert_eq!(output.json(), json!({ "matched": 4, "revoked": 0, "dry_run": true }));
    assert_eq!(shell.live().await.len(), 7);
    let output = shell.run(&["revoke-since", &leak]).await;
    assert!(
        output.stdout.starts_with("revoked 4 sessions: active_since="),
        "{}{}",
        output.stdout,
        output.log.stderr()
    );
    for (at, tokens) in sessions.iter().enumerate() {
        // The session that was last used 140 minutes ago is revoked, too: the command also covers
        // the half hour before the leak.
        if at < 2 {
            assert_eq!(shell.api.session(&tokens.access).await.status, 200, "{at}");
            assert_eq!(shell.api.refresh(&tokens.refresh).await.status, 200, "{at}");
        } else {
            shell.api.denies(&tokens.access).await;
            shell.api.refresh(&tokens.refresh).await.is_problem(401, "refresh_refused");
        }
    }
    assert_eq!(shell.api.with_cookie("GET", "/auth/session", &cookies[0]).await.status, 200);
    shell
        .api
        .with_cookie("GET", "/auth/session", &cookies[1])
        .await
        .is_problem(401, "unauthenticated");
    shell.run(&["revoke-since", "yesterday", "--yes"]).await.failed(2, "expected a time such as");
    shell.run(&["revoke-since", "2999-01-01T00:00:00Z", "--yes"]).await.failed(2, "future");
    shell.run(&["revoke-since", &leak, "--yes", "--dry-run"]).await.failed(2, "--dry-run");
}

#[tokio::test]
async fn revoke_since_ends_sessions_restored_from_a_backup() {
    let shell = Shell::open().await;
    let wallet = Wallet::generate();
    let (stolen, idle) = (shell.api.login(&wallet).await, shell.api.login(&wallet).await);
    // The backup contains both sessions as live.
    shell
        .database
        .execute("CREATE TABLE kept AS TABLE sessions; CREATE TABLE kept_families AS TABLE token_families")
        .await;
    let backup = shell.time(0).await;
    // After the backup, the stolen copy was detected and its session revoked.
    assert_eq!(shell.api.refresh(&stolen.refresh).await.status, 200);
    assert_eq!(shell.api.logout(&stolen.access).await.status, 204);
    shell
        .database
        .execute(
            "TRUNCATE sessions, token_families; INSERT INTO sessions TABLE kept; INSERT INTO token_families TABLE kept_families;
             DROP TABLE kept, kept_families",
        )
        .await;
    let honest = shell.api.login(&Wallet::generate()).await;
    // The restored database accepts the stolen token again, so its session has to be revoked.
    let revived = shell.api.refresh(&stolen.refresh).await.tokens();
    shell.age(&idle.session_id, 90_000, 90_000).await;

    let output =
        shell.run(&["revoke-since", &backup, "--restored", "--yes", "--output", "json"]).await;
    assert_eq!(output.json(), json!({ "matched": 2, "revoked": 2, "dry_run": false }));
    shell.api.denies(&revived.access).await;
    shell.api.denies(&idle.access).await;
    for token in [&stolen.refresh, &revived.refresh, &idle.refresh] {
        shell.api.refresh(token).await.is_problem(401, "refresh_refused");
    }
    assert_eq!(shell.api.session(&honest.access).await.status, 200);
}

#[tokio::test]
async fn revocation_without_redis_ends_sessions_and_exits_1() {
    let mut shell = Shell::open().await;
    let wallet = Wallet::generate();
    let tokens = shell.api.login(&wallet).await;
    shell.api.login(&wallet).await;
    shell
        .database
        .execute(
            "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
             SELECT gen_random_uuid(), id, now() + interval '1 hour', now() + interval '1 hour' FROM accounts, generate_series(1, 1200)",
        )
        .await;
    let reachable =
        std::mem::replace(&mut shell.redis, format!("redis://127.0.0.1:{}", testkit::free_port()));
    shell.run(&["revoke", &tokens.session_id]).await.failed(1, "Redis was not told");
    shell.api.session(&tokens.access).await.is_problem(401, "unauthenticated");
    assert_eq!(shell.live().await.len(), 1201);
    shell
        .run(&["revoke-matching", "--all", "--yes"])
        .await
        .failed(1, "1201 sessions: what was revoked is revoked");
    assert_eq!(shell.live().await.len(), 0);
    shell.redis = reachable;

    let (code, _) = Program::run(binary("auth-api"), &["admin", "sessions"], &[]).await;
    assert_eq!(code, Some(78));
    let nowhere = ["admin", "sessions", "--database-url", "postgres://nobody@127.0.0.1:1/none"];
    let env = [("REDIS_URL", shell.redis.as_str()), ("REDIS_PREFIX", "p")];
    let (code, _) = Program::run(binary("auth-api"), &nowhere, &env).await;
    assert_eq!(code, Some(69));
}
