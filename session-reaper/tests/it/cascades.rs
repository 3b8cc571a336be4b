//! Cascades that would delete rows that the condition of a target excludes from deletion.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, binary, reap_by};

async fn check(database: &Database, config: &str) -> (Option<i32>, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap());
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path)];
    let (code, program) =
        Program::run(binary("session-reaper"), &["check", "--output", "json"], &env).await;
    (
        code,
        serde_json::from_str(&program.stdout())
            .unwrap_or_else(|e| panic!("{e}: {}", program.stderr())),
    )
}

fn has(checked: &Value, target: usize, code: &str) -> bool {
    let findings = checked["targets"][target]["findings"].as_array().unwrap();
    findings.iter().any(|finding| finding["code"] == code)
}

const T: &str =
    "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '1d' }]\n";

/// Statements that make a cascade lead back to `t`, each in a different way.
const CYCLES: [&str; 4] = [
    "ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES t ON DELETE CASCADE",
    "CREATE TABLE u (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON u (t_id);
     ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES u ON DELETE CASCADE",
    "CREATE TABLE u (id int PRIMARY KEY, t_id int); CREATE INDEX ON u (t_id);
     ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES u ON DELETE CASCADE",
    "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t RENAME TO one; CREATE TABLE t (LIKE one) PARTITION BY RANGE (id);
     ALTER TABLE t ADD PRIMARY KEY (id); DROP TABLE one; CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (1000);
     CREATE INDEX ON t (due, id); CREATE INDEX ON t (parent); CREATE INDEX ON t (kind);
     ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES t ON DELETE CASCADE",
];

async fn with(more: &str) -> Database {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, parent int, kind int, due timestamptz);
             CREATE INDEX ON t (due, id); CREATE INDEX ON t (parent); CREATE INDEX ON t (kind)",
        )
        .await;
    database.execute(more).await;
    database
}

fn config(cycle: usize, more: &str) -> String {
    // In the third cycle the reaper deletes the children, and their deletion cascades back to `t`.
    let children = if cycle == 2 { "children = [{ table = 'u', column = 't_id' }]\n" } else { "" };
    format!("{T}{children}{more}")
}

#[tokio::test]
async fn self_cascade_is_unsafe_with_where_or_group() {
    for (number, cycle) in CYCLES.iter().enumerate() {
        let database = with(cycle).await;
        for more in ["where = 't.kind = 1'", "group = 'kind'"] {
            let (code, checked) = check(&database, &config(number, more)).await;
            assert_eq!(
                (code, has(&checked, 0, "self-cascade")),
                (Some(65), true),
                "{cycle}: {checked}"
            );
        }
        let (code, checked) = check(&database, &config(number, "")).await;
        assert_eq!(
            (code, has(&checked, 0, "cascade-not-due")),
            (Some(0), true),
            "{cycle}: {checked}"
        );
    }
}

#[tokio::test]
async fn rows_kept_by_where_are_not_lost_to_a_cascade() {
    let database = with(CYCLES[0]).await;
    database
        .execute(
            "INSERT INTO t VALUES (1, NULL, 1, now() - interval '9 days');
             INSERT INTO t SELECT n, 1, 2, now() + interval '9 days' FROM generate_series(2, 200) AS n",
        )
        .await;
    let refused = reap_by(&database, &config(0, "where = 't.kind = 1'"), &[]).await;
    assert_eq!(refused.code, Some(65), "{}", refused.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 200);

    let reaped = reap_by(&database, T, &[]).await;
    let result = reaped.target("t");
    assert_eq!((reaped.code, &result["deleted"]["old"]), (Some(0), &1.into()), "{}", reaped.stderr);
    assert_eq!(result["uncounted_cascades"], serde_json::json!(["public.t"]), "{result}");
}

#[tokio::test]
async fn self_reference_with_set_null_or_default_is_safe() {
    for action in ["SET NULL", "SET DEFAULT"] {
        let database = with(&format!(
            "ALTER TABLE t ADD FOREIGN KEY (parent) REFERENCES t ON DELETE {action}"
        ))
        .await;
        let (code, checked) = check(&database, &config(0, "where = 't.kind = 1'")).await;
        assert_eq!((code, has(&checked, 0, "self-cascade")), (Some(0), false), "{checked}");
        assert!(!has(&checked, 0, "cascade-not-due"), "{checked}");
    }
}

#[tokio::test]
async fn cascade_to_a_target_that_keeps_rows_is_a_warning() {
    let database = with(
        "CREATE TABLE u (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE, due timestamptz);
         CREATE INDEX ON u (t_id); CREATE INDEX ON u (due, id)",
    )
    .await;
    let both = format!("{T}{}", T.replace("'t'", "'u'"));
    let (code, checked) = check(&database, &both).await;
    assert_eq!((code, has(&checked, 0, "cascade-not-due")), (Some(0), false), "{checked}");
    let (code, checked) = check(&database, &format!("{both}where = 't.id > 7'")).await;
    assert_eq!((code, has(&checked, 0, "cascade-not-due")), (Some(0), true), "{checked}");
    assert!(!has(&checked, 1, "cascade-not-due"), "{checked}");
}
