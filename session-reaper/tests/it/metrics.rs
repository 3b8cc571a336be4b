//! The daemon's metrics as a whole: Prometheus accepts them, docs/metrics.md documents them, and
//! they survive a restart. Other tests check what each metric measures.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hardening::revision::REVISION;
use serde_json::{Value, json};
use testkit::{
    Database, Metrics, Program, documented, eventually, expired_sessions, promtool, reap, scraped,
    start_reaper, without_database,
};

/// Schedules no run during a test.
const NEVER: (&str, &str) = ("SCHEDULE", "0 0 1 1 *");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

struct Daemon {
    _program: Program,
    ops: String,
}

impl Daemon {
    async fn start(database: &Database, env: &[(&str, &str)]) -> Self {
        let mut program = start_reaper(database, &["daemon"], env);
        let ops = program.log_event("listening").await["ops"].as_str().unwrap().to_owned();
        Self { _program: program, ops }
    }

    async fn scrape(&self) -> String {
        reqwest::get(format!("http://{}/metrics", self.ops)).await.unwrap().text().await.unwrap()
    }
}

/// Returns the value of a series, which must exist.
fn value(text: &str, series: &str) -> f64 {
    let text = without_database(text);
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn promtool_accepts_a_scrape() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let daemon = Daemon::start(&database, &[("SCHEDULE", "* * * * * *")]).await;
    let first = daemon.scrape().await;
    eventually("a run has succeeded", async || {
        value(&daemon.scrape().await, "session_reaper_runs_total{outcome=\"success\"}") >= 1.0
    })
    .await;
    for scrape in [first, daemon.scrape().await] {
        assert_eq!(promtool(&["check", "metrics"], &scrape), (true, String::new()));
    }
}

#[test]
fn alert_rules_are_valid_and_pass_their_tests() {
    for args in [
        ["check", "rules", "deploy/prometheus/alerts.yml"],
        ["test", "rules", "deploy/prometheus/alerts_test.yml"],
    ] {
        let (passed, output) = promtool(&args, "");
        assert!(passed, "{args:?}: {output}");
    }
}

#[tokio::test]
async fn metrics_page_matches_a_scrape() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    let mut documented = documented("session_reaper_");
    // This metric exists only after a replica has been checked. Its label is the name of the
    // replica.
    let lag = documented.remove("session_reaper_replica_lag_seconds");
    assert_eq!(lag, Some(("gauge".to_owned(), BTreeSet::from(["replica".to_owned()]))));
    // This metric exists only for targets that set columns.
    let changed = documented.remove("session_reaper_rows_changed_total");
    let labels = ["target", "reason"].map(str::to_owned);
    assert_eq!(changed, Some(("counter".to_owned(), BTreeSet::from(labels))));
    let scrape = daemon.scrape().await;
    let label = format!("database=\"{}\"", database.name());
    for series in scrape.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(series.contains(&label), "{series}");
    }
    let (ours, of_process): (Metrics, Metrics) = scraped(&without_database(&scrape))
        .into_iter()
        .partition(|(name, _)| name.starts_with("session_reaper_"));
    assert_eq!(ours, documented);
    let revision = format!("revision=\"{REVISION}\"");
    let mut series = scrape.lines().filter(|line| line.starts_with("session_reaper_build_info{"));
    assert!(series.any(|series| series.contains(&revision)), "{scrape}");
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(of_process.contains_key(name), "{name}: {of_process:?}");
    }
}

#[test]
fn alerts_have_runbooks_and_use_existing_metrics() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let (alerts, runbook) = (read("deploy/prometheus/alerts.yml"), read("docs/operations.md"));
    let names: Vec<&str> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        assert!(
            runbook.contains(&format!("\n### {name}\n")),
            "docs/operations.md has no section on {name}"
        );
        assert!(
            alerts.contains(&format!("docs/operations.md#{}\n", name.to_lowercase())),
            "{name} has no link to its runbook"
        );
    }
    let mut documented = documented("session_reaper_");
    documented.extend(testkit::documented("auth_api_"));
    for text in [alerts, read("deploy/grafana/dashboard.json")] {
        let uses =
            ["session_reaper_", "auth_api_"].iter().flat_map(|prefix| text.match_indices(prefix));
        for at in uses.map(|(at, _)| at) {
            let name: String = text[at..]
                .chars()
                .take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_')
                .collect();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(&name);
            assert!(documented.contains_key(base), "there is no metric {name}");
        }
    }
}

/// Returns every value of `key` in a JSON document.
fn values<'a>(json: &'a Value, key: &str) -> Vec<&'a str> {
    match json {
        Value::Array(items) => items.iter().flat_map(|item| values(item, key)).collect(),
        Value::Object(fields) => {
            let own = fields.get(key).and_then(Value::as_str);
            own.into_iter().chain(fields.values().flat_map(|field| values(field, key))).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn dashboard_separates_databases() {
    let path = repository().join("deploy/grafana/dashboard.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "database"), "{variables:?}");
    let queries = values(&dashboard["panels"], "expr");
    assert!(queries.len() > 20, "{queries:?}");
    for query in queries.iter().filter(|query| query.contains("session_reaper_")) {
        for (at, prefix) in query.match_indices("session_reaper_") {
            let rest = query[at + prefix.len()..].trim_start_matches(|c: char| c != '{');
            assert!(rest.starts_with("{database=~\"$database\""), "{query}");
        }
        let aggregations = query.matches("max").count() + query.matches("sum").count();
        assert_eq!(query.matches(" by (database").count(), aggregations, "{query}");
    }
    // Prometheus accepts the queries.
    let rule = |query: &&str| {
        let query = query.replace("$__rate_interval", "5m");
        json!({"record": "panel", "expr": query, "labels": {"query": query}})
    };
    let rules: Vec<Value> = queries.iter().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    std::fs::write(file.path(), groups.to_string()).unwrap();
    let (passed, output) = promtool(&["check", "rules", file.path().to_str().unwrap()], "");
    assert!(passed, "{output}");
}

#[tokio::test]
async fn exported_interval_includes_the_jitter() {
    let database = Database::create().await;
    let env = [("SCHEDULE", "0 * * * *"), ("JITTER", "10m")];
    let scrape = Daemon::start(&database, &env).await.scrape().await;
    let interval = value(&scrape, "session_reaper_interval_seconds");
    assert!((interval - 4_200.0).abs() < 0.001, "{interval}");
}

#[tokio::test]
async fn restarted_daemon_exports_the_last_success() {
    let database = Database::create().await;
    assert_eq!(reap(&database, &[]).await.code, Some(0));
    database
        .execute(
            "UPDATE reaper_runs SET started_at = now() - interval '3 hours', finished_at = now() - interval '2 hours';
             INSERT INTO reaper_runs (id, instance, version, trigger, started_at, finished_at, outcome)
             SELECT gen_random_uuid(), instance, version, trigger, now() - interval '1 hour', now() - interval '50 min', 'failed'
             FROM reaper_runs",
        )
        .await;
    let finished = async |outcome: &str| {
        let sql = "SELECT extract(epoch FROM finished_at)::float8 FROM reaper_runs WHERE outcome =";
        database.one::<f64>(&format!("{sql} '{outcome}'")).await
    };
    let daemon = Daemon::start(&database, &[NEVER]).await;
    for (series, expected) in [
        ("session_reaper_last_success_timestamp_seconds", finished("success").await),
        ("session_reaper_last_completion_timestamp_seconds", finished("failed").await),
    ] {
        eventually(series, async || {
            (value(&daemon.scrape().await, series) - expected).abs() < 0.001
        })
        .await;
    }
}
