//! The first-run guard, and `plan`, which counts the rows that a run would delete. `plan` itself
//! deletes nothing.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, Reaped, binary, expired_sessions, reaped, start_reaper};

/// Runs `session-reaper ARGS...` with a configuration file. Returns the exit code, standard output
/// and standard error.
async fn reaper(database: &Database, config: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap().to_owned());
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REAPER_CONFIG", path.as_str()),
        ("DUTY_CYCLE", "1"),
        ("CHUNK_TIME", "2s"),
        ("MAX_CHUNK", "500"),
    ];
    let (code, program) = Program::run(binary("session-reaper"), args, &env).await;
    (code, program.stdout(), program.stderr())
}

async fn plan(database: &Database, config: &str) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = reaper(database, config, &["plan", "--output", "json"]).await;
    (code, serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}")))
}

async fn run(database: &Database, config: &str, args: &[&str]) -> (Option<i32>, Value) {
    let (code, stdout, stderr) =
        reaper(database, config, &[&["run", "--output", "json"], args].concat()).await;
    (code, serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{e}: {stdout}{stderr}")))
}

const T: &str = "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '1d' }, { reason = 'ended', column = 'ended_at', keep = '2h' }]\n";

/// Creates 4,000 rows. 1,000 rows are due because they are old, and 400 of these also because they
/// have ended. 200 rows are due only because they have ended, and 2,800 rows are not due.
async fn filled() -> Database {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz, ended_at timestamptz);
             CREATE INDEX ON t (due, id); CREATE INDEX ON t (ended_at, id);
             INSERT INTO t SELECT n, CASE WHEN n <= 1000 THEN timestamptz '2026-01-01Z' + n * interval '1 second' ELSE now() END,
                 CASE WHEN n > 600 AND n <= 1200 THEN timestamptz '2026-02-01Z' + n * interval '1 second' END
             FROM generate_series(1, 4000) AS n",
        )
        .await;
    database
}

#[tokio::test]
async fn plan_counts_by_reason_and_deletes_nothing() {
    let database = filled().await;
    let (code, plan) = plan(&database, T).await;
    assert_eq!(code, Some(0), "{plan}");
    let target = &plan["targets"][0];
    let member = |reason: usize, what: &str| target["due"][reason][what].clone();
    assert_eq!((member(0, "reason"), member(0, "rows")), ("old".into(), 1000.into()));
    // A row that is due for both reasons is counted under the first.
    assert_eq!(
        (member(1, "reason"), member(1, "rows"), member(1, "capped")),
        ("ended".into(), 200.into(), false.into())
    );
    // A row falls due one day after the time in the row.
    assert_eq!(
        (member(0, "oldest_due"), member(0, "newest_due")),
        ("2026-01-02T00:00:01Z".into(), "2026-01-02T00:16:40Z".into())
    );
    assert_eq!((&target["rows"], &target["rows_estimated"]), (&4000.into(), &false.into()));
    assert_eq!(target["share"], 0.3);
    assert_eq!((&target["chunks"], &target["estimated_by"]), (&3.into(), &"default".into()));
    assert!(target["refused"].as_array().unwrap().is_empty(), "{plan}");
    assert!(target.get("sql").is_none());
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 4000);

    let (code, text, _) = reaper(&database, T, &["plan", "--sql"]).await;
    assert_eq!(code, Some(0));
    for expected in
        ["1,000", "30.0 %", "nothing was deleted", "FOR UPDATE SKIP LOCKED", "OFFSET 999 LIMIT 1"]
    {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    // The statements can be run as shown, and delete nothing on another connection.
    let client = database.client().await;
    for statement in
        text.lines().filter(|line| line.starts_with("SELECT ") || line.starts_with("WITH "))
    {
        client.batch_execute(statement).await.unwrap_or_else(|e| panic!("{statement}: {e:?}"));
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 4000);
}

#[tokio::test]
async fn plan_counts_locked_rows_without_waiting() {
    let database = filled().await;
    // Locked rows are due, too.
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE t IN SHARE ROW EXCLUSIVE MODE; SELECT FROM t FOR UPDATE")
        .await
        .unwrap();
    let (code, plan) = plan(&database, T).await;
    assert_eq!((code, &plan["targets"][0]["due"][0]["rows"]), (Some(0), &1000.into()), "{plan}");
}

#[tokio::test]
async fn plan_reports_a_refused_target_and_does_not_count_it() {
    let database = filled().await;
    database.execute("DROP INDEX t_due_id_idx").await;
    let (code, plan) = plan(&database, T).await;
    assert_eq!(code, Some(65), "{plan}");
    let target = &plan["targets"][0];
    assert_eq!(
        (&target["refused"][0]["code"], &target["due"]),
        (&"no-index".into(), &Value::Array(Vec::new()))
    );
    assert!(
        target["refused"][0]["remedy"].as_str().unwrap().starts_with("CREATE INDEX CONCURRENTLY"),
        "{plan}"
    );
}

#[tokio::test]
async fn estimate_includes_the_rows_that_are_deleted_with_a_row() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
             CREATE TABLE c (id int PRIMARY KEY, t_id int REFERENCES t); CREATE INDEX ON c (t_id);
             CREATE TABLE d (id int PRIMARY KEY, t_id int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON d (t_id);
             INSERT INTO t SELECT n, now() - interval '9 days' FROM generate_series(1, 4000) AS n;
             INSERT INTO c SELECT n, 1 + n % 4000 FROM generate_series(1, 8000) AS n;
             ANALYZE t, c, d",
        )
        .await;
    let config = "[[target]]\ntable = 't'\nconfirmed = true\nchildren = [{ table = 'c', column = 't_id' }]\n\
                  due = [{ reason = 'old', column = 'due', keep = '1d' }]\n";
    let estimate = async || {
        let target = plan(&database, config).await.1["targets"][0].clone();
        (target["chunks"].as_u64().unwrap(), target["estimated_ms"].as_u64().unwrap())
    };
    let (chunks, ms) = estimate().await;
    database
        .execute(
            "INSERT INTO d SELECT n, 1 + n % 4000 FROM generate_series(1, 12000) AS n; ANALYZE d",
        )
        .await;
    // Each row has two rows in `c`, and now also three rows in `d`.
    assert_eq!(estimate().await, (chunks * 2, ms * 2));
}

#[tokio::test]
async fn estimate_is_based_on_the_last_large_run() {
    let database = Database::create().await;
    expired_sessions(&database, 3000).await;
    let env = [("MAX_ROWS", "2000"), ("DUTY_CYCLE", "1")];
    let Reaped { code, .. } =
        reaped(start_reaper(&database, &["run", "--yes", "--output", "json"], &env)).await;
    assert_eq!(code, Some(75));
    let url = database.url_as("session_reaper");
    let env = [("DATABASE_URL", url.as_str())];
    let (code, program) =
        Program::run(binary("session-reaper"), &["plan", "--output", "json"], &env).await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    let plan: Value = serde_json::from_str(&program.stdout()).unwrap();
    let sessions = &plan["targets"][0];
    assert_eq!(
        (&sessions["due"][0]["rows"], &sessions["estimated_by"]),
        (&1000.into(), &"history".into()),
        "{plan}"
    );
    // The previous run used chunks of 100 rows.
    assert_eq!(sessions["chunks"], 10, "{plan}");
}

/// Seconds that are interpreted as milliseconds are times in 1970. Without `ancient = 'due'`, the
/// run would reject them because they are before the year 2000.
const ALL: &str = "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '1d', unit = 's' }]\nancient = 'due'\n";

/// Creates rows with times in seconds. Interpreted as milliseconds, all of them are due. (Times in
/// milliseconds that are interpreted as seconds would be far in the future.)
async fn of_seconds(rows: i32) -> Database {
    let database = Database::empty().await;
    database
        .execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, due bigint); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, extract(epoch FROM now())::bigint + 3600 FROM generate_series(1, {rows}) AS n"
        ))
        .await;
    database
}

#[tokio::test]
async fn first_run_of_nearly_all_rows_needs_confirmation() {
    let database = of_seconds(1001).await;
    let wrong = ALL.replace("'s'", "'ms'");
    let (code, report) = run(&database, &wrong, &[]).await;
    assert_eq!(code, Some(65), "{report}");
    let why = report["targets"][0]["why"].as_str().unwrap();
    for expected in [
        "would delete 1001 of the 1001 rows of t",
        "more than 0.9",
        "run --yes",
        "confirmed = true",
    ] {
        assert!(why.contains(expected), "{expected}\n{why}");
    }
    assert_eq!(plan(&database, &wrong).await.0, Some(65));
    assert_eq!(
        run(&database, &wrong, &["--force-unsafe"]).await.0,
        Some(65),
        "--force-unsafe does not confirm a first run"
    );
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 1001);

    assert_eq!(run(&database, &wrong, &["--max-fraction", "1"]).await.0, Some(0));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 0);
    for (more, args) in [("", &["--yes"][..]), ("confirmed = true\n", &[])] {
        let database = of_seconds(1001).await;
        assert_eq!(run(&database, &format!("{wrong}{more}"), args).await.0, Some(0));
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 0);
    }
}

#[tokio::test]
async fn small_table_or_small_share_needs_no_confirmation() {
    let small = of_seconds(1000).await;
    assert_eq!(run(&small, &ALL.replace("'s'", "'ms'"), &[]).await.0, Some(0));
    let database = of_seconds(2000).await;
    database.execute("UPDATE t SET due = due - 7 * 86400 WHERE id <= 1800").await;
    assert_eq!(run(&database, ALL, &["--max-fraction", "0.89"]).await.0, Some(65));
    assert_eq!(run(&database, ALL, &[]).await.0, Some(0));
}

#[tokio::test]
async fn target_is_trusted_until_its_due_column_changes() {
    let database = of_seconds(2000).await;
    let url = database.url();
    let (code, _) =
        Program::run(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", url.as_str())])
            .await;
    assert_eq!(code, Some(0));
    assert_eq!(run(&database, ALL, &[]).await.0, Some(0), "no row is due");
    // A run that deleted nothing does not confirm the unit.
    assert_eq!(run(&database, &ALL.replace("'s'", "'ms'"), &[]).await.0, Some(65));
    database.execute("UPDATE t SET due = due - 7 * 86400 WHERE id = 1").await;
    assert_eq!(run(&database, ALL, &[]).await.0, Some(0));
    assert_eq!(
        run(&database, &ALL.replace("'s'", "'ms'"), &[]).await.0,
        Some(65),
        "a run with another unit does not confirm this unit"
    );
    database.execute("UPDATE t SET due = due - 7 * 86400; ALTER TABLE t ADD made bigint; UPDATE t SET made = due; CREATE INDEX ON t (made)").await;
    assert_eq!(
        run(&database, &ALL.replace("column = 'due'", "column = 'made'"), &[]).await.0,
        Some(65)
    );
    let (code, report) = run(&database, ALL, &[]).await;
    assert_eq!(
        (code, &report["targets"][0]["deleted"]["old"]),
        (Some(0), &1999.into()),
        "{report}"
    );
}

async fn migrate(database: &Database) {
    let url = database.url();
    let (code, _) =
        Program::run(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", url.as_str())])
            .await;
    assert_eq!(code, Some(0));
}

/// Creates 3,000 rows: even rows are nine days old and of kind 0, odd rows are one day old and of
/// kind 1.
async fn of_kinds() -> Database {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE u (id int PRIMARY KEY); CREATE TABLE t (id int PRIMARY KEY, due timestamptz, kind int);
             CREATE TABLE c (t_id int); CREATE INDEX ON c (t_id); CREATE INDEX ON t (due, id); CREATE INDEX ON t (kind);
             INSERT INTO t SELECT n, now() - interval '9 days' + n % 2 * interval '8 days', n % 2 FROM generate_series(1, 3000) AS n",
        )
        .await;
    migrate(&database).await;
    database
}

const KINDS: &str =
    "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '2d' }]\n";

#[tokio::test]
async fn changed_target_needs_a_new_confirmation() {
    let database = of_kinds().await;
    assert_eq!(run(&database, &format!("{KINDS}where = 't.id <= 10'\n"), &[]).await.0, Some(0));
    database.execute("UPDATE t SET due = now() - interval '9 days'").await;
    // Each of these targets would delete all of the 2,995 rows.
    for changed in [
        KINDS.to_owned(),
        KINDS.replace("2d", "1h"),
        format!("{KINDS}where = 't.id > 0'\n"),
        format!("{KINDS}group = 'kind'\n"),
        format!("{KINDS}children = [{{ table = 'c', column = 't_id' }}]\n"),
        format!("{KINDS}ancient = 'due'\n"),
    ] {
        let (code, report) = run(&database, &changed, &[]).await;
        assert_eq!(code, Some(65), "{changed}{report}");
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 2995);
}

#[tokio::test]
async fn confirmation_applies_only_to_the_confirmed_target() {
    for (more, args) in [("", &["--yes"][..]), ("confirmed = true\n", &[])] {
        let database = of_kinds().await;
        // No row is due yet, so the confirmed run deletes nothing.
        database.execute("UPDATE t SET due = now()").await;
        assert_eq!(run(&database, &format!("{KINDS}{more}"), args).await.0, Some(0));
        database.execute("UPDATE t SET due = now() - interval '9 days'").await;
        assert_eq!(run(&database, &KINDS.replace("2d", "1h"), &[]).await.0, Some(65));
        assert_eq!(plan(&database, KINDS).await.0, Some(0));
        assert_eq!(run(&database, KINDS, &[]).await.0, Some(0));
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 0);
    }
}

/// Makes three runs, each of which deletes 100 of more than 20,000 rows.
async fn after_three_runs(config: &str) -> Database {
    let database = Database::empty().await;
    migrate(&database).await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, now() FROM generate_series(1, 20300) AS n",
        )
        .await;
    for n in 1..=3 {
        database
            .execute(&format!("UPDATE t SET due = now() - interval '9 days' WHERE id <= {n} * 100"))
            .await;
        let (code, report) = run(&database, config, &["--yes"]).await;
        assert_eq!(
            (code, &report["targets"][0]["deleted"]["old"]),
            (Some(0), &100.into()),
            "{report}"
        );
    }
    database
}

#[tokio::test]
async fn unusually_large_share_is_refused_until_confirmed() {
    let database = after_three_runs(KINDS).await;
    database.execute("UPDATE t SET due = now() - interval '9 days'").await;
    let (code, plan) = plan(&database, KINDS).await;
    assert_eq!(
        (code, &plan["targets"][0]["refused"][0]["code"]),
        (Some(65), &"unusual-share".into()),
        "{plan}"
    );
    for _ in 0..2 {
        let (code, report) = run(&database, KINDS, &[]).await;
        assert_eq!(
            (code, &report["targets"][0]["outcome"]),
            (Some(65), &"failed".into()),
            "{report}"
        );
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 20_000);
    // After a confirmed run, later runs need no confirmation, even if the confirmed run did not
    // finish.
    assert_eq!(run(&database, KINDS, &["--yes", "--max-rows", "50"]).await.0, Some(75));
    assert_eq!(run(&database, KINDS, &[]).await.0, Some(0));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn small_usual_or_confirmed_share_is_not_refused() {
    let few = after_three_runs(KINDS).await;
    few.execute("DELETE FROM t WHERE id > 9999; UPDATE t SET due = now() - interval '9 days'")
        .await;
    assert_eq!(run(&few, KINDS, &[]).await.0, Some(0), "fewer than 10,000 rows");

    let some_stay = after_three_runs(KINDS).await;
    some_stay.execute("UPDATE t SET due = now() - interval '9 days' WHERE id <= 19800").await;
    assert_eq!(run(&some_stay, KINDS, &[]).await.0, Some(0), "0.975 of the table");

    let confirmed = after_three_runs(KINDS).await;
    confirmed.execute("UPDATE t SET due = now() - interval '9 days'").await;
    assert_eq!(run(&confirmed, &format!("{KINDS}confirmed = true\n"), &[]).await.0, Some(0));

    // The run over 9,000 rows deletes more than half of the table, so the next run is not unusual.
    let usual = after_three_runs(KINDS).await;
    for rows in [9_000, 15_000] {
        usual
            .execute(&format!(
                "TRUNCATE t; INSERT INTO t SELECT n, now() - interval '9 days' FROM generate_series(1, {rows}) AS n"
            ))
            .await;
        assert_eq!(run(&usual, KINDS, &[]).await.0, Some(0), "{rows}");
    }
}

#[tokio::test]
async fn share_of_a_large_table_is_estimated_by_sampling() {
    let database = Database::empty().await;
    // 300,000 rows of 100 bytes fill more blocks than are sampled. ANALYZE saw an empty table.
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due bigint, pad text) WITH (autovacuum_enabled = off); CREATE INDEX ON t (due, id);
             ANALYZE t;
             INSERT INTO t SELECT n, extract(epoch FROM now())::bigint - CASE WHEN n % 20 = 0 THEN 0 ELSE 864000 END, repeat('x', 80)
             FROM generate_series(1, 300000) AS n",
        )
        .await;
    let (code, plan) = plan(&database, ALL).await;
    assert_eq!(code, Some(65), "{plan}");
    let target = &plan["targets"][0];
    assert_eq!(
        (&target["due"][0]["rows"], &target["rows_estimated"]),
        (&285_000.into(), &true.into()),
        "{plan}"
    );
    assert!((target["share"].as_f64().unwrap() - 0.95).abs() < 0.02, "{plan}");
    assert!((target["rows"].as_f64().unwrap() / 300_000.0 - 1.0).abs() < 0.2, "{plan}");
}
