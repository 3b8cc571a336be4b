//! Configuration, and errors that end the program before a run starts.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Program, binary, free_port, reap};

/// A database URL with a port on which no server listens.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/nowhere";

async fn fails_to_start(args: &[&str], env: &[(&str, &str)]) -> (Option<i32>, String) {
    let (code, program) = Program::run(binary("session-reaper"), args, env).await;
    assert_eq!(program.stdout(), "");
    (code, program.stderr())
}

#[tokio::test]
async fn unreachable_database_exits_with_69() {
    let url = format!("postgres://nobody:hunter2@127.0.0.1:{}/nowhere", free_port());
    for command in ["run", "check", "migrate"] {
        let (code, stderr) = fails_to_start(&[command], &[("DATABASE_URL", &url)]).await;
        assert_eq!(code, Some(69), "{stderr}");
        assert!(
            stderr.contains("cannot connect to PostgreSQL") && !stderr.contains("hunter2"),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn invalid_configuration_exits_with_78_and_lists_every_error() {
    let wrong = [
        ("DATABASE_URL", "mysql://user:hunter2@host/name"),
        ("CHUNK_TIME", "soon"),
        ("MAX_CHUNK", "0"),
        ("DUTY_CYCLE", "1.5"),
        ("MAX_RUNTIME", "-1s"),
        ("MAX_ROWS", "many"),
        ("LOCK_TIMEOUT", "0s"),
        ("STATEMENT_TIMEOUT", "1ms"),
        ("KEEP_EXPIRED", "-1d"),
        ("KEEP_REVOKED", "59m"),
        ("KEEP_CHALLENGES", "9m"),
        ("KEEP_RUNS", "for ever"),
        ("SCHEDULE", "never"),
        ("TIMEZONE", "Mars/Olympus"),
        ("JITTER", "a bit"),
        ("OPS_BIND", "here"),
        ("OPS_HOSTS", "ops.internal, http://ops.internal:9081"),
        ("LOG_FORMAT", "xml"),
        ("RUST_LOG", "a=b=c"),
    ];
    let (code, stderr) = fails_to_start(&["daemon"], &wrong).await;
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.starts_with("session-reaper: the configuration has 19 mistakes:\n"), "{stderr}");
    for (name, value) in &wrong[1..] {
        assert!(stderr.contains(&format!("\n  {name}={value}: ")), "{name}: {stderr}");
    }
    assert!(stderr.contains("\n  DATABASE_URL: ") && !stderr.contains("hunter2"), "{stderr}");
    // The messages explain the bounds that protect auth-api.
    assert!(
        stderr.contains("the denylist is rebuilt from") && stderr.contains("could be used again"),
        "{stderr}"
    );
}

#[tokio::test]
async fn jitter_as_long_as_the_interval_is_rejected() {
    for (schedule, zone, jitter, why) in [
        ("*/15 * * * *", "UTC", "15m", "shorter than 15m, the shortest time between two runs"),
        // The day on which daylight saving time begins has 23 hours.
        (
            "0 3 * * *",
            "Europe/Berlin",
            "23h 30m",
            "shorter than 23h, the shortest time between two runs",
        ),
        ("@weekly", "UTC", "2days", "a duration from 0s to 1day"),
        ("@weekly", "UTC", "-1s", "a duration, such as 1m"),
    ] {
        let url = ("DATABASE_URL", "postgres://somebody@127.0.0.1/somewhere");
        let env = [url, ("SCHEDULE", schedule), ("TIMEZONE", zone), ("JITTER", jitter)];
        let (code, stderr) = fails_to_start(&["daemon"], &env).await;
        assert_eq!(code, Some(78));
        assert!(
            stderr.contains(&format!("\n  JITTER={jitter}: ")) && stderr.contains(why),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn schedule_error_names_the_invalid_field() {
    for (schedule, why) in [
        ("0 24 * * *", "hour: 24 is not from 0 to 23"),
        ("@reboot", "start `session-reaper run`"),
        ("0/15 * * * *", "0-59/15"),
    ] {
        let url = ("DATABASE_URL", "postgres://somebody@127.0.0.1/somewhere");
        let (code, stderr) = fails_to_start(&["daemon", "--schedule", schedule], &[url]).await;
        assert_eq!(code, Some(78));
        assert!(
            stderr.contains(&format!("\n  SCHEDULE={schedule}: ")) && stderr.contains(why),
            "{stderr}"
        );
    }
}

#[tokio::test]
async fn secret_on_the_command_line_is_rejected() {
    let secrets = [
        ("run", "DATABASE_URL", "--database-url", "postgres://user:hunter2@127.0.0.1/db"),
        (
            "run",
            "DATABASE_URL",
            "--database-url",
            "postgres://user@127.0.0.1/db?sslmode=verify-full&password=hunter2",
        ),
        (
            "run",
            "DATABASE_URL",
            "--database-url",
            "postgres://user:hunter2@127.0.0.1:1,127.0.0.1:2/db",
        ),
        ("run", "DATABASE_URL", "--database-url", "host=127.0.0.1 user=user password=hunter2"),
        ("run", "DATABASE_URL", "--database-url", "mysql://user:hunter2@127.0.0.1/db"),
        ("run", "PUSHGATEWAY", "--pushgateway", "https://user:hunter2@pushgateway.test"),
        ("run", "PUSHGATEWAY", "--pushgateway", "https://hunter2@pushgateway.test"),
        (
            "daemon",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "--otlp-endpoint",
            "http://collector.test:4318/?key=hunter2",
        ),
    ];
    let all = ["migrate", "check", "plan", "status", "discover", "pause", "resume", "daemon"];
    let of_all = all.map(|command| (command, secrets[0].1, secrets[0].2, secrets[0].3));
    for (command, variable, flag, value) in secrets.into_iter().chain(of_all) {
        let joined = format!("{flag}={value}");
        for args in [vec![command, flag, value], vec![command, joined.as_str()]] {
            let (code, stderr) = fails_to_start(&args, &[("DATABASE_URL", NOWHERE)]).await;
            assert_eq!(code, Some(78), "{args:?}: {stderr}");
            assert!(
                stderr.contains(&format!("\n  {variable}: ")) && !stderr.contains("hunter2"),
                "{args:?}: {stderr}"
            );
            let file = stderr.contains(&format!("{variable}_FILE"));
            assert_eq!(file, variable == "DATABASE_URL", "{args:?}: {stderr}");
        }
    }
}

/// With peer authentication, a client certificate or `trust`, the URL contains no password.
#[tokio::test]
async fn database_url_without_password_is_accepted_as_flag() {
    for url in [
        NOWHERE,
        "postgres://nobody@127.0.0.1:1,127.0.0.1:1/nowhere",
        "postgres://nobody@127.0.0.1:1/nowhere?sslmode=verify-full",
        "postgres:///nowhere?host=/nowhere&user=nobody",
        "host=127.0.0.1 port=1 user=nobody dbname=nowhere",
    ] {
        let (code, stderr) = fails_to_start(&["check", "--database-url", url], &[]).await;
        assert_eq!(code, Some(69), "{url}: {stderr}");
    }
    let args = ["run", "--database-url", NOWHERE, "--pushgateway", "http://127.0.0.1:1"];
    assert_eq!(fails_to_start(&args, &[]).await.0, Some(69));
}

#[tokio::test]
async fn unknown_option_is_a_usage_error() {
    assert_eq!(fails_to_start(&["run", "--fast"], &[]).await.0, Some(2));
}

#[tokio::test]
async fn database_url_can_come_from_a_file_but_not_twice() {
    let database = Database::create().await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{}\n", database.url_as("session_reaper"))).unwrap();
    let path = file.path().to_str().unwrap();
    let run = reap(&database, &[("DATABASE_URL", ""), ("DATABASE_URL_FILE", path)]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let both = reap(&database, &[("DATABASE_URL_FILE", path)]).await;
    assert_eq!(both.code, Some(78));
    assert!(both.stderr.contains("leave one of them out"), "{}", both.stderr);
}

#[tokio::test]
async fn help_has_an_example_for_each_command() {
    for command in ["run", "check", "daemon", "migrate"] {
        let (code, program) =
            Program::run(binary("session-reaper"), &[command, "--help"], &[]).await;
        assert_eq!(code, Some(0));
        assert!(
            program.stdout().contains("Example")
                && program.stdout().contains(&format!("session-reaper {command} "))
        );
    }
}
