//! Tables for which the planner could choose another plan than the one that the statements of a run
//! need.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, Server, binary, reap_by};

const T: &str =
    "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '10d' }]\n";

/// Inserts forty thousand rows. The order of their times differs from the order of their keys.
const ROWS: &str =
    "INSERT INTO t SELECT n, now() - (n * 7919 % 40000) * interval '2 minutes', repeat('x', 200)
                    FROM generate_series(1, 40000) AS n";

async fn vacuum(database: &Database) {
    database.client().await.batch_execute("VACUUM ANALYZE t").await.unwrap();
}

/// Returns the report of `check`, for which tables of more than 1,000 rows are large.
async fn check(database: &Database, config: &str, output: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, config) = (database.url(), file.path().to_str().unwrap());
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", config)];
    let args = ["check", "--output", output, "--max-scan-rows", "1000"];
    Program::run(binary("session-reaper"), &args, &env).await.1.stdout()
}

/// Returns the findings of the first target, except notes: the code and the remedy of each.
async fn findings(database: &Database, config: &str) -> Vec<(String, String)> {
    let report = check(database, config, "json").await;
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|_| panic!("{report}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["targets"][0]["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["level"] != "note")
        .map(|finding| (text(&finding["code"]), text(&finding["remedy"])))
        .collect()
}

async fn codes(database: &Database, config: &str) -> Vec<String> {
    findings(database, config).await.into_iter().map(|(code, _)| code).collect()
}

/// A server with a tablespace whose costs are those of a slow disk.
async fn server_with_a_slow_disk() -> (Server, Database) {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    let client = database.client().await;
    for statement in [
        "SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE slow LOCATION ''",
        "ALTER TABLESPACE slow SET (random_page_cost = 4)",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    (server, database)
}

#[tokio::test]
async fn index_on_the_due_column_is_used_beside_a_key_that_contains_it() {
    let database = Database::empty().await;
    database
        .execute(&format!(
            "CREATE TABLE t (id int, due timestamptz, pad text, PRIMARY KEY (id, due));
             CREATE INDEX ON t (due); {ROWS}"
        ))
        .await;
    vacuum(&database).await;
    let config = format!("{T}chunk = 5000\n");
    assert_eq!(codes(&database, &config).await, [""; 0]);
    let reaped = reap_by(&database, &config, &[("MAX_SCAN_ROWS", "1000")]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM t WHERE due < now() - interval '10 d'").await,
        0
    );
}

#[tokio::test]
async fn chunks_are_smaller_if_the_planner_would_use_another_index_for_large_ones() {
    let (_server, database) = server_with_a_slow_disk().await;
    database
        .execute(&format!(
            "SET default_tablespace = slow;
             CREATE TABLE t (id int, due timestamptz, pad text, PRIMARY KEY (id, due));
             CREATE INDEX ON t (due); {ROWS}"
        ))
        .await;
    vacuum(&database).await;
    let config = format!("{T}chunk = 5000\norder = 'index'\n");
    let found = findings(&database, &config).await;
    assert!(found.iter().any(|(code, _)| code == "small-chunks"), "{found:?}");
    assert!(!found.iter().any(|(code, _)| code == "other-index"), "{found:?}");
    let reaped = reap_by(&database, &config, &[("MAX_SCAN_ROWS", "1000")]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let result = reaped.target("t");
    let deleted = result["deleted"]["old"].as_u64().unwrap();
    assert!(deleted > 20_000, "{result}");
    assert!(result["chunks"].as_u64().unwrap() >= deleted / 2500, "{result}");

    database
        .execute(&format!("TRUNCATE t; {ROWS}; ALTER TABLESPACE slow RESET (random_page_cost)"))
        .await;
    vacuum(&database).await;
    assert_eq!(codes(&database, &config).await, [""; 0]);
}

#[tokio::test]
async fn slow_count_does_not_make_a_target_unsafe() {
    let (_server, database) = server_with_a_slow_disk().await;
    // The planner can count the rows with an index that does not contain the due column.
    database
        .execute(&format!(
            "SET default_tablespace = slow;
             CREATE TABLE t (id int PRIMARY KEY, due timestamptz, pad text);
             CREATE INDEX ON t (due) WHERE due IS NOT NULL;
             CREATE INDEX ON t (id) WHERE due IS NOT NULL; {ROWS}"
        ))
        .await;
    vacuum(&database).await;
    let config = format!("{T}chunk = 500\norder = 'index'\n");
    let found = findings(&database, &config).await;
    let codes_found: Vec<&str> = found.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes_found, ["slow-count"], "{found:?}");
    database.client().await.batch_execute(&found[0].1).await.unwrap();
    vacuum(&database).await;
    assert_eq!(codes(&database, &config).await, [""; 0]);
}

#[tokio::test]
async fn rule_that_replaces_a_delete_makes_a_target_unsafe() {
    let database = Database::empty().await;
    database
        .execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz, pad text); CREATE INDEX ON t (due, id);
             CREATE RULE keep AS ON DELETE TO t DO INSTEAD UPDATE t SET pad = NULL WHERE id = OLD.id; {ROWS}"
        ))
        .await;
    vacuum(&database).await;
    assert_eq!(codes(&database, T).await, ["delete-rule"]);
    let reaped = reap_by(&database, T, &[]).await;
    assert_eq!(reaped.code, Some(65), "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE pad IS NULL").await, 0);
    database.execute("DROP RULE keep ON t").await;
    assert_eq!(codes(&database, T).await, [""; 0]);
}

#[tokio::test]
async fn due_column_may_have_a_domain_over_a_domain() {
    let database = Database::empty().await;
    database
        .execute(&format!(
            "CREATE DOMAIN instant AS timestamptz; CREATE DOMAIN expiry AS instant CHECK (VALUE > '2000-01-01Z');
             CREATE TABLE t (id int PRIMARY KEY, due expiry, pad text); CREATE INDEX ON t (due, id); {ROWS}"
        ))
        .await;
    vacuum(&database).await;
    assert_eq!(codes(&database, T).await, [""; 0]);
    let reaped = reap_by(&database, T, &[("MAX_SCAN_ROWS", "1000")]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM t WHERE due < now() - interval '10 d'").await,
        0
    );
}

#[tokio::test]
async fn remedy_is_printed_once_for_several_targets_of_a_table() {
    let database = Database::empty().await;
    database
        .execute(&format!("CREATE TABLE t (id int PRIMARY KEY, due timestamptz, pad text); {ROWS}"))
        .await;
    vacuum(&database).await;
    let config: String = (0..4).map(|n| format!("{T}where = 'id % 4 = {n}'\n")).collect();
    let report = check(&database, &config, "text").await;
    assert_eq!(report.matches("no-index").count(), 4, "{report}");
    assert_eq!(report.matches("CREATE INDEX").count(), 1, "{report}");
}
