//! Overlapping targets: a partitioned table and one of its partitions, and tables with the same
//! `children`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use reaper::LOCK_CLASS;
use serde_json::json;
use testkit::{Database, Program, binary, eventually, reap_by, reaped};
use tokio_postgres::Client;

const DUE: &str = "due = [{ reason = 'old', column = 'due', keep = '1d' }]\n";

fn target(table: &str) -> String {
    format!("[[target]]\ntable = '{table}'\n{DUE}")
}

/// Creates `t` with the partitions `p1` to `p3`, each of which has 20 due rows.
async fn partitioned() -> Database {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int, due timestamptz, part int, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
             CREATE INDEX ON t (due, id);
             CREATE TABLE p1 PARTITION OF t FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF t FOR VALUES IN (2);
             CREATE TABLE p3 PARTITION OF t FOR VALUES IN (3);
             INSERT INTO t SELECT n, now() - interval '9 days', 1 + n % 3 FROM generate_series(1, 60) AS n",
        )
        .await;
    database
}

/// Takes the lock that another reaper would hold while it processes a table.
async fn other_reaper_on(database: &Database, table: &str) -> Client {
    let client = database.client().await;
    let sql = format!("SELECT pg_advisory_lock({LOCK_CLASS}, '{table}'::regclass::oid::int)");
    client.execute(&sql, &[]).await.unwrap();
    client
}

/// Starts a reaper with timeouts that are long enough for a statement that a test blocks.
fn start(database: &Database, config: &tempfile::NamedTempFile) -> Program {
    let (url, path) = (database.url(), config.path().to_str().unwrap().to_owned());
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REAPER_CONFIG", path.as_str()),
        ("LOG_FORMAT", "json"),
        ("DUTY_CYCLE", "1"),
        ("LOCK_TIMEOUT", "1m"),
        ("STATEMENT_TIMEOUT", "1m"),
    ];
    Program::start(binary("session-reaper"), &["run", "--yes", "--output", "json"], &env)
}

fn file(config: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    file
}

#[tokio::test]
async fn partition_locked_by_another_reaper_is_skipped() {
    let database = partitioned().await;
    let other = other_reaper_on(&database, "p2").await;
    let run = reap_by(&database, &target("t"), &[]).await;
    let result = run.target("t");
    assert_eq!(
        (run.code, &result["outcome"], &result["deleted"]["old"]),
        (Some(0), &json!("success"), &json!(40)),
        "{}",
        run.stderr
    );
    assert_eq!(result["detail"], json!([{ "table": "public.p2", "outcome": "skipped_lock" }]));
    assert_eq!(
        (&result["remaining"], database.one::<i64>("SELECT count(*) FROM p2").await),
        (&json!(20), 20)
    );
    drop(other);
    let lock = format!(
        "SELECT count(*) FROM pg_locks WHERE classid = {LOCK_CLASS} AND locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    eventually("the lock of the other reaper is released", async || {
        database.one::<i64>(&lock).await == 0
    })
    .await;
    let run = reap_by(&database, &target("t"), &[]).await;
    assert_eq!(run.target("t")["deleted"]["old"], 20, "{}", run.stderr);
    assert!(run.target("t").get("detail").is_none());
}

#[tokio::test]
async fn target_with_every_partition_locked_is_skipped() {
    let database = partitioned().await;
    let others = [
        other_reaper_on(&database, "p1").await,
        other_reaper_on(&database, "p2").await,
        other_reaper_on(&database, "p3").await,
    ];
    let run = reap_by(&database, &target("t"), &[]).await;
    let result = run.target("t");
    assert_eq!(
        (run.code, &result["outcome"], &result["remaining"]),
        (Some(0), &json!("skipped_lock"), &json!(60)),
        "{}",
        run.stderr
    );
    drop(others);
}

#[tokio::test]
async fn partition_is_locked_only_while_it_is_processed() {
    let database = partitioned().await;
    database
        .execute(
            "CREATE FUNCTION park() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock_shared(OLD.part); RETURN OLD;
             END $$;
             CREATE TRIGGER park BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION park()",
        )
        .await;
    let holder = database.client().await;
    holder.execute("SELECT pg_advisory_lock(2)", &[]).await.unwrap();
    let (whole, second, first) = (file(&target("t")), file(&target("p2")), file(&target("p1")));
    let running = start(&database, &whole);
    eventually("the run has reached p2", async || {
        let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 2
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
        database.one::<bool>(waiting).await
    })
    .await;
    let (on_second, on_first) =
        (reaped(start(&database, &second)).await, reaped(start(&database, &first)).await);
    assert_eq!(on_second.target("p2")["outcome"], "skipped_lock", "{}", on_second.stderr);
    assert_eq!(on_first.target("p1")["outcome"], "success", "{}", on_first.stderr);
    let locks = format!(
        "SELECT count(*) FROM pg_locks WHERE classid = {LOCK_CLASS} AND objid <> 0 AND locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    assert_eq!(database.one::<i64>(&locks).await, 2, "the locks of t and p2");
    holder.execute("SELECT pg_advisory_unlock(2)", &[]).await.unwrap();
    let run = reaped(running).await;
    assert_eq!(
        (run.code, &run.target("t")["deleted"]["old"]),
        (Some(0), &json!(60)),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn partition_is_locked_again_after_a_lost_connection() {
    let database = partitioned().await;
    database
        .execute(
            "CREATE FUNCTION park() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM pg_advisory_xact_lock_shared(7); RETURN OLD;
             END $$;
             CREATE TRIGGER park BEFORE DELETE ON p2 FOR EACH ROW EXECUTE FUNCTION park()",
        )
        .await;
    let holder = database.client().await;
    holder.execute("SELECT pg_advisory_lock(7)", &[]).await.unwrap();
    let whole = file(&target("t"));
    let running = start(&database, &whole);
    let waiting = "FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 7
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("the run has reached p2", async || {
        database.one::<bool>(&format!("SELECT EXISTS (SELECT {waiting})")).await
    })
    .await;
    database.execute(&format!("SELECT pg_terminate_backend(pid) {waiting}")).await;
    holder.execute("SELECT pg_advisory_unlock(7)", &[]).await.unwrap();
    let run = reaped(running).await;
    let result = run.target("t");
    assert_eq!((run.code, &result["deleted"]["old"]), (Some(0), &json!(60)), "{}", run.stderr);
    assert!(result.get("detail").is_none(), "{result}");
}

#[tokio::test]
async fn targets_with_the_same_children_exclude_each_other() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
             CREATE TABLE c (t_id int REFERENCES t); CREATE INDEX ON c (t_id);
             INSERT INTO t SELECT n, now() - interval '9 days' FROM generate_series(1, 20) AS n; INSERT INTO c SELECT id FROM t",
        )
        .await;
    let config = format!("{}children = [{{ table = 'c', column = 't_id' }}]", target("t"));
    let other = other_reaper_on(&database, "c").await;
    let run = reap_by(&database, &config, &[]).await;
    assert_eq!(
        (run.code, &run.target("t")["outcome"]),
        (Some(0), &json!("skipped_lock")),
        "{}",
        run.stderr
    );
    other.execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    let run = reap_by(&database, &config, &[]).await;
    assert_eq!(
        (&run.target("t")["deleted"]["old"], &run.target("t")["children"]),
        (&json!(20), &json!(20)),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn many_partitions_need_only_two_locks_at_once() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id int, due timestamptz, PRIMARY KEY (id)) PARTITION BY RANGE (id); CREATE INDEX ON t (due, id);
             CREATE TABLE held (locks bigint);
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 INSERT INTO held SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid(); RETURN OLD;
             END $$;
             CREATE TRIGGER look BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION look()",
        )
        .await;
    for n in 0..150 {
        database
            .execute(&format!(
                "CREATE TABLE p{n} PARTITION OF t FOR VALUES FROM ({n}) TO ({n} + 1);
                 INSERT INTO t VALUES ({n}, now() - interval '9 days')"
            ))
            .await;
    }
    let run = reap_by(&database, &target("t"), &[]).await;
    assert_eq!(
        (run.code, &run.target("t")["deleted"]["old"]),
        (Some(0), &json!(150)),
        "{}",
        run.stderr
    );
    assert_eq!(
        database.one::<i64>("SELECT max(locks) FROM held").await,
        2,
        "one lock of the target and one of a partition"
    );
}
