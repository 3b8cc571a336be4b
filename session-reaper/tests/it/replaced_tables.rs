//! Tables, columns and partitions that are replaced during a run: rows of objects that were not
//! checked are never deleted.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, ParkAt, Parking, Reaped, eventually, reaped, start_reaper};

/// A table with 400 rows, all of which are due.
const CARTS: &str = "
    CREATE TABLE carts (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL, owner bigint);
    CREATE INDEX ON carts (expires_at, id);
    INSERT INTO carts SELECT n, now() - interval '10 days' + n * interval '1 ms', n FROM generate_series(1, 400) AS n;";

const TARGET: &str = r#"
[[target]]
table = "carts"
confirmed = true
due = [ { reason = "expired", column = "expires_at", keep = "1d" } ]
"#;

/// Runs with chunks (transactions) of 100 rows, and executes `change` during the chunk that starts
/// with 300 rows left. If the change has to wait for that chunk, the change is made before the next
/// chunk starts.
async fn changed(database: &Database, config: &str, order: &str, change: &str) -> Reaped {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{config}\norder = \"{order}\"\n")).unwrap();
    let parking = Parking::on(database, "carts", ParkAt::Statement { rows_left: 300 }).await;
    let url = database.url();
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", file.path().to_str().unwrap())];
    let run = start_reaper(database, &["run", "--yes", "--output", "json"], &env);
    parking.wait_for_arrival().await;

    let changer = database.client().await;
    let pid: i32 = changer.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let change = change.to_owned();
    let changing =
        tokio::spawn(async move { changer.batch_execute(&change).await.map(|()| changer) });
    let watcher = database.client().await;
    eventually("the change is made, or waits for the chunk", async || {
        let waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1";
        changing.is_finished()
            || watcher.query_one(waits, &[&pid]).await.unwrap().get::<_, Option<bool>>(0)
                == Some(true)
    })
    .await;
    parking.open().await;
    changing.await.unwrap().unwrap();
    reaped(run).await
}

async fn count(database: &Database, table: &str) -> i64 {
    database.one(&format!("SELECT count(*) FROM {table}")).await
}

#[tokio::test]
async fn rows_of_a_table_that_is_swapped_in_are_kept() {
    for order in ["index", "heap"] {
        let database = Database::create().await;
        database.execute(CARTS).await;
        database.execute("CREATE TABLE carts_new (LIKE carts INCLUDING ALL); INSERT INTO carts_new TABLE carts").await;
        let swap = "BEGIN; ALTER TABLE carts RENAME TO carts_old; ALTER TABLE carts_new RENAME TO carts; COMMIT";
        let run = changed(&database, TARGET, order, swap).await;
        assert_eq!(count(&database, "carts").await, 400, "{order}: {}", run.stderr);
        assert_ne!(run.code, Some(0), "{order}: {}", run.report);
        assert_eq!(run.target("carts")["outcome"], "failed");
        let deleted = run.target("carts")["deleted"]["expired"].as_i64().unwrap();
        assert_eq!(count(&database, "carts_old").await, 400 - deleted, "{order}");
    }
}

#[tokio::test]
async fn rows_of_a_table_in_a_swapped_schema_are_kept() {
    let database = Database::create().await;
    database.execute(&format!("CREATE SCHEMA app; SET search_path = app; {CARTS}")).await;
    database
        .execute("CREATE SCHEMA app_new; CREATE TABLE app_new.carts (LIKE app.carts INCLUDING ALL)")
        .await;
    database.execute("INSERT INTO app_new.carts TABLE app.carts").await;
    let config = TARGET.replace("\"carts\"", "\"app.carts\"");
    // The parking must find the table in `app`.
    let name: String = database.one("SELECT current_database()").await;
    database.execute(&format!("ALTER DATABASE {name} SET search_path = app, public")).await;
    let swap =
        "BEGIN; ALTER SCHEMA app RENAME TO app_old; ALTER SCHEMA app_new RENAME TO app; COMMIT";
    let run = changed(&database, &config, "index", swap).await;
    assert_eq!(count(&database, "app.carts").await, 400, "{}", run.stderr);
    assert_ne!(run.code, Some(0), "{}", run.report);
}

#[tokio::test]
async fn rows_are_kept_after_a_column_is_replaced() {
    for change in [
        // According to the new column, all rows would be due.
        "BEGIN; ALTER TABLE carts RENAME expires_at TO expired_at;
         ALTER TABLE carts ADD expires_at timestamptz NOT NULL DEFAULT '2001-01-01'; COMMIT",
        "ALTER TABLE carts ALTER expires_at TYPE timestamp USING expires_at - interval '10 years'",
        "BEGIN; ALTER TABLE carts RENAME id TO number; ALTER TABLE carts RENAME owner TO id; COMMIT",
    ] {
        let database = Database::create().await;
        database.execute(CARTS).await;
        let run = changed(&database, TARGET, "index", change).await;
        assert_eq!(count(&database, "carts").await, 200, "{change}: {}", run.stderr);
        assert_ne!(run.code, Some(0), "{change}: {}", run.report);
    }
}

#[tokio::test]
async fn unused_column_can_be_added_or_dropped() {
    let database = Database::create().await;
    database.execute(CARTS).await;
    let run =
        changed(&database, TARGET, "index", "ALTER TABLE carts DROP owner, ADD note text").await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(count(&database, "carts").await, 0);
}

/// Two partitions: `carts` with 400 rows and `newer` with 300 rows.
const PARTITIONED: &str = "
    CREATE TABLE all_carts (id bigint, expires_at timestamptz NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);
    CREATE TABLE carts PARTITION OF all_carts FOR VALUES FROM (0) TO (1000);
    CREATE TABLE newer PARTITION OF all_carts FOR VALUES FROM (1000) TO (2000);
    CREATE INDEX ON all_carts (expires_at, id);
    INSERT INTO all_carts SELECT n, now() - interval '10 days' + n * interval '1 ms' FROM generate_series(1, 400) AS n;
    INSERT INTO all_carts SELECT n, now() - interval '10 days' + n * interval '1 ms' FROM generate_series(1001, 1300) AS n;
    CREATE TABLE elsewhere (id bigint, expires_at timestamptz NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);";

#[tokio::test]
async fn rows_of_a_detached_partition_are_kept() {
    for (change, of_carts, of_newer) in [
        ("ALTER TABLE all_carts DETACH PARTITION newer", 0, 300),
        ("ALTER TABLE all_carts DETACH PARTITION carts", 200, 0),
        (
            "BEGIN; ALTER TABLE all_carts DETACH PARTITION newer;
             ALTER TABLE elsewhere ATTACH PARTITION newer FOR VALUES FROM (1000) TO (2000); COMMIT",
            0,
            300,
        ),
    ] {
        let database = Database::create().await;
        database.execute(PARTITIONED).await;
        let config = TARGET.replace("\"carts\"", "\"all_carts\"");
        let run = changed(&database, &config, "index", change).await;
        assert_eq!(count(&database, "carts").await, of_carts, "{change}: {}", run.stderr);
        assert_eq!(count(&database, "newer").await, of_newer, "{change}: {}", run.stderr);
        assert_eq!(run.code, Some(0), "{change}: {}", run.report);
    }
}

#[tokio::test]
async fn rows_of_a_child_table_that_is_swapped_in_are_kept() {
    let database = Database::create().await;
    database.execute(CARTS).await;
    database
        .execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, cart_id bigint NOT NULL);
             CREATE INDEX ON items (cart_id);
             INSERT INTO items SELECT n, n FROM generate_series(1, 400) AS n;
             CREATE TABLE items_new (LIKE items INCLUDING ALL); INSERT INTO items_new TABLE items",
        )
        .await;
    let config = format!("{TARGET}children = [{{ table = \"items\", column = \"cart_id\" }}]");
    let swap = "BEGIN; ALTER TABLE items RENAME TO items_old; ALTER TABLE items_new RENAME TO items; COMMIT";
    let run = changed(&database, &config, "index", swap).await;
    assert_eq!(count(&database, "items").await, 400, "{}", run.stderr);
    assert_ne!(run.code, Some(0), "{}", run.report);
}

#[tokio::test]
async fn rows_are_kept_after_a_table_in_the_condition_is_swapped() {
    let database = Database::create().await;
    database.execute(CARTS).await;
    // Carts 101 to 400 have orders; the table that is swapped in has none.
    database
        .execute(
            "CREATE TABLE orders (cart_id bigint PRIMARY KEY); INSERT INTO orders SELECT n FROM generate_series(101, 400) AS n;
             CREATE TABLE orders_new (LIKE orders INCLUDING ALL)",
        )
        .await;
    // The first hundred carts are deleted; the parking is in the next chunk.
    let config =
        format!("{TARGET}where = \"NOT EXISTS (SELECT FROM orders o WHERE o.cart_id = t.id)\"");
    let swap = "BEGIN; ALTER TABLE orders RENAME TO orders_old; ALTER TABLE orders_new RENAME TO orders; COMMIT";
    let run = changed(&database, &config, "index", swap).await;
    assert_eq!(count(&database, "carts").await, 300, "{}", run.stderr);
    assert_eq!(run.target("carts")["outcome"], "failed");
}
