//! Rows whose deletion depends on other rows, while other transactions write to those rows.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Reaped, reap_by};

const TOKENS: &str = "
    CREATE TABLE tokens (id bigint PRIMARY KEY, family bigint, expires_at timestamptz NOT NULL);
    CREATE INDEX ON tokens (expires_at, id);
    CREATE INDEX ON tokens (family);";

fn target(order: &str) -> String {
    format!(
        "[[target]]\ntable = 'tokens'\nconfirmed = true\ngroup = 'family'\norder = '{order}'\n\
         due = [ {{ reason = 'expired', column = 'expires_at', keep = '1d' }} ]"
    )
}

async fn ids(database: &Database) -> String {
    database.one("SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') FROM tokens").await
}

fn deleted(run: &Reaped) -> u64 {
    assert_eq!(run.code, Some(0), "{}{}", run.report, run.stderr);
    run.target("tokens")["deleted"]["expired"].as_u64().unwrap()
}

#[tokio::test]
async fn group_is_kept_whole_while_a_member_is_locked() {
    for order in ["index", "heap"] {
        for held in [
            "UPDATE tokens SET expires_at = now() + interval '1 day' WHERE id = 2",
            "SELECT FROM tokens WHERE id = 2 FOR UPDATE",
            "SELECT FROM tokens WHERE id = 2 FOR KEY SHARE",
            "DELETE FROM tokens WHERE id = 2",
        ] {
            let database = Database::create().await;
            database.execute(TOKENS).await;
            database
                .execute(
                    "INSERT INTO tokens SELECT n, f, now() - interval '10 days' + n * interval '1 min'
                     FROM (VALUES (1, 7), (2, 7), (3, 8), (4, 8), (5, NULL)) AS row (n, f)",
                )
                .await;
            let holder = database.client().await;
            holder.batch_execute(&format!("BEGIN; {held}")).await.unwrap();
            let run = reap_by(&database, &target(order), &[]).await;
            assert_eq!(ids(&database).await, "1 2", "{order}, {held}: {}", run.stderr);
            assert_eq!(deleted(&run), 3, "{order}, {held}");
            assert_eq!(run.target("tokens")["remaining"], 2, "{order}, {held}");
            holder.batch_execute("COMMIT").await.unwrap();

            // If a row was extended, all rows of its group are kept.
            let run = reap_by(&database, &target(order), &[]).await;
            let extended = held.starts_with("UPDATE");
            assert_eq!(
                ids(&database).await,
                if extended { "1 2" } else { "" },
                "{order}, {held}: {}",
                run.stderr
            );
        }
    }
}

#[tokio::test]
async fn group_across_partitions_is_kept_while_a_member_is_locked() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE tokens (id bigint, family bigint, expires_at timestamptz NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE tokens_1 PARTITION OF tokens FOR VALUES FROM (0) TO (10);
             CREATE TABLE tokens_2 PARTITION OF tokens FOR VALUES FROM (10) TO (20);
             CREATE INDEX ON tokens (expires_at, id);
             CREATE INDEX ON tokens (family);
             INSERT INTO tokens SELECT n, f, now() - interval '10 days'
             FROM (VALUES (1, 7), (11, 7), (2, 8), (12, 8)) AS row (n, f)",
        )
        .await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; SELECT FROM tokens WHERE id = 11 FOR UPDATE").await.unwrap();
    assert_eq!(deleted(&reap_by(&database, &target("index"), &[]).await), 2);
    assert_eq!(ids(&database).await, "1 11");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(deleted(&reap_by(&database, &target("index"), &[]).await), 2);
}

#[tokio::test]
async fn groups_larger_than_one_lock_batch_are_all_deleted() {
    for order in ["index", "heap"] {
        let database = Database::create().await;
        database.execute(TOKENS).await;
        // The n-th rows of all groups share a due time, so a chunk contains one row of each of the
        // 300 groups, which have 12,000 rows in total.
        database
            .execute(
                "INSERT INTO tokens SELECT g + 1000 * n, g, now() - interval '10 days' + n * interval '1 min'
                 FROM generate_series(1, 300) AS g, generate_series(1, 40) AS n; ANALYZE tokens",
            )
            .await;
        let run = reap_by(&database, &target(order), &[("MAX_CHUNK", "300")]).await;
        assert_eq!(deleted(&run), 12_000, "{order}");
    }
}

#[tokio::test]
async fn large_group_is_kept_during_writes_and_deleted_after() {
    for order in ["index", "heap"] {
        let database = Database::create().await;
        database.execute(TOKENS).await;
        database
            .execute(
                "INSERT INTO tokens SELECT n, 7, now() - interval '10 days' + n * interval '1 ms' FROM generate_series(1, 10050) AS n;
                 INSERT INTO tokens SELECT n, n, now() - interval '10 days' FROM generate_series(20001, 20010) AS n; ANALYZE tokens",
            )
            .await;
        // The reaper needs a table lock to decide whether a large group may be deleted, and the
        // writer prevents this lock. Small groups are deleted without a table lock.
        let writer = database.client().await;
        writer
            .batch_execute("BEGIN; INSERT INTO tokens VALUES (99999, 99, now() + interval '1 day')")
            .await
            .unwrap();
        let env = [("MAX_CHUNK", "5000")];
        let run = reap_by(&database, &target(order), &env).await;
        assert_eq!(deleted(&run), 10, "{order}");
        assert_eq!(run.target("tokens")["remaining"], 10_050, "{order}");
        writer.batch_execute("COMMIT").await.unwrap();
        assert_eq!(deleted(&reap_by(&database, &target(order), &env).await), 10_050, "{order}");
        assert_eq!(ids(&database).await, "99999");
    }
}

#[tokio::test]
async fn large_group_with_a_live_row_is_kept() {
    let database = Database::create().await;
    database.execute(TOKENS).await;
    database
        .execute(
            "INSERT INTO tokens SELECT n, 7, now() - interval '10 days' + n * interval '1 ms' FROM generate_series(1, 10050) AS n;
             UPDATE tokens SET expires_at = now() + interval '1 day' WHERE id = 10050; ANALYZE tokens",
        )
        .await;
    assert_eq!(deleted(&reap_by(&database, &target("index"), &[]).await), 0);
}

#[tokio::test]
async fn group_column_uses_the_equality_of_its_type() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE EXTENSION citext;
             CREATE TABLE tokens (id bigint PRIMARY KEY, family citext, expires_at timestamptz NOT NULL);
             CREATE INDEX ON tokens (expires_at, id);
             CREATE INDEX ON tokens (family);
             INSERT INTO tokens VALUES (1, 'A', now() - interval '10 days'), (2, 'a', now() + interval '1 day'),
                 (3, 'B', now() - interval '10 days'), (4, 'b', now() - interval '10 days')",
        )
        .await;
    assert_eq!(deleted(&reap_by(&database, &target("index"), &[]).await), 2);
    assert_eq!(ids(&database).await, "1 2");
}

/// Tokens, and orders that are deleted with them by a cascade.
const TOKENS_AND_ORDERS: &str = "
    CREATE TABLE tokens (id bigint PRIMARY KEY, expires_at timestamptz NOT NULL);
    CREATE INDEX ON tokens (expires_at, id);
    CREATE TABLE orders (id bigint PRIMARY KEY, token_id bigint NOT NULL REFERENCES tokens ON DELETE CASCADE);
    CREATE INDEX ON orders (token_id);
    INSERT INTO tokens SELECT n, now() - interval '10 days' + n * interval '1 ms' FROM generate_series(1, 3) AS n;";

#[tokio::test]
async fn row_is_kept_if_its_condition_changes_before_the_lock() {
    for order in ["index", "heap"] {
        let database = Database::create().await;
        database.execute(TOKENS_AND_ORDERS).await;
        // The order is inserted between the snapshot of the locking statement and the lock, while
        // the condition is evaluated.
        database
            .execute(
                "CREATE EXTENSION dblink;
                 CREATE FUNCTION order_meanwhile(id bigint) RETURNS boolean LANGUAGE plpgsql AS $$
                 BEGIN
                     IF id = 2 AND NOT EXISTS (SELECT FROM orders_seen) THEN
                         PERFORM dblink_exec('dbname=' || current_database() || ' port=' || current_setting('port')
                             || ' host=' || split_part(current_setting('unix_socket_directories'), ',', 1)
                             || ' user=postgres password=' || current_setting('test.password'),
                             'INSERT INTO orders VALUES (1, 2); INSERT INTO orders_seen VALUES (1)');
                     END IF;
                     RETURN true;
                 END $$;
                 CREATE TABLE orders_seen (id int);",
            )
            .await;
        let password = database
            .url()
            .split_once("//")
            .unwrap()
            .1
            .split_once('@')
            .unwrap()
            .0
            .split_once(':')
            .unwrap()
            .1
            .to_owned();
        let name: String = database.one("SELECT current_database()").await;
        database.execute(&format!("ALTER DATABASE {name} SET test.password = '{password}'")).await;
        let config = format!(
            "[[target]]\ntable = 'tokens'\nconfirmed = true\norder = '{order}'\n\
             where = 'NOT EXISTS (SELECT FROM orders o WHERE o.token_id = t.id) AND order_meanwhile(t.id)'\n\
             due = [ {{ reason = 'expired', column = 'expires_at', keep = '1d' }} ]"
        );
        let run = reap_by(&database, &config, &[]).await;
        assert_eq!(
            database.one::<i64>("SELECT count(*) FROM orders").await,
            1,
            "{order}: {}",
            run.stderr
        );
        assert_eq!(ids(&database).await, "2", "{order}: {}{}", run.report, run.stderr);
    }
}
