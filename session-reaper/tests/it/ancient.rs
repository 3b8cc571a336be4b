//! `ancient`: times before the year 2000, which often mean "never".
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, Reaped, binary, reap_by};

/// Due columns: the SQL type, the keys of the reason, a value that means "never", and a value that
/// is `n` days old.
const KINDS: [(&str, &str, &str, &str); 8] = [
    ("bigint", "unit = 's'", "0", "extract(epoch FROM now())::bigint - n * 86400"),
    ("integer", "unit = 's'", "-1", "extract(epoch FROM now())::integer - n * 86400"),
    (
        "bigint",
        "unit = 'ms'",
        "0",
        "extract(epoch FROM now())::bigint * 1000 - n::bigint * 86400000",
    ),
    (
        "bigint",
        "unit = 'us'",
        "946684799999999",
        "(extract(epoch FROM now())::bigint - n * 86400) * 1000000",
    ),
    ("timestamptz", "zone = 'UTC'", "'-infinity'", "now() - n * interval '1 day'"),
    ("timestamptz", "zone = 'UTC'", "'0001-01-01Z'", "now() - n * interval '1 day'"),
    (
        "timestamp",
        "zone = 'Asia/Tokyo'",
        "'1999-12-31 23:59:59.999999'",
        "now() - n * interval '1 day'",
    ),
    ("date", "zone = 'UTC'", "'1999-12-31'", "now()::date - n"),
];

fn target(keys: &str, ancient: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '2d', {keys} }}]\n{ancient}"
    )
}

/// Creates `t` with 30 live rows, 40 due rows, and 20 rows that never expire.
async fn filled(sql_type: &str, never: &str, value: &str) -> Database {
    let database = Database::empty().await;
    database
        .execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, due {sql_type}); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, {value} FROM generate_series(4, 43) AS n;
             INSERT INTO t SELECT 1000 + n, {value} FROM generate_series(-30, -1) AS n;
             INSERT INTO t SELECT 2000 + n, {never} FROM generate_series(1, 20) AS n"
        ))
        .await;
    database
}

async fn run_json(database: &Database, command: &str, config: &str) -> (Option<i32>, Value) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap());
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path)];
    let (code, program) =
        Program::run(binary("session-reaper"), &[command, "--output", "json"], &env).await;
    let stdout = program.stdout();
    (
        code,
        serde_json::from_str(&stdout)
            .unwrap_or_else(|e| panic!("{e}: {stdout}{}", program.stderr())),
    )
}

async fn rows(database: &Database) -> (i64, i64) {
    let never = database.one("SELECT count(*) FROM t WHERE id > 2000").await;
    (never, database.one("SELECT count(*) FROM t WHERE id < 100").await)
}

fn codes(findings: &Value) -> Vec<&str> {
    findings.as_array().unwrap().iter().filter_map(|finding| finding["code"].as_str()).collect()
}

#[tokio::test]
async fn ancient_times_are_unsafe_by_default() {
    for (sql_type, keys, never, value) in KINDS {
        let database = filled(sql_type, never, value).await;
        for more in ["", "ancient = 'refuse'"] {
            let config = target(keys, more);
            let (code, checked) = run_json(&database, "check", &config).await;
            let found = codes(&checked["targets"][0]["findings"]);
            assert_eq!(
                (code, found.contains(&"ancient")),
                (Some(65), true),
                "{sql_type} {never}: {checked}"
            );
            let (code, plan) = run_json(&database, "plan", &config).await;
            assert_eq!(
                (code, codes(&plan["targets"][0]["refused"])),
                (Some(65), vec!["ancient"]),
                "{plan}"
            );
            let Reaped { code, stderr, .. } = reap_by(&database, &config, &[]).await;
            assert_eq!(
                (code, rows(&database).await),
                (Some(65), (20, 40)),
                "{sql_type} {never}: {stderr}"
            );
        }
        database.execute("DELETE FROM t WHERE id > 2000").await;
        let Reaped { code, stderr, .. } = reap_by(&database, &target(keys, ""), &[]).await;
        assert_eq!(
            (code, rows(&database).await),
            (Some(0), (0, 0)),
            "{sql_type} {never}: {stderr}"
        );
    }
}

#[tokio::test]
async fn ancient_rows_can_be_kept_in_both_scan_orders() {
    for (sql_type, keys, never, value) in KINDS {
        for order in ["order = 'index'", "order = 'heap'"] {
            let database = filled(sql_type, never, value).await;
            let config = target(keys, &format!("ancient = 'keep'\n{order}"));
            let (code, plan) = run_json(&database, "plan", &config).await;
            let planned = &plan["targets"][0];
            assert_eq!(
                (code, &planned["due"][0]["rows"]),
                (Some(0), &40.into()),
                "{sql_type} {never}: {plan}"
            );
            assert!((planned["share"].as_f64().unwrap() - 40.0 / 90.0).abs() < 1e-9, "{plan}");
            assert!(planned["due"][0]["oldest_due"].as_str().unwrap() > "2020", "{plan}");
            let reaped = reap_by(&database, &config, &[("MAX_CHUNK", "7")]).await;
            let result = reaped.target("t");
            assert_eq!(
                (reaped.code, &result["deleted"]["old"]),
                (Some(0), &40.into()),
                "{}",
                reaped.stderr
            );
            assert_eq!(
                (&result["remaining"], rows(&database).await),
                (&0.into(), (20, 0)),
                "{sql_type} {never} {order}"
            );
        }
    }
}

#[tokio::test]
async fn ancient_rows_are_due_when_configured() {
    for (sql_type, keys, never, value) in KINDS {
        let database = filled(sql_type, never, value).await;
        let config = target(keys, "ancient = 'due'");
        let (_, plan) = run_json(&database, "plan", &config).await;
        assert_eq!(plan["targets"][0]["due"][0]["rows"], 60, "{sql_type} {never}: {plan}");
        let Reaped { code, stderr, .. } = reap_by(&database, &config, &[]).await;
        assert_eq!(
            (code, rows(&database).await),
            (Some(0), (0, 0)),
            "{sql_type} {never}: {stderr}"
        );
    }
}

#[tokio::test]
async fn each_due_reason_handles_ancient_times_separately() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz, ended timestamptz);
             CREATE INDEX ON t (due, id); CREATE INDEX ON t (ended, id) WHERE ended IS NOT NULL;
             INSERT INTO t VALUES (1, now() - interval '9 days', NULL), (2001, now() + interval '9 days', '-infinity'),
                 (2, '-infinity', now() - interval '9 days'), (3, now() - interval '9 days', '0001-01-01Z')",
        )
        .await;
    let due = "[{ reason = 'old', column = 'due', keep = '1d' }, { reason = 'ended', column = 'ended', keep = '1d' }]";
    let config = |ancient: &str| format!("[[target]]\ntable = 't'\ndue = {due}\n{ancient}");
    let (_, checked) = run_json(&database, "check", &config("")).await;
    let found = codes(&checked["targets"][0]["findings"]);
    assert_eq!(found.iter().filter(|code| **code == "ancient").count(), 2, "{checked}");

    let reaped = reap_by(&database, &config("ancient = 'keep'"), &[]).await;
    let deleted = &reaped.target("t")["deleted"];
    assert_eq!((&deleted["old"], &deleted["ended"]), (&2.into(), &1.into()), "{}", reaped.stderr);
    assert_eq!(rows(&database).await, (1, 0));
}

#[tokio::test]
async fn ancient_row_keeps_its_group() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due bigint, family int); CREATE INDEX ON t (due, id); CREATE INDEX ON t (family);
             INSERT INTO t VALUES (1, 1700000000, 1), (2, 1700000001, 1), (3, 1700000000, 2), (2001, 0, 2)",
        )
        .await;
    let config = target("unit = 's'", "ancient = 'keep'\ngroup = 'family'");
    let reaped = reap_by(&database, &config, &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 2, "{}", reaped.stderr);
    assert_eq!(
        database.one::<Vec<i32>>("SELECT array_agg(id ORDER BY id) FROM t").await,
        [3, 2001]
    );
}

#[tokio::test]
async fn ancient_time_in_any_partition_is_found() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int, due timestamptz, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
             CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2);
             CREATE TABLE t3 PARTITION OF t FOR VALUES IN (3); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, now() - interval '9 days', 1 + n % 3 FROM generate_series(1, 30) AS n;
             INSERT INTO t VALUES (2001, '0001-01-01Z', 3)",
        )
        .await;
    assert_eq!(reap_by(&database, &target("zone = 'UTC'", ""), &[]).await.code, Some(65));
    let reaped = reap_by(&database, &target("zone = 'UTC'", "ancient = 'keep'"), &[]).await;
    assert_eq!((reaped.code, rows(&database).await), (Some(0), (1, 0)), "{}", reaped.stderr);
}

/// Rows that never expire lie outside the index range that is scanned, so they are read neither
/// when rows are counted nor when rows are deleted.
#[tokio::test]
async fn kept_ancient_rows_are_not_read() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due bigint) WITH (autovacuum_enabled = off); CREATE INDEX t_due ON t (due, id);
             INSERT INTO t SELECT n, 0 FROM generate_series(1, 200000) AS n;
             INSERT INTO t SELECT 200000 + n, 1700000000 + n FROM generate_series(1, 100) AS n",
        )
        .await;
    database.execute("VACUUM ANALYZE t").await;
    let reaped =
        reap_by(&database, &target("unit = 's'", "ancient = 'keep'\norder = 'index'"), &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 100, "{}", reaped.stderr);
    let read = "SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 't'";
    testkit::eventually("the statistics include the run", async || {
        database.one::<i64>(read).await > 0
    })
    .await;
    let read: i64 = database.one(read).await;
    assert!(read < 5_000, "{read} index entries were read");
}

#[tokio::test]
async fn row_that_becomes_ancient_during_a_run_is_kept() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due bigint); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, 1700000000 + n FROM generate_series(1, 20) AS n;
             CREATE FUNCTION renew() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO t VALUES (2000 + OLD.id, 0);
                 UPDATE t SET due = 0, id = 3000 WHERE id = 20;
                 RETURN OLD;
             END $$;
             CREATE TRIGGER renew BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id <= 3) EXECUTE FUNCTION renew()",
        )
        .await;
    for order in ["index", "heap"] {
        let config = target("unit = 's'", &format!("order = '{order}'"));
        let reaped = reap_by(&database, &config, &[("MAX_CHUNK", "5")]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        assert_eq!(rows(&database).await, (4, 0), "{order}");
        database.execute("TRUNCATE t; INSERT INTO t SELECT n, 1700000000 + n FROM generate_series(1, 20) AS n").await;
    }
}

#[tokio::test]
async fn plan_shows_the_oldest_finite_time() {
    for (sql_type, keys, earliest) in [
        ("timestamptz", "", "2025-01-03T00:00:00Z"),
        ("timestamp", ", zone = 'UTC'", "2025-01-03T00:00:00Z"),
        ("date", "", "2025-01-03T00:00:00Z"),
    ] {
        let database = Database::empty().await;
        database
            .execute(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, due {sql_type}); CREATE INDEX ON t (due, id);
                 INSERT INTO t VALUES (1, '-infinity'), (2, '-infinity'), (3, '2025-01-01'), (4, '2025-02-01')"
            ))
            .await;
        for more in ["", "where = 't.id <> 1'"] {
            let config = format!(
                "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '2d'{keys} }}]\nancient = 'due'\n{more}"
            );
            let (code, plan) = run_json(&database, "plan", &config).await;
            let due = &plan["targets"][0]["due"][0];
            assert_eq!(
                (code, &due["oldest_due"]),
                (Some(0), &earliest.into()),
                "{sql_type}: {plan}"
            );
        }
    }
}
