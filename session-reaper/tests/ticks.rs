//! What a daemon remembers from one tick to the next.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Program, Server, eventually, start_reaper};

const TARGET: &str = r#"
[[target]]
table = "carts"
confirmed = true
due = [ { reason = "expired", column = "expires_at", keep = "1d" } ]
"#;

/// Blocks of the index that were looked at until now, by connections that have ended.
async fn blocks_read(database: &Database) -> i64 {
    database
        .one("SELECT sum(idx_blks_hit + idx_blks_read)::bigint FROM pg_statio_user_indexes WHERE relname = 'carts'")
        .await
}

async fn runs(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM reaper_runs WHERE outcome = 'success'").await
}

/// Waits until so many more runs have ended, and until the server has counted what they looked at.
async fn after_runs(database: &Database, more: i64) {
    let wanted = runs(database).await + more;
    eventually("runs have ended", async || runs(database).await >= wanted).await;
}

#[tokio::test]
async fn an_idle_tick_does_not_walk_over_what_an_earlier_one_deleted() {
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
    // As long as somebody might still see them, what was deleted stays in the way.
    let snapshot = database.client().await;
    snapshot.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM carts").await.unwrap();

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
    let empty = "SELECT NOT EXISTS (SELECT FROM carts)";
    eventually("all of it is gone", async || client.query_one(empty, &[]).await.unwrap().get(0)).await;

    // The next one begins at the beginning: the index has some thousand blocks of entries in the way.
    let index_blocks: i64 = database.one("SELECT pg_relation_size('carts_expires_at_idx') / 8192").await;
    after_runs(&database, 2).await;
    let before = blocks_read(&database).await;
    after_runs(&database, 3).await;
    let looked_at = blocks_read(&database).await - before;
    // From the beginning it would be all of them, several times in each of at least two ticks.
    assert!(index_blocks > 1_000, "{index_blocks}");
    assert!(looked_at < index_blocks, "{looked_at} of {index_blocks}");
    drop(snapshot);
}
