//! Targets in `reaper.toml` on tables of any kind: those from which the reaper deletes, and those
//! that it refuses, with the reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Program, binary, reap_by};

/// Creates a database with a table `t` that has these columns and an index on `due`.
async fn with_table(columns: &str) -> Database {
    let database = Database::empty().await;
    database.execute(&format!("CREATE TABLE t ({columns}); CREATE INDEX ON t (due)")).await;
    database
}

fn target(due: &str, more: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '1d'{due} }}]\n{more}"
    )
}

async fn why(database: &Database, config: &str) -> String {
    let reaped = reap_by(database, config, &[]).await;
    let why = reaped.report["targets"][0]["why"].as_str().unwrap().to_owned();
    // A missing table is a failure, not an unsafe target.
    let code = if why.contains("there is no table") { 1 } else { 65 };
    assert_eq!(reaped.code, Some(code), "{}", reaped.stderr);
    why
}

#[tokio::test]
async fn due_column_can_have_any_time_type() {
    // Each table has rows an hour apart on both sides of the cutoff.
    for (sql_type, keys, value) in [
        ("timestamptz", "", "now() - n * interval '1 hour'"),
        ("timestamptz", ", zone = 'Asia/Tokyo'", "now() - n * interval '1 hour'"),
        (
            "timestamp(3)",
            ", zone = 'Asia/Tokyo'",
            "(now() - n * interval '1 hour') AT TIME ZONE 'Asia/Tokyo'",
        ),
        ("bigint", ", unit = 's'", "floor(extract(epoch FROM now()))::bigint - n * 3600"),
        ("integer", ", unit = 's'", "floor(extract(epoch FROM now()))::bigint - n * 3600"),
        (
            "bigint",
            ", unit = 'ms'",
            "floor(extract(epoch FROM now()) * 1000)::bigint - n * 3600000",
        ),
        (
            "bigint",
            ", unit = 'us'",
            "(extract(epoch FROM now()) * 1000000)::bigint - n * 3600000000",
        ),
    ] {
        let database = with_table(&format!("id bigint PRIMARY KEY, due {sql_type}")).await;
        database
            .execute(&format!(
                "INSERT INTO t SELECT n, {value} FROM generate_series(1, 300) AS n; INSERT INTO t VALUES (0, NULL)"
            ))
            .await;
        let reaped = reap_by(&database, &target(keys, ""), &[]).await;
        assert_eq!(
            reaped.target("t")["deleted"]["old"],
            300 - 23,
            "{sql_type}{keys}: {}{}",
            reaped.report,
            reaped.stderr
        );
        let left: Vec<i64> = database.one("SELECT array_agg(id ORDER BY id) FROM t").await;
        assert_eq!(left, (0..=23).collect::<Vec<_>>(), "{sql_type}{keys}");
    }
}

#[tokio::test]
async fn date_is_due_after_its_end_in_its_time_zone() {
    let database = with_table("id bigint PRIMARY KEY, due date").await;
    database
        .execute(
            "INSERT INTO t SELECT n, (now() AT TIME ZONE 'Pacific/Auckland')::date - n FROM generate_series(0, 9) AS n",
        )
        .await;
    let reaped = reap_by(&database, &target(", zone = 'Pacific/Auckland'", ""), &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 8, "{}", reaped.stderr);
    assert_eq!(database.one::<Vec<i64>>("SELECT array_agg(id ORDER BY id) FROM t").await, [0, 1]);
}

#[tokio::test]
async fn key_can_be_composite_or_text_or_missing() {
    for key in [
        ", a text, b int, PRIMARY KEY (a, b)",
        ", a varchar(40) COLLATE \"C\" PRIMARY KEY, b int",
        ", a text NOT NULL, b int NOT NULL, UNIQUE (b) INCLUDE (a)",
        ", a text, b int",
    ] {
        let database = with_table(&format!("due timestamptz{key}")).await;
        // Seven rows share each time.
        database
            .execute("INSERT INTO t SELECT now() - (n / 7) * interval '1 hour', 'k ''\" ' || n, n FROM generate_series(0, 699) AS n")
            .await;
        let reaped = reap_by(&database, &target("", ""), &[("MAX_CHUNK", "10")]).await;
        assert_eq!(
            reaped.target("t")["deleted"]["old"],
            700 - 24 * 7,
            "{key}: {}{}",
            reaped.report,
            reaped.stderr
        );
        assert_eq!(reaped.target("t")["remaining"], 0);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 24 * 7, "{key}");
    }
}

#[tokio::test]
async fn table_can_have_any_name_and_schema() {
    let database = Database::empty().await;
    database
        .execute(
            r#"CREATE SCHEMA "Mine"; CREATE TABLE "Mine"."a ""b"".c" ("Key" int PRIMARY KEY, "due at" timestamptz);
               CREATE INDEX ON "Mine"."a ""b"".c" ("due at", "Key");
               INSERT INTO "Mine"."a ""b"".c" SELECT n, now() - n * interval '1 day' FROM generate_series(0, 9) AS n"#,
        )
        .await;
    let config = r#"
[[target]]
table = '"Mine"."a ""b"".c"'
chunk = 3
due = [{ reason = "old", column = '"due at"', keep = "4d 12h" }]"#;
    let reaped = reap_by(&database, config, &[]).await;
    let target = reaped.target(r#""Mine"."a ""b"".c""#);
    assert_eq!(
        (&target["deleted"]["old"], &target["chunks"]),
        (&5.into(), &2.into()),
        "{}",
        reaped.stderr
    );
}

#[tokio::test]
async fn rows_kept_by_a_condition_are_neither_locked_nor_remaining() {
    let database = with_table("id bigint PRIMARY KEY, due timestamptz, kind text").await;
    database
        .execute("INSERT INTO t SELECT n, now() - interval '2 days', CASE n % 3 WHEN 0 THEN 'go' WHEN 1 THEN 'stay' END FROM generate_series(1, 3000) AS n")
        .await;
    let reaped =
        reap_by(&database, &target("", "where = \"t.kind = 'go' -- and null is not\""), &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let result = reaped.target("t");
    assert_eq!(
        (&result["deleted"]["old"], &result["skipped_locked"], &result["remaining"]),
        (&1000.into(), &0.into(), &0.into())
    );
    // Each chunk read a hundred rows, no matter how many of them were kept.
    assert_eq!(result["chunks"], 30);
    assert_eq!(result["why"], "no due rows are left");
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE kind = 'go'").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 2000);
}

#[tokio::test]
async fn locked_row_is_counted_only_if_its_condition_holds() {
    let database = with_table("id bigint PRIMARY KEY, due timestamptz, kind text").await;
    database
        .execute("INSERT INTO t SELECT n, now() - interval '2 days', CASE WHEN n % 2 = 0 THEN 'go' ELSE 'stay' END FROM generate_series(1, 400) AS n")
        .await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; SELECT FROM t WHERE id <= 10 FOR UPDATE").await.unwrap();
    let reaped = reap_by(&database, &target("", "where = \"t.kind = 'go'\""), &[]).await;
    let result = reaped.target("t");
    assert_eq!(
        (&result["deleted"]["old"], &result["skipped_locked"], &result["remaining"]),
        (&195.into(), &5.into(), &5.into())
    );
}

#[tokio::test]
async fn row_without_a_group_is_its_own_group() {
    let database = with_table("id bigint PRIMARY KEY, due timestamptz, fam int").await;
    database
        .execute(
            "CREATE INDEX ON t (fam);
             INSERT INTO t VALUES (1, now() - interval '2 days', NULL), (2, now(), NULL),
                 (3, now() - interval '2 days', 1), (4, NULL, 1), (5, now() - interval '2 days', 2)",
        )
        .await;
    let reaped = reap_by(&database, &target("", "group = 'fam'"), &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 2, "{}", reaped.stderr);
    assert_eq!(
        database.one::<Vec<i64>>("SELECT array_agg(id ORDER BY id) FROM t").await,
        [2, 3, 4]
    );
}

#[tokio::test]
async fn invalid_target_is_refused_with_a_suggestion() {
    let database = with_table("id bigint PRIMARY KEY, due timestamptz, note text").await;
    database
        .execute(
            "CREATE TABLE parted (id int, due timestamptz); CREATE VIEW seen AS TABLE t;
             INSERT INTO t VALUES (1, now() - interval '9 days', '')",
        )
        .await;
    let named = |table: &str, column: &str| {
        target("", "")
            .replace("'t'", &format!("'{table}'"))
            .replace("'due'", &format!("'{column}'"))
    };
    for (config, expected) in [
        (named("t", "deu"), "has no column \"deu\"; did you mean due?"),
        (named("t", "note"), "note is text: a due column is"),
        (named("parte", "due"), "did you mean public.parted?"),
        (named("seen", "due"), "seen is a view"),
        (target(", unit = 's'", ""), "leave `unit` out"),
        (target("", "where = 't.nothing'"), "column t.nothing does not exist"),
        (target("", "where = 't.due >'"), "syntax error"),
        (target("", "group = 'fam'"), "has no column \"fam\""),
    ] {
        let why = why(&database, &config).await;
        assert!(why.contains(expected), "{expected}\n{why}");
        // The location of the target in the file.
        assert!(why.contains(":1:1: "), "{why}");
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 1);
}

#[tokio::test]
async fn every_error_in_the_file_is_reported_at_startup() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "preset = 'djano'\n[[target]]\ntabel = 't'\n").unwrap();
    let path = file.path().to_str().unwrap();
    let url = "postgres://nobody@127.0.0.1:1/nowhere";
    let args = ["run", "--database-url", url, "--config", path, "--keep-expired", "2d"];
    let (code, program) = Program::run(binary("session-reaper"), &args, &[]).await;
    let stderr = program.stderr();
    assert_eq!(code, Some(78), "{stderr}");
    for expected in [
        "has 4 mistakes",
        ":1:10: ",
        "did you mean \"django\"?",
        ":3:1: ",
        "did you mean `table`?",
        "KEEP_EXPIRED: ",
    ] {
        assert!(stderr.contains(expected), "{expected}\n{stderr}");
    }
    let args = ["run", "--database-url", url, "--config", "/no/such/reaper.toml"];
    let (code, program) = Program::run(binary("session-reaper"), &args, &[]).await;
    assert_eq!(code, Some(78));
    assert!(
        program.stderr().contains("REAPER_CONFIG=/no/such/reaper.toml: a file that can be read"),
        "{}",
        program.stderr()
    );
}

#[tokio::test]
async fn condition_applies_only_to_due_rows() {
    let database = with_table("id bigint PRIMARY KEY, due timestamptz, used boolean").await;
    database
        .execute(
            "INSERT INTO t SELECT n, now() + (n - 100) * interval '1 day', n % 2 = 0 FROM generate_series(1, 900) AS n",
        )
        .await;
    // Even this condition applies only to due rows.
    let reaped = reap_by(&database, &target("", "where = 't.used) OR (t.used'"), &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 49, "{}", reaped.stderr);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM t WHERE due > now() - interval '1 day'").await,
        801
    );
}
