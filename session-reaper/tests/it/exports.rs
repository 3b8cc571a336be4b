//! `run --textfile` and `run --pushgateway`: the metrics that a single run exports to Prometheus.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;
use testkit::{
    Database, Program, Proxy, Received, Receiver, binary, expired_sessions, free_port, reap,
    without_database,
};

const SUCCESS: &str = "session_reaper_last_success_timestamp_seconds";
const COMPLETION: &str = "session_reaper_last_completion_timestamp_seconds";
const DELETED: &str = "session_reaper_last_run_deleted_rows{target=\"sessions\"}";
const ALL_DELETED: &str =
    "session_reaper_rows_deleted_total{target=\"sessions\",reason=\"expired\"}";

/// Returns the value of a series, or `None` if it does not exist.
fn value(text: &str, series: &str) -> Option<f64> {
    let text = without_database(text);
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(value.parse().unwrap())
}

fn is(text: &str, series: &str, expected: f64) {
    let value = value(text, series);
    assert!(
        value.is_some_and(|value| (value - expected).abs() < 1e-9),
        "{series} is {value:?}, not {expected}:\n{text}"
    );
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn path(directory: &TempDir) -> (std::path::PathBuf, String) {
    let path = directory.path().join("session_reaper.prom");
    (path.clone(), path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn textfile_is_world_readable_and_the_only_file_left() {
    let database = Database::create().await;
    expired_sessions(&database, 150).await;
    let directory = TempDir::new().unwrap();
    let (path, text) = path(&directory);
    let run = reap(&database, &[("TEXTFILE", &text)]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    let written = read(&path);
    is(&written, DELETED, 150.0);
    is(&written, ALL_DELETED, 150.0);
    is(&written, "session_reaper_runs_total{outcome=\"success\"}", 1.0);
    is(&written, "session_reaper_backlog_rows{target=\"sessions\",reason=\"expired\"}", 0.0);
    is(&written, "session_reaper_export_failures_total{exporter=\"textfile\"}", 0.0);
    let now: f64 = database.one("SELECT extract(epoch FROM now())::float8").await;
    for series in [SUCCESS, COMPLETION] {
        let age = now - value(&written, series).unwrap();
        assert!((-1.0..120.0).contains(&age), "{series} is {age} s old");
    }
    // Metrics that describe only a running process are not exported.
    for name in ["throttled", "lock_held", "interval_seconds", "chunk_size_rows"] {
        assert!(!written.contains(&format!("session_reaper_{name}")), "{name}: {written}");
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["session_reaper.prom"]);
}

#[tokio::test]
async fn counters_accumulate_and_gauges_are_from_the_last_run() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let (path, text) = path(&directory);
    for (rows, all) in [(150, 150.0), (20, 170.0), (0, 170.0)] {
        database.execute("TRUNCATE accounts CASCADE").await;
        expired_sessions(&database, rows).await;
        assert_eq!(reap(&database, &[("TEXTFILE", &text)]).await.code, Some(0));
        let written = read(&path);
        is(&written, ALL_DELETED, all);
        is(&written, DELETED, f64::from(i32::try_from(rows).unwrap()));
    }
    let written = read(&path);
    is(&written, "session_reaper_runs_total{outcome=\"success\"}", 3.0);
    is(&written, "session_reaper_run_duration_seconds_count", 3.0);
    is(&written, "session_reaper_run_duration_seconds_bucket{le=\"+Inf\"}", 3.0);
}

#[tokio::test]
async fn failed_run_keeps_last_success_and_unmeasured_values() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions WHERE user_agent = '3' FOR UPDATE")
        .await
        .unwrap();
    let directory = TempDir::new().unwrap();
    let (path, text) = path(&directory);
    assert_eq!(reap(&database, &[("TEXTFILE", &text)]).await.code, Some(0));
    let before = read(&path);

    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    proxy.cut();
    let run = reap(&database, &[("TEXTFILE", &text), ("DATABASE_URL", &url)]).await;
    assert_eq!(run.code, Some(69), "{}", run.stderr);
    let after = read(&path);
    let backlog = "session_reaper_backlog_rows{target=\"sessions\",reason=\"expired\"}";
    let sampled = "session_reaper_backlog_sampled_timestamp_seconds{target=\"sessions\"}";
    for series in [SUCCESS, backlog, sampled] {
        assert!(value(&before, series).unwrap() > 0.0, "{series}: {before}");
        assert_eq!(value(&after, series), value(&before, series), "{series}");
    }
    assert!(value(&after, COMPLETION) > value(&before, COMPLETION));
    is(&after, "session_reaper_runs_total{outcome=\"success\"}", 1.0);
    is(&after, "session_reaper_runs_total{outcome=\"failed\"}", 1.0);
    is(&after, DELETED, 0.0);
}

#[tokio::test]
async fn failed_first_run_exports_no_success() {
    let directory = TempDir::new().unwrap();
    let (path, text) = path(&directory);
    let url = format!("postgres://nobody@127.0.0.1:{}/nowhere", free_port());
    let env = [("DATABASE_URL", url.as_str()), ("TEXTFILE", &text)];
    let (code, program) = Program::run(binary("session-reaper"), &["run"], &env).await;
    assert_eq!(code, Some(69), "{}", program.stderr());
    let written = read(&path);
    assert!(
        value(&written, COMPLETION).is_some()
            && !written.contains(SUCCESS)
            && !written.contains("backlog"),
        "{written}"
    );
}

#[tokio::test]
async fn unwritable_file_is_logged_and_does_not_fail_the_run() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("not/there.prom");
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below_a_file = file.join("metrics.prom");
    // Not even root can create a file in /proc.
    let read_only = Path::new("/proc/session_reaper.prom");
    let pushgateway = Receiver::answering(&[(200, "")]).await;
    let push = format!("http://{}", pushgateway.address());
    for path in [missing.as_path(), &below_a_file, read_only] {
        expired_sessions_again(&database).await;
        let text = path.to_str().unwrap();
        let run = reap(&database, &[("TEXTFILE", text), ("PUSHGATEWAY", &push)]).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.report["outcome"], "success");
        let logged: Vec<&str> =
            run.stderr.lines().filter(|line| line.contains("metrics_write_failed")).collect();
        assert!(logged.len() == 1 && logged[0].contains(text), "{}", run.stderr);
    }
    assert_eq!(pushgateway.received().len(), 3, "a failed file export does not affect the push");
}

async fn expired_sessions_again(database: &Database) {
    database.execute("TRUNCATE accounts CASCADE").await;
    expired_sessions(database, 5).await;
}

#[tokio::test]
async fn file_name_without_prom_suffix_causes_a_warning() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    for (name, warned) in [("reaper.prom", false), ("reaper.txt", true)] {
        let path = directory.path().join(name);
        let run = reap(&database, &[("TEXTFILE", path.to_str().unwrap())]).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.stderr.contains("textfile_name"), warned, "{}", run.stderr);
        assert!(read(&path).contains(SUCCESS));
    }
}

#[tokio::test]
async fn file_with_other_content_is_replaced() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let (path, text) = path(&directory);
    for garbage in
        [&b"what is this\nsession_reaper_runs_total{outcome=\"success\"} x\n"[..], &[0xff, 0xfe, 0]]
    {
        std::fs::write(&path, garbage).unwrap();
        let run = reap(&database, &[("TEXTFILE", &text)]).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        is(&read(&path), "session_reaper_runs_total{outcome=\"success\"}", 1.0);
        assert!(!read(&path).contains("what is this"));
    }
}

async fn pushed(
    database: &Database,
    answers: &[(u16, &str)],
    env: &[(&str, &str)],
) -> (testkit::Reaped, Vec<Received>) {
    let gateway = Receiver::answering(answers).await;
    let url = format!("http://{}", gateway.address());
    let run = reap(database, &[&[("PUSHGATEWAY", url.as_str())], env].concat()).await;
    (run, gateway.received())
}

#[tokio::test]
async fn run_pushes_its_gauges_to_its_group() {
    let database = Database::create().await;
    expired_sessions(&database, 30).await;
    let (run, received) = pushed(&database, &[(200, "")], &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let [push] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(push.method, "POST", "a PUT would delete the series that a failed run omits");
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(push.path, format!("/metrics/job/session_reaper/instance/{}", host.trim()));
    assert_eq!(push.header("content-type"), Some("text/plain; version=0.0.4"));
    let text = push.text();
    is(&text, DELETED, 30.0);
    assert!(value(&text, SUCCESS).is_some() && value(&text, COMPLETION).is_some(), "{text}");
    assert!(
        !text.contains(" counter\n") && !text.contains(" histogram\n") && text.ends_with('\n'),
        "{text}"
    );
}

#[tokio::test]
async fn failed_run_does_not_overwrite_the_last_success() {
    let gateway = Receiver::answering(&[(202, "")]).await;
    let database = format!("postgres://nobody@127.0.0.1:{}/nowhere", free_port());
    let url = format!("http://{}/metrics/job/mine/instance/db-1", gateway.address());
    let env = [("DATABASE_URL", database.as_str()), ("PUSHGATEWAY", &url)];
    let (code, program) = Program::run(binary("session-reaper"), &["run"], &env).await;
    assert_eq!(code, Some(69), "{}", program.stderr());
    let received = gateway.received();
    let [push] = received.as_slice() else { panic!("{received:?}") };
    assert_eq!(
        (push.method.as_str(), push.path.as_str()),
        ("POST", "/metrics/job/mine/instance/db-1")
    );
    let text = push.text();
    assert!(
        value(&text, COMPLETION).is_some() && !text.contains(SUCCESS) && !text.contains("backlog"),
        "{text}"
    );
}

#[tokio::test]
async fn password_in_the_url_is_sent_and_never_logged() {
    let database = Database::create().await;
    for answer in [(200, ""), (403, "go away")] {
        let gateway = Receiver::answering(&[answer]).await;
        let url = format!("http://pusher:hunter%402@{}/prefix/", gateway.address());
        let run = reap(&database, &[("PUSHGATEWAY", &url), ("RUST_LOG", "trace")]).await;
        assert_eq!(run.code, Some(0));
        let received = gateway.received();
        let [push] = received.as_slice() else { panic!("{received:?}") };
        assert_eq!(
            push.header("authorization"),
            Some("Basic cHVzaGVyOmh1bnRlckAy"),
            "pusher:hunter@2"
        );
        assert!(
            push.path.starts_with("/prefix/metrics/job/session_reaper/instance/"),
            "{}",
            push.path
        );
        assert!(
            !run.stderr.contains("hunter") && !run.stderr.contains("cHVzaGVyOmh1bnRlckAy"),
            "{}",
            run.stderr
        );
        assert!(run.stderr.contains(gateway.address()), "{}", run.stderr);
    }
}

#[tokio::test]
async fn rejected_push_is_logged_and_not_retried() {
    let database = Database::create().await;
    let directory = TempDir::new().unwrap();
    let (path, text) = path(&directory);
    let (run, received) =
        pushed(&database, &[(400, "text format parsing error\n")], &[("TEXTFILE", &text)]).await;
    assert_eq!(run.code, Some(0));
    assert_eq!(run.report["outcome"], "success");
    assert_eq!(received.len(), 1);
    assert!(run.stderr.contains("400 Bad Request: text format parsing error"), "{}", run.stderr);
    is(&read(&path), "session_reaper_export_failures_total{exporter=\"pushgateway\"}", 1.0);
}

#[tokio::test]
async fn restarting_pushgateway_is_retried() {
    let database = Database::create().await;
    let (run, received) = pushed(&database, &[(503, ""), (500, ""), (200, "")], &[]).await;
    assert_eq!(run.code, Some(0));
    assert_eq!(received.len(), 3);
    assert!(!run.stderr.contains("metrics_push_failed"), "{}", run.stderr);
}

#[tokio::test]
async fn unreachable_or_silent_pushgateway_times_out() {
    let database = Database::create().await;
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let run = reap(&database, &[("PUSHGATEWAY", &nobody)]).await;
    assert_eq!(run.code, Some(0));
    assert!(
        run.stderr.contains("metrics_push_failed") && run.stderr.contains("refused"),
        "{}",
        run.stderr
    );

    // The program has a timeout of its own. Without this timeout, the run would never end.
    let (run, received) = pushed(&database, &[], &[]).await;
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("no answer within 10s"), "{}", run.stderr);
    assert!((1..=4).contains(&received.len()), "{received:?}");
}

#[tokio::test]
async fn proxy_in_the_environment_is_ignored() {
    let database = Database::create().await;
    let proxy = Receiver::answering(&[(200, "")]).await;
    let url = format!("http://{}", proxy.address());
    let (run, received) =
        pushed(&database, &[(200, "")], &[("HTTP_PROXY", &url), ("http_proxy", &url)]).await;
    assert_eq!((run.code, received.len(), proxy.received().len()), (Some(0), 1, 0));
}

#[tokio::test]
async fn invalid_export_destination_is_rejected_before_the_run() {
    let directory = TempDir::new().unwrap();
    for (variable, value, right) in [
        ("PUSHGATEWAY", "pushgateway", "http://pushgateway:9091"),
        ("PUSHGATEWAY", "ftp://user:hunter2@host", "not http:// or https://"),
        ("PUSHGATEWAY", "http://user:hunter2@host:9091/?job=x", "no ? and no #"),
        ("TEXTFILE", directory.path().to_str().unwrap(), "a file, such as"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "http://collector:4318"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://user:hunter2@collector:4318",
            "OTEL_EXPORTER_OTLP_HEADERS",
        ),
    ] {
        let env = [("DATABASE_URL", "postgres://me@127.0.0.1:1/none"), (variable, value)];
        let (code, program) = Program::run(binary("session-reaper"), &["run"], &env).await;
        let stderr = program.stderr();
        assert_eq!(code, Some(78), "{variable}={value}: {stderr}");
        assert!(
            stderr.contains(variable) && stderr.contains(right) && !stderr.contains("hunter2"),
            "{stderr}"
        );
    }
}
