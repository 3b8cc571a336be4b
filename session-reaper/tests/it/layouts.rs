//! Tables with partitions, inheritance or children, and the scan in heap order (block by block).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, eventually, reap_by};

fn target(more: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '1d' }}]\n{more}"
    )
}

async fn with(sql: &str) -> Database {
    let database = Database::empty().await;
    database.execute(sql).await;
    database
}

/// Partitions by time range, the third of which has subpartitions, and a default partition.
const PARTITIONED: &str = "
    CREATE TABLE t (id int, due timestamptz, family int) PARTITION BY RANGE (due);
    CREATE SCHEMA parts;
    CREATE TABLE parts.\"P 1\" (family int, due timestamptz, id int);
    ALTER TABLE t ATTACH PARTITION parts.\"P 1\" FOR VALUES FROM (MINVALUE) TO ('2020-01-01Z');
    CREATE TABLE t2 PARTITION OF t FOR VALUES FROM ('2020-01-01Z') TO ('2021-01-01Z');
    CREATE TABLE t3 PARTITION OF t FOR VALUES FROM ('2021-01-01Z') TO ('2022-01-01Z') PARTITION BY HASH (id);
    CREATE TABLE t3a PARTITION OF t3 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE t3b PARTITION OF t3 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE rest PARTITION OF t DEFAULT;
    CREATE INDEX ON t (due, id); CREATE INDEX ON t (family);";

#[tokio::test]
async fn partitioned_table_is_reaped_in_every_partition() {
    let database = with(PARTITIONED).await;
    // 1,000 rows each in 2019, 2020 and 2021, and 500 live rows.
    database
        .execute(
            "INSERT INTO t SELECT n, timestamptz '2019-01-01Z' + (n % 3) * interval '1 year' + n * interval '1 minute'
             FROM generate_series(1, 3000) AS n;
             INSERT INTO t SELECT n, now() + interval '1 day' FROM generate_series(1, 500) AS n",
        )
        .await;
    let holder = database.client().await;
    holder
        .batch_execute(
            "BEGIN; SELECT FROM t WHERE due < '2020-01-01Z' ORDER BY id LIMIT 7 FOR UPDATE",
        )
        .await
        .unwrap();
    let reaped = reap_by(&database, &target(""), &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let result = reaped.target("t");
    assert_eq!(
        (&result["deleted"]["old"], &result["skipped_locked"], &result["remaining"]),
        (&2993.into(), &7.into(), &7.into())
    );
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE due > now()").await, 500);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 507);
}

#[tokio::test]
async fn group_is_decided_across_partitions() {
    let database = with(PARTITIONED).await;
    // Family 1 has a live row in another partition; family 2 has none.
    database
        .execute(
            "INSERT INTO t SELECT n, timestamptz '2019-06-01Z' + n * interval '1 hour', 1 + n % 2 FROM generate_series(1, 100) AS n;
             INSERT INTO t VALUES (0, now(), 1), (0, '2021-03-01Z', 2)",
        )
        .await;
    let reaped = reap_by(&database, &target("group = 'family'"), &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 51, "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE family = 1").await, 51);
}

#[tokio::test]
async fn partition_dropped_during_a_run_is_skipped() {
    let database = with(PARTITIONED).await;
    database
        .execute(
            "INSERT INTO t SELECT n, timestamptz '2019-01-01Z' + (n % 3) * interval '1 year' FROM generate_series(1, 3000) AS n;
             CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN NULL; END $$;
             CREATE TRIGGER hold BEFORE DELETE ON t2 FOR EACH STATEMENT EXECUTE FUNCTION hold();",
        )
        .await;
    let holder = database.client().await;
    holder.batch_execute("SELECT pg_advisory_lock(4711)").await.unwrap();
    let dropper = async {
        testkit::waits_for_a_lock(&holder, "session-reaper").await;
        // The partition existed when the run read the catalog.
        holder.batch_execute("DROP TABLE t3; SELECT pg_advisory_unlock(4711)").await.unwrap();
    };
    let config = target("");
    let (reaped, ()) = tokio::join!(reap_by(&database, &config, &[]), dropper);
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("t")["deleted"]["old"], 2000, "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 0);
}

#[tokio::test]
async fn rows_with_equal_ctids_in_inheriting_tables_are_distinct() {
    // Both tables use the same ctids: due rows in one, live rows in the other.
    let database = with(
        "CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (t);
         CREATE INDEX ON t (due); CREATE INDEX ON heir (due);
         INSERT INTO t SELECT n, CASE WHEN n % 2 = 0 THEN now() - interval '2 days' END FROM generate_series(1, 200) AS n;
         INSERT INTO heir SELECT n, CASE WHEN n % 2 = 1 THEN now() - interval '2 days' END FROM generate_series(1, 200) AS n",
    )
    .await;
    for order in ["order = 'index'", "order = 'heap'"] {
        let reaped = reap_by(&database, &target(order), &[]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE due IS NULL").await, 200);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 200);
        database
            .execute("INSERT INTO t SELECT n + 1000, now() - interval '2 days' FROM generate_series(1, 200) AS n")
            .await;
    }
}

#[tokio::test]
async fn inheriting_table_is_read_by_its_own_key() {
    // The rows of the inheriting table differ only in a column that the target's table does not
    // have. A key without this column would not divide them.
    for key in ["number", "id, number"] {
        let database = with(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz);
             CREATE TABLE heir (number bigint, PRIMARY KEY ({key})) INHERITS (t);
             CREATE INDEX ON t (due, id); CREATE INDEX ON heir (due, {key});
             INSERT INTO t SELECT n, now() - interval '2 days' FROM generate_series(1, 250) AS n;
             INSERT INTO heir SELECT 7, date_trunc('day', now()) - interval '2 days', n FROM generate_series(1, 7010) AS n;
             INSERT INTO heir SELECT 7, now(), -n FROM generate_series(1, 100) AS n"
        ))
        .await;
        let reaped = reap_by(&database, &target("order = 'index'"), &[]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        assert_eq!(reaped.target("t")["deleted"]["old"], 7_260, "{}", reaped.stderr);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 100);
        assert!(!reaped.stderr.contains("no_unique_key"), "{key}: {}", reaped.stderr);
        // MAX_CHUNK is 100.
        assert!(reaped.target("t")["chunks"].as_u64().unwrap() >= 73, "{key}: {}", reaped.report);
    }
}

#[tokio::test]
async fn heap_order_deletes_only_due_rows_in_bounded_chunks() {
    let database = with(
        "CREATE TABLE t (id int PRIMARY KEY, due timestamptz, kind text); CREATE INDEX ON t (due);
         INSERT INTO t SELECT n, now() - (n % 4) * interval '20 hours', CASE WHEN n % 3 = 0 THEN 'stay' END FROM generate_series(1, 20000) AS n;
         CREATE TABLE wanted AS SELECT id FROM t WHERE due >= now() - interval '1 day' OR kind = 'stay'",
    )
    .await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM t WHERE id IN (2, 4, 5, 10007) FOR UPDATE")
        .await
        .unwrap();
    let config = target("order = 'heap'\nwhere = \"t.kind IS DISTINCT FROM 'stay'\"");
    let reaped = reap_by(&database, &config, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let result = reaped.target("t");
    // Rows 2 and 10007 are due, not kept by the condition, and locked.
    assert_eq!(
        (&result["skipped_locked"], &result["remaining"]),
        (&2.into(), &2.into()),
        "{}",
        reaped.stderr
    );
    assert!(
        reaped.stderr.contains(r#""order":"heap","why":"the configuration says so""#),
        "{}",
        reaped.stderr
    );
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM t WHERE id NOT IN (SELECT id FROM wanted)").await,
        2
    );
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM wanted WHERE id NOT IN (SELECT id FROM t)").await,
        0
    );
    // MAX_CHUNK is 100.
    let deleted = result["deleted"]["old"].as_u64().unwrap();
    assert!(result["chunks"].as_u64().unwrap() >= deleted / 100, "{result}");
}

#[tokio::test]
async fn heap_order_is_for_large_backlogs_and_index_order_for_small() {
    let database = with(
        "CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
         INSERT INTO t SELECT n, now() + CASE WHEN n % 2 = 0 THEN 1 ELSE -1 END * (interval '2 days' + n * interval '1 min') FROM generate_series(1, 120000) AS n;
         ANALYZE t",
    )
    .await;
    let fast = [("MAX_CHUNK", "5000")];
    let first = reap_by(&database, &target(""), &fast).await;
    assert_eq!(first.target("t")["deleted"]["old"], 60_000, "{}", first.stderr);
    assert!(
        first.stderr.contains(r#""order":"heap","why":"a due row a block or more""#),
        "{}",
        first.stderr
    );
    database.execute("UPDATE t SET due = now() - interval '3 days' WHERE id % 100 = 0").await;
    let second = reap_by(&database, &target(""), &fast).await;
    assert_eq!(second.target("t")["deleted"]["old"], 1200, "{}", second.stderr);
    assert!(
        second
            .stderr
            .contains(r#""order":"index","why":"fewer due rows than the table has blocks""#),
        "{}",
        second.stderr
    );
}

#[tokio::test]
async fn many_rows_with_the_same_due_time_use_heap_order() {
    let (from_statistics, from_the_first_chunk) =
        (r#""order":"heap","why":"too many rows share one time"#, "heap_order_started");
    for (key, analyze, expected) in [
        ("PRIMARY KEY", "", from_the_first_chunk),
        ("", "", from_the_first_chunk),
        ("PRIMARY KEY", "; ANALYZE t", from_statistics),
    ] {
        // Autovacuum would eventually collect the statistics by itself.
        let database = with(&format!(
            "CREATE TABLE t (id int {key}, due timestamptz) WITH (autovacuum_enabled = off); CREATE INDEX ON t (due);
             INSERT INTO t SELECT n, date_trunc('day', now()) - interval '9 days' FROM generate_series(1, 40000) AS n;
             INSERT INTO t SELECT -n, now() FROM generate_series(1, 100) AS n{analyze}"
        ))
        .await;
        let reaped = reap_by(&database, &target(""), &[("MAX_CHUNK", "1000")]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        assert_eq!(reaped.target("t")["deleted"]["old"], 40_000, "{}", reaped.stderr);
        assert!(reaped.stderr.contains(expected), "{key}{analyze}: {}", reaped.stderr);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 100);
        // No chunk deleted more than 1,000 rows.
        assert!(reaped.target("t")["chunks"].as_u64().unwrap() >= 40, "{}", reaped.report);
    }
}

const FAMILIES: &str = "
    CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
    CREATE TABLE kids (n int, parent int REFERENCES t ON DELETE CASCADE); CREATE INDEX ON kids (parent);
    INSERT INTO t SELECT n, now() - CASE WHEN n <= 300 THEN interval '2 days' ELSE interval '1 hour' END FROM generate_series(1, 400) AS n;
    INSERT INTO kids SELECT n, p FROM generate_series(1, 400) AS p, generate_series(1, CASE p WHEN 7 THEN 5000 WHEN 350 THEN 500 ELSE p % 4 END) AS n;";

#[tokio::test]
async fn children_are_deleted_first_and_count_toward_chunks() {
    for order in ["", "order = 'heap'"] {
        let database = with(FAMILIES).await;
        let due: i64 = database.one("SELECT count(*) FROM kids WHERE parent <= 300").await;
        let all: i64 = database.one("SELECT count(*) FROM kids").await;
        // Record the rows of both tables that each transaction deletes.
        database
            .execute(
                "CREATE TABLE gone (xid bigint, rows int);
                 CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN INSERT INTO gone VALUES (txid_current(), 1); RETURN OLD; END $$;
                 CREATE TRIGGER note BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();
                 CREATE TRIGGER note BEFORE DELETE ON kids FOR EACH ROW EXECUTE FUNCTION note();",
            )
            .await;
        let config =
            target(&format!("children = [{{ table = 'kids', column = 'parent' }}]\n{order}"));
        let reaped = reap_by(&database, &config, &[]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        let result = reaped.target("t");
        assert_eq!(
            (&result["deleted"]["old"], &result["remaining"]),
            (&300.into(), &0.into()),
            "{}",
            reaped.stderr
        );
        assert_eq!(result["children"], due, "{}", reaped.stderr);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM kids").await, all - due);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 100);
        let largest: i64 = database
            .one("SELECT max(n) FROM (SELECT count(*) AS n FROM gone GROUP BY xid) AS chunks")
            .await;
        // MAX_CHUNK is 100, for parents and for children.
        assert!(largest <= 200, "{order} {largest}");
    }
}

#[tokio::test]
async fn children_of_locked_or_kept_parents_are_kept() {
    let database = with(FAMILIES).await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; SELECT FROM t WHERE id = 7 FOR UPDATE").await.unwrap();
    let config = target("children = [{ table = 'kids', column = 'parent' }]\nwhere = 't.id <> 11'");
    let reaped = reap_by(&database, &config, &[]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 298, "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM kids WHERE parent = 7").await, 5000);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM kids WHERE parent = 11").await, 3);
}

#[tokio::test]
async fn children_without_a_foreign_key_refer_to_the_primary_key() {
    let database = with(FAMILIES).await;
    database.execute("ALTER TABLE kids DROP CONSTRAINT kids_parent_fkey").await;
    let reaped =
        reap_by(&database, &target("children = [{ table = 'kids', column = 'parent' }]"), &[])
            .await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM kids WHERE parent <= 300").await, 0);
}

#[tokio::test]
async fn invalid_children_are_rejected_with_the_reason() {
    let database = with(
        "CREATE TABLE t (id int, due timestamptz); CREATE INDEX ON t (due);
         CREATE TABLE kids (parent int, other int);
         INSERT INTO t VALUES (1, now() - interval '9 days')",
    )
    .await;
    for (table, column, expected) in [
        ("kidz", "parent", "children: there is no table kidz; did you mean public.kids?"),
        ("kids", "parents", "did you mean parent?"),
        ("kids", "parent", "no foreign key says what kids (parent) refers to"),
        ("kids", "parent', 'other", "no foreign key says what kids (parent, other) refers to"),
        ("t", "id", "children: t cannot be used: it is the target itself"),
    ] {
        let columns = format!("columns = ['{column}']");
        let config = target(&format!("children = [{{ table = '{table}', {columns} }}]"));
        let reaped = reap_by(&database, &config, &[]).await;
        let why = reaped.target("t")["why"].as_str().unwrap();
        assert!(why.contains(expected), "{expected}\n{why}");
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 1);
}

#[tokio::test]
async fn child_kept_by_a_trigger_keeps_its_parent() {
    // There is no foreign key that would keep the parent.
    let database = with(FAMILIES).await;
    database
        .execute(
            "ALTER TABLE kids DROP CONSTRAINT kids_parent_fkey;
             CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER keep BEFORE DELETE ON kids FOR EACH ROW WHEN (OLD.parent = 7 AND OLD.n = 1) EXECUTE FUNCTION keep()",
        )
        .await;
    let reaped =
        reap_by(&database, &target("children = [{ table = 'kids', column = 'parent' }]"), &[])
            .await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE id = 7").await, 1);
    assert_eq!(
        database
            .one::<i64>("SELECT count(*) FROM kids WHERE parent NOT IN (SELECT id FROM t)")
            .await,
        0
    );
    let remaining = reaped.target("t")["remaining"].as_u64().unwrap();
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM t WHERE id <= 300").await,
        i64::try_from(remaining).unwrap()
    );
}

#[tokio::test]
async fn row_budget_is_never_exceeded() {
    for more in ["children = [{ table = 'kids', column = 'parent' }]", "order = 'heap'", ""] {
        let database = with(FAMILIES).await;
        let before: i64 =
            database.one("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM kids)").await;
        let parents: i64 = database.one("SELECT count(*) FROM t").await;
        let reaped = reap_by(&database, &target(more), &[("MAX_ROWS", "137")]).await;
        assert_eq!(reaped.code, Some(75), "{more}: {}", reaped.stderr);
        let after: i64 =
            database.one("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM kids)").await;
        let gone = if more.starts_with("children") {
            before - after
        } else {
            parents - database.one::<i64>("SELECT count(*) FROM t").await
        };
        assert_eq!(gone, 137, "{more}");
    }
    // Rows with the same time and without a key.
    let database = with(
        "CREATE TABLE t (due timestamptz); CREATE INDEX ON t (due);
         INSERT INTO t SELECT date_trunc('day', now()) - interval '9 days' FROM generate_series(1, 9000)",
    )
    .await;
    let reaped = reap_by(&database, &target("order = 'index'"), &[("MAX_ROWS", "5")]).await;
    assert_eq!(reaped.target("t")["deleted"]["old"], 5, "{}", reaped.stderr);
}

#[tokio::test]
async fn heap_order_skips_rows_with_a_locked_cascade() {
    let database = with(FAMILIES).await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; SELECT FROM kids WHERE parent = 299 FOR UPDATE").await.unwrap();
    let env = [("LOCK_TIMEOUT", "50ms"), ("MAX_CHUNK", "5000")];
    let reaped = reap_by(&database, &target("order = 'heap'"), &env).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let remaining = reaped.target("t")["remaining"].as_u64().unwrap();
    assert!(remaining >= 1, "{}", reaped.report);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM t WHERE id <= 300").await,
        i64::try_from(remaining).unwrap()
    );
}

#[tokio::test]
async fn rows_kept_by_a_trigger_are_not_counted_as_deleted() {
    for order in ["order = 'index'", "order = 'heap'"] {
        let database = with(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, now() - interval '2 days' FROM generate_series(1, 3000) AS n;
             CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
             CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW WHEN (OLD.id > 1000 AND OLD.id % 2 = 0) EXECUTE FUNCTION keep()",
        )
        .await;
        let reaped = reap_by(&database, &target(order), &[]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        let left: i64 = database.one("SELECT count(*) FROM t").await;
        assert!(left >= 1000, "{order} {}", reaped.report);
        assert_eq!(reaped.target("t")["deleted"]["old"], 3000 - left, "{order} {}", reaped.report);
        assert_eq!(reaped.target("t")["remaining"], left, "{order} {}", reaped.report);
    }
}

#[tokio::test]
async fn chunks_in_heap_order_read_no_dead_index_entries() {
    let database = with(
        "CREATE TABLE t (id int PRIMARY KEY, due timestamptz, pad text) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT n, now() - interval '9 days' + n * interval '1 ms', repeat('x', 200)
         FROM generate_series(1, 40000) AS n;
         CREATE INDEX t_due ON t (due, id); ANALYZE t",
    )
    .await;
    const READ: &str = "SELECT (idx_blks_hit + idx_blks_read)::bigint FROM pg_statio_user_indexes
                        WHERE indexrelname = 't_due'";
    // Each connection reports its counts when it ends.
    let reported = async || {
        let client = database.client().await;
        let sql = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()";
        eventually("the connections have ended", async || {
            client.query_one(sql, &[]).await.unwrap().get(0)
        })
        .await;
        client.query_one(READ, &[]).await.unwrap().get::<_, i64>(0)
    };
    let before = reported().await;
    let reaped = reap_by(&database, &target("order = 'heap'\nchunk = 200"), &[]).await;
    let (result, read) = (reaped.target("t"), reported().await - before);
    assert_eq!(result["deleted"]["old"], 40000, "{}", reaped.stderr);
    let chunks = result["chunks"].as_i64().unwrap();
    assert!(chunks >= 200, "{chunks}");
    // The counts of due rows before and after the chunks read the index.
    assert!(read < 4 * chunks + 1000, "{read} blocks for {chunks} chunks");
}
