//! Targets that set columns instead of deleting rows.

use serde_json::json;
use testkit::{Database, Reaped, reap_by, reaped, start_reaper, without_database};

const ROWS: i64 = 3_000;

const CONFIG: &str = "
    [[target]]
    table = 'logins'
    due = [{ reason = 'old', column = 'created_at', keep = '30d' }]
    set = { ip = 'NULL', user_agent = \"''\" }";

/// The condition of the partial index for [`CONFIG`].
const TO_SET: &str = "(ip IS NOT NULL OR (user_agent = ''::text) IS NOT TRUE)";

/// Creates logins, two thirds of which are older than 30 days. The role of the reaper may not
/// delete them.
async fn database(more: &str) -> Database {
    let database = Database::create().await;
    database
        .execute(&format!(
            "CREATE TABLE logins (id int PRIMARY KEY, created_at timestamptz NOT NULL, ip inet, user_agent text, note text);
             INSERT INTO logins SELECT i, now() - CASE WHEN i % 3 > 0 THEN interval '40 days' ELSE interval '1 day' END
                 + i * interval '1 second', '192.0.2.1', 'browser', 'kept' FROM generate_series(1, {ROWS}) i;
             GRANT SELECT, UPDATE (ip, user_agent) ON logins TO session_reaper; {more}; ANALYZE logins"
        ))
        .await;
    database
}

fn index() -> String {
    format!("CREATE INDEX ON logins (created_at, id) WHERE {TO_SET}")
}

async fn run(database: &Database, config: &str, more: &[(&str, &str)]) -> Reaped {
    let url = database.url_as("session_reaper");
    reap_by(database, config, &[&[("DATABASE_URL", url.as_str())], more].concat()).await
}

async fn count(database: &Database, condition: &str) -> i64 {
    database.one(&format!("SELECT count(*) FROM logins WHERE {condition}")).await
}

#[tokio::test]
async fn columns_of_due_rows_are_set_once() {
    for order in ["index", "heap"] {
        let database = database(&index()).await;
        let directory = tempfile::tempdir().unwrap();
        let textfile = directory.path().join("reaper.prom");
        let config = format!("{CONFIG}\norder = '{order}'");
        let export = [("TEXTFILE", textfile.to_str().unwrap())];
        let first = run(&database, &config, &export).await;
        assert_eq!(first.code, Some(0), "{}{}", first.report, first.stderr);
        let target = first.target("logins");
        assert_eq!(target["changed"], json!({ "old": 2 * ROWS / 3 }), "{order}: {target}");
        assert_eq!(target["deleted"], json!({}), "{target}");
        assert_eq!(target["remaining"], 0, "{target}");
        assert_eq!(count(&database, "ip IS NULL AND user_agent = ''").await, 2 * ROWS / 3);
        assert_eq!(count(&database, "ip IS NOT NULL AND user_agent = 'browser'").await, ROWS / 3);
        assert_eq!(count(&database, "note = 'kept'").await, ROWS);
        let metrics = without_database(&std::fs::read_to_string(&textfile).unwrap());
        let line = format!(
            "session_reaper_rows_changed_total{{target=\"logins\",reason=\"old\"}} {}\n",
            2 * ROWS / 3
        );
        assert!(metrics.contains(&line), "{metrics}");
        assert!(!metrics.contains("rows_deleted_total{target=\"logins\""), "{metrics}");

        let second = run(&database, &config, &[]).await;
        let target = second.target("logins");
        assert_eq!(target["changed"], json!({ "old": 0 }), "{target}");
        assert_eq!(target["chunks"], 0, "{target}");
    }
}

#[tokio::test]
async fn only_the_columns_that_differ_make_a_row_due() {
    let database = database(&index()).await;
    database
        .execute(
            "UPDATE logins SET ip = NULL WHERE id % 6 = 1;
             UPDATE logins SET ip = NULL, user_agent = '' WHERE id % 6 = 2;
             UPDATE logins SET user_agent = NULL WHERE id % 6 = 4",
        )
        .await;
    let run = run(&database, CONFIG, &[]).await;
    let target = run.target("logins");
    assert_eq!(target["changed"], json!({ "old": ROWS / 2 }), "{target}{}", run.stderr);
    assert_eq!(count(&database, "ip IS NULL AND user_agent = ''").await, 2 * ROWS / 3);
}

#[tokio::test]
async fn locked_rows_and_rows_that_the_condition_keeps_stay_unchanged() {
    let database = database(&index()).await;
    let mut locker = database.client().await;
    let locks = locker.transaction().await.unwrap();
    locks.execute("SELECT FROM logins WHERE id IN (1, 2) FOR UPDATE", &[]).await.unwrap();
    database.execute("GRANT UPDATE ON logins TO session_reaper").await;
    let run = run(&database, &format!("{CONFIG}\nwhere = 't.id % 2 = 0'"), &[]).await;
    let target = run.target("logins");
    let due = ROWS / 3;
    assert_eq!(target["changed"], json!({ "old": due - 1 }), "{target}{}", run.stderr);
    assert_eq!(target["remaining"], 1, "{target}");
    assert_eq!(count(&database, "ip IS NULL").await, due - 1);
}

#[tokio::test]
async fn partial_index_with_the_very_condition_is_required() {
    for other in [
        "CREATE INDEX ON logins (created_at, id)",
        "CREATE INDEX ON logins (created_at, id) WHERE created_at IS NOT NULL",
        "CREATE INDEX ON logins (created_at, id) WHERE ip IS NOT NULL",
    ] {
        let database = database(other).await;
        let refused = run(&database, CONFIG, &[]).await;
        assert_eq!(refused.code, Some(65), "{other}: {}{}", refused.report, refused.stderr);
        assert!(refused.stderr.contains("\"no-index\""), "{other}: {}", refused.stderr);
        assert_eq!(count(&database, "ip IS NULL").await, 0, "{other}");

        // The remedy is the statement that creates the index.
        let line = refused.stderr.lines().find(|line| line.contains("\"no-index\"")).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let remedy = line["fields"]["remedy"].as_str().unwrap().replace("CONCURRENTLY ", "");
        assert!(remedy.starts_with("CREATE INDEX ON "), "{remedy}");
        database.execute(&remedy).await;
        let run = run(&database, CONFIG, &[]).await;
        assert_eq!(run.code, Some(0), "{remedy}: {}{}", run.report, run.stderr);
        assert_eq!(count(&database, "ip IS NULL AND user_agent = ''").await, 2 * ROWS / 3);
    }
}

#[tokio::test]
async fn missing_privilege_on_a_column_is_named() {
    let database = database(&index()).await;
    database.execute("REVOKE UPDATE (user_agent) ON logins FROM session_reaper").await;
    let refused = run(&database, CONFIG, &[]).await;
    assert_eq!(refused.code, Some(65), "{}{}", refused.report, refused.stderr);
    let line = refused.stderr.lines().find(|line| line.contains("\"privilege-missing\"")).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let remedy = line["fields"]["remedy"].as_str().unwrap();
    database.execute(remedy).await;
    let run = run(&database, CONFIG, &[]).await;
    assert_eq!(run.code, Some(0), "{remedy}: {}{}", run.report, run.stderr);
}

#[tokio::test]
async fn target_that_deletes_instead_needs_a_new_confirmation() {
    let database = database(&index()).await;
    database
        .execute(
            "CREATE INDEX ON logins (created_at, id); GRANT DELETE, UPDATE ON logins TO session_reaper",
        )
        .await;
    let delete = CONFIG.split("set =").next().unwrap();
    let confirmed = format!("{CONFIG}\nconfirmed = true");
    for (config, code) in [(confirmed.as_str(), 0), (CONFIG, 0), (delete, 65)] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let (url, path) = (database.url(), file.path().to_str().unwrap());
        let env =
            [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path), ("MAX_FRACTION", "0.5")];
        let run = reaped(start_reaper(&database, &["run", "--output", "json"], &env)).await;
        assert_eq!(run.code, Some(code), "{config}: {}{}", run.report, run.stderr);
    }
    assert_eq!(count(&database, "true").await, ROWS);
}

#[tokio::test]
async fn invalid_assignments_are_refused() {
    let database = database(&index()).await;
    let target = |set: &str| {
        format!(
            "[[target]]\ntable = 'logins'\ndue = [{{ reason = 'old', column = 'created_at', keep = '30d' }}]\n{set}"
        )
    };
    for (set, code) in [
        ("set = { ip = 'now()' }", 78),
        ("set = { ip = \"NULL, note = ''\" }", 78),
        ("set = { ip = 1 }", 78),
        ("set = 'ip'", 78),
        ("set = { created_at = 'NULL' }", 78),
        ("set = { ip = 'NULL' }\ngroup = 'note'", 78),
        ("set = { ip = 'NULL' }\nchildren = [{ table = 'c', column = 'd' }]", 78),
        ("set = { ipp = 'NULL' }", 65),
        ("set = { id = '0' }", 65),
        ("set = { ip = \"'nowhere'\" }", 65),
    ] {
        let run = run(&database, &target(set), &[]).await;
        assert_eq!(run.code, Some(code), "{set}: {}{}", run.report, run.stderr);
        assert_eq!(
            count(&database, "ip IS NULL OR note IS DISTINCT FROM 'kept'").await,
            0,
            "{set}"
        );
    }
}
