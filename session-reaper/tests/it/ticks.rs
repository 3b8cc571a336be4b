//! The state that a daemon keeps between scheduled runs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Program, Server, eventually, start_reaper};
use tokio_postgres::Client;

const TARGET: &str = r#"
[[target]]
table = "carts"
confirmed = true
due = [ { reason = "expired", column = "expires_at", keep = "1d" } ]
"#;

/// More index blocks than a run without due rows reads. PostgreSQL reads most of these blocks while
/// it plans statements: it reads the ends of an index, including up to 100 blocks of dead entries.
const A_RUN: i64 = 150;

async fn runs(client: &Client) -> i64 {
    client
        .query_one("SELECT count(*) FROM reaper_runs WHERE outcome = 'success'", &[])
        .await
        .unwrap()
        .get(0)
}

/// Waits until `more` further runs have ended. Returns the number of all runs that have ended, and
/// the number of index blocks of the table that they have read. A connection reports its counts
/// before it closes. Therefore, the function also waits until the connections of the last run are
/// closed.
async fn after_runs(client: &Client, more: i64) -> (i64, i64) {
    const OPEN: &str = "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity
         WHERE application_name = 'session-reaper' AND pid = ANY (coalesce($1, array[pid]))";
    const READ: &str = "SELECT sum(idx_blks_hit + idx_blks_read)::bigint FROM pg_statio_user_indexes WHERE relname = 'carts'";
    let wanted = runs(client).await + more;
    eventually("runs have ended", async || runs(client).await >= wanted).await;
    let mut open: Vec<i32> = client.query_one(OPEN, &[&None::<Vec<i32>>]).await.unwrap().get(0);
    eventually("the connections of the runs have ended", async || {
        open = client.query_one(OPEN, &[&open]).await.unwrap().get(0);
        open.is_empty()
    })
    .await;
    (runs(client).await, client.query_one(READ, &[]).await.unwrap().get(0))
}

#[tokio::test]
async fn idle_run_starts_after_the_dead_index_entries() {
    let server = Server::start(&[("autovacuum", "off")]).await;
    let database = server.database().await;
    database
        .execute(
            "CREATE TABLE carts (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL);
             INSERT INTO carts SELECT n, now() - interval '10 days' + n * interval '1 ms' FROM generate_series(1, 400000) AS n;
             CREATE INDEX carts_expires_at_idx ON carts (expires_at, id);
             ANALYZE carts",
        )
        .await;
    // While a transaction can still see the deleted rows, neither a vacuum nor an index scan
    // removes the index entries of these rows.
    let snapshot = database.client().await;
    snapshot
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM carts")
        .await
        .unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TARGET).unwrap();
    let env = [
        ("DATABASE_URL", database.url()),
        ("REAPER_CONFIG", file.path().to_str().unwrap().to_owned()),
        ("SCHEDULE", "* * * * * *".to_owned()),
        ("MAX_CHUNK", "5000".to_owned()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _daemon: Program = start_reaper(&database, &["daemon"], &env);
    let client = database.client().await;
    let index_blocks: i64 =
        database.one("SELECT pg_relation_size('carts_expires_at_idx') / 8192").await;
    assert!(index_blocks > 1_000, "{index_blocks}");
    // The reaper reads from the statistics whether there are many dead rows.
    let counted = "SELECT n_dead_tup >= 400000 FROM pg_stat_user_tables WHERE relname = 'carts'";
    eventually("all rows are deleted and counted", async || {
        client.query_one(counted, &[]).await.unwrap().get(0)
    })
    .await;

    // The second of these runs started after the deletes, so it reads all dead index entries. Later
    // runs start their scans after the dead entries, at least for some minutes, even on a fast
    // machine.
    let (first, before) = after_runs(&client, 2).await;
    let (last, after) = after_runs(&client, 15).await;
    let (runs, read) = (last - first, after - before);
    // A single full scan would read the whole index.
    assert!(read < runs * A_RUN, "{read} blocks in {runs} runs; the index has {index_blocks}");

    // Runs that start after the dead entries do not count a row that is inserted before them, so
    // they do not report that no row is due.
    database.execute("INSERT INTO carts VALUES (0, now() - interval '20 days')").await;
    after_runs(&client, 2).await;
    let state = "SELECT report #>> '{targets, 0, remaining_state}' FROM reaper_runs
        WHERE outcome = 'success' ORDER BY started_at DESC LIMIT 1";
    assert_eq!(database.one::<Option<String>>(state).await.as_deref(), Some("at_least"));
    drop(snapshot);
}
