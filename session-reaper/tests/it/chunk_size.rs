//! The size of chunks (the rows that one transaction deletes). A fixed cost per statement does not
//! make chunks smaller.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::{Database, expired_sessions, reap_by, start_reaper};

/// A trigger makes each statement that deletes from `t` take twice the desired duration of a chunk.
/// The difference is so large that the speed of the machine does not matter.
const SLOW_STATEMENTS: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE DELETE ON t FOR EACH STATEMENT EXECUTE FUNCTION slow()";

const ENV: [(&str, &str); 3] =
    [("CHUNK_TIME", "100ms"), ("DUTY_CYCLE", "1"), ("MAX_FRACTION", "1")];

fn config(more: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'finished', column = 'finished_at', keep = '30d' }}]\n{more}"
    )
}

/// Creates 4,000 rows in `t`, of which three quarters are due.
async fn database() -> Database {
    let database = Database::create().await;
    database
        .execute(&format!(
            "CREATE TABLE t (id bigint PRIMARY KEY, finished_at timestamptz);
             INSERT INTO t SELECT i, now() - (i % 4) * interval '20 days' - interval '15 days' FROM generate_series(1, 4000) i;
             CREATE INDEX ON t (finished_at, id);
             GRANT SELECT, DELETE, UPDATE ON t TO session_reaper; {SLOW_STATEMENTS}"
        ))
        .await;
    database
}

#[tokio::test]
async fn fixed_cost_of_a_statement_does_not_shrink_chunks() {
    let database = database().await;
    database.execute("ANALYZE t").await;
    let run = reap_by(&database, &config(""), &ENV).await;
    let target = run.target("t");
    assert_eq!((run.code, target["deleted"]["finished"].as_u64()), (Some(0), Some(3_000)));
    let chunks = target["chunks"].as_u64().unwrap();
    assert!(chunks <= 3_000 / 50, "{chunks} chunks; {}", run.stderr);
}

#[tokio::test]
async fn chunk_size_is_not_divided_by_the_number_of_tables() {
    let database = database().await;
    database
        .execute(
            "CREATE TABLE c1 (id bigint PRIMARY KEY, t_id bigint NOT NULL REFERENCES t);
             CREATE TABLE c2 (id bigint PRIMARY KEY, t_id bigint NOT NULL REFERENCES t, c1_id bigint NOT NULL REFERENCES c1);
             CREATE TABLE c3 (id bigint PRIMARY KEY, t_id bigint REFERENCES t ON DELETE SET NULL);
             CREATE INDEX ON c1 (t_id); CREATE INDEX ON c2 (t_id); CREATE INDEX ON c2 (c1_id); CREATE INDEX ON c3 (t_id);
             INSERT INTO c1 SELECT i, 1 + i % 4000 FROM generate_series(1, 8000) i;
             INSERT INTO c2 SELECT i, 1 + i % 4000, i FROM generate_series(1, 8000) i;
             INSERT INTO c3 SELECT i, 1 + i % 4000 FROM generate_series(1, 2000) i;
             GRANT SELECT, DELETE, UPDATE ON c1, c2, c3 TO session_reaper;
             ANALYZE t, c1, c2, c3",
        )
        .await;
    let children = "children = [
        { table = 'c2', column = 't_id' }, { table = 'c1', column = 't_id' }, { table = 'c3', column = 't_id' }
    ]";
    let run = reap_by(&database, &config(children), &ENV).await;
    let target = run.target("t");
    let deleted = (target["deleted"]["finished"].as_u64(), target["children"].as_u64());
    assert_eq!((run.code, deleted), (Some(0), (Some(3_000), Some(13_500))), "{}", run.stderr);
    let chunks = target["chunks"].as_u64().unwrap();
    assert!(chunks <= 16_500 / 50, "{chunks} chunks; {}", run.stderr);
}

/// Returns the number of rows in each chunk of a run, from its log.
async fn chunks(database: &Database) -> Vec<u64> {
    // The time limits of the test environment are so long that the speed of the machine does not
    // limit the size of a chunk.
    let env = [("MAX_CHUNK", "10000"), ("RUST_LOG", "info,reaper=debug")];
    let url = database.url();
    let args = ["run", "--yes", "--output", "json"];
    let env = [&[("DATABASE_URL", url.as_str())], env.as_slice()].concat();
    let mut program = start_reaper(database, &args, &env);
    assert!(program.wait().await.success(), "{}", program.stderr());
    let chunks = program.log_events("chunk_committed");
    let of_sessions = chunks.iter().filter(|chunk| chunk["target_table"] == "sessions");
    of_sessions.map(|chunk| chunk["rows"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn later_process_begins_with_the_size_that_an_earlier_one_found() {
    let database = Database::create().await;
    expired_sessions(&database, 3_000).await;
    let first = chunks(&database).await;
    assert_eq!(first[0], 100, "{first:?}");
    database.execute("DELETE FROM accounts").await;
    expired_sessions(&database, 3_000).await;
    let second = chunks(&database).await;
    assert!(second[0] >= 400 && second.len() < first.len(), "{first:?} {second:?}");
}

#[tokio::test]
async fn partitions_without_due_rows_are_neither_locked_nor_scanned() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE t (id bigint, day int, finished_at timestamptz, PRIMARY KEY (id, day)) PARTITION BY LIST (day);
             CREATE INDEX ON t (finished_at, id);
             DO $$ BEGIN
                 FOR day IN 1..40 LOOP
                     EXECUTE format('CREATE TABLE t%s PARTITION OF t FOR VALUES IN (%s)', day, day);
                 END LOOP;
             END $$;
             INSERT INTO t VALUES (1, 7, now() - interval '40 days'), (2, 9, now())",
        )
        .await;
    let run = reap_by(&database, &config(""), &ENV).await;
    assert_eq!(run.target("t")["deleted"]["finished"], 1, "{}", run.stderr);
    assert_eq!(run.stderr.matches("\"pass_started\"").count(), 1, "{}", run.stderr);
}

#[tokio::test]
async fn pass_without_due_rows_is_logged_at_the_level_debug() {
    let database = database().await;
    database
        .execute("ALTER TABLE t ADD revoked_at timestamptz; CREATE INDEX ON t (revoked_at, id)")
        .await;
    let config = "
        [[target]]
        table = 't'
        due = [
            { reason = 'finished', column = 'finished_at', keep = '30d' },
            { reason = 'revoked', column = 'revoked_at', keep = '30d' },
        ]";
    for (log_level, expected) in [
        ("debug", vec![("finished", "INFO"), ("revoked", "DEBUG")]),
        ("info", vec![("finished", "INFO")]),
    ] {
        let due =
            "INSERT INTO t SELECT i, now() - interval '40 days' FROM generate_series(5000, 5099) i";
        database.execute(due).await;
        let env = [&ENV[..], &[("RUST_LOG", log_level)]].concat();
        let run = reap_by(&database, config, &env).await;
        let lines: Vec<Value> =
            run.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let started = lines.iter().filter(|line| line["fields"]["event"] == "pass_started");
        let of_t = started.filter(|line| line["fields"]["target_table"] == "t");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let levels: BTreeMap<String, String> =
            of_t.map(|line| (text(&line["fields"]["reason"]), text(&line["level"]))).collect();
        let levels: Vec<_> =
            levels.iter().map(|(reason, level)| (reason.as_str(), level.as_str())).collect();
        assert_eq!(levels, expected, "{}", run.stderr);
    }
}
