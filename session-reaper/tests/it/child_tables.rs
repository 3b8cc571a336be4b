//! `children` that reference their parents with several columns, and children that are partitioned.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, reap_by};

/// User sessions and client sessions as in Keycloak: an online session and an offline session may
/// have the same ID. Of the 400 user sessions, 300 are due. Each has up to four client sessions.
const SESSIONS: &str = "
    CREATE TABLE t (id int, kind text, due timestamptz, PRIMARY KEY (id, kind));
    CREATE INDEX ON t (due, id, kind);
    CREATE TABLE kids (n int, flag text, parent int);
    CREATE INDEX ON kids (parent, flag);
    INSERT INTO t SELECT n / 2, n % 2, now() - CASE WHEN n % 4 = 0 THEN interval '1 hour' ELSE interval '2 days' END
    FROM generate_series(1, 400) AS n;
    INSERT INTO kids SELECT n, kind, id FROM t, generate_series(1, id % 5) AS n;";

/// Client sessions without a user session.
const ORPHANS: &str =
    "SELECT count(*) FROM kids WHERE (parent, flag) NOT IN (SELECT id, kind FROM t)";

fn target(children: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '1d' }}]\n\
         children = [{{ table = 'kids', {children} }}]\n"
    )
}

async fn with(sql: &str) -> Database {
    let database = Database::empty().await;
    database.execute(sql).await;
    database
}

/// Deletes the due sessions, and checks that exactly these sessions and their children are gone.
async fn deletes_exactly_the_due_rows(database: &Database, config: &str) {
    database
        .execute(
            "CREATE TABLE kept AS SELECT * FROM t WHERE due > now() - interval '1 day';
             CREATE TABLE kept_kids AS SELECT k.* FROM kids k JOIN kept ON (kept.id, kept.kind) = (k.parent, k.flag)",
        )
        .await;
    let kids: i64 = database.one("SELECT count(*) FROM kids").await;
    let reaped = reap_by(database, config, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let (rows, left): (i64, i64) = (
        database.one("SELECT count(*) FROM t JOIN kept USING (id, kind)").await,
        database.one("SELECT count(*) FROM kids JOIN kept_kids USING (n, flag, parent)").await,
    );
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, rows);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM kept").await, rows);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM kids").await, left);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM kept_kids").await, left);
    let result = reaped.target("t");
    assert_eq!(result["deleted"]["old"], 400 - rows, "{}", reaped.stderr);
    assert_eq!(result["children"], kids - left, "{}", reaped.stderr);
}

#[tokio::test]
async fn children_may_reference_several_columns() {
    for (constraint, children) in [
        // Without a foreign key, the columns have the order of the primary key.
        ("", "columns = ['parent', 'flag']"),
        // With a foreign key, they may have any order.
        (
            "ALTER TABLE kids ADD FOREIGN KEY (flag, parent) REFERENCES t (kind, id)",
            "columns = ['parent', 'flag']",
        ),
        (
            "ALTER TABLE kids ADD FOREIGN KEY (parent, flag) REFERENCES t",
            "columns = ['flag', 'parent']",
        ),
    ] {
        let database = with(SESSIONS).await;
        database.execute(constraint).await;
        deletes_exactly_the_due_rows(&database, &target(children)).await;
        assert_eq!(database.one::<i64>(ORPHANS).await, 0);
    }
}

#[tokio::test]
async fn children_may_be_partitioned() {
    const PARTITIONED: &str = "
        CREATE TABLE parts (n int, flag text, parent int) PARTITION BY LIST (flag);
        CREATE TABLE online PARTITION OF parts FOR VALUES IN ('0');
        CREATE TABLE offline (parent int, n int, flag text);
        ALTER TABLE parts ATTACH PARTITION offline FOR VALUES IN ('1');
        CREATE INDEX ON parts (parent, flag);
        INSERT INTO parts SELECT n, flag, parent FROM kids;
        DROP TABLE kids; ALTER TABLE parts RENAME TO kids;";
    for constraint in ["", "ALTER TABLE kids ADD FOREIGN KEY (parent, flag) REFERENCES t"] {
        let database = with(&format!("{SESSIONS}{PARTITIONED}{constraint}")).await;
        deletes_exactly_the_due_rows(&database, &target("columns = ['parent', 'flag']")).await;
    }
}

#[tokio::test]
async fn locked_child_in_a_partition_keeps_its_parent() {
    let database = with(SESSIONS).await;
    database
        .execute(
            "ALTER TABLE kids RENAME TO part; CREATE TABLE kids (LIKE part) PARTITION BY RANGE (parent);
             ALTER TABLE kids ATTACH PARTITION part DEFAULT",
        )
        .await;
    let holder = database.client().await;
    holder
        .batch_execute(
            "BEGIN; SELECT FROM kids WHERE parent = 13 AND flag = '1' AND n = 1 FOR UPDATE",
        )
        .await
        .unwrap();
    let env = [("LOCK_TIMEOUT", "100ms")];
    let reaped = reap_by(&database, &target("columns = ['parent', 'flag']"), &env).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("t")["deleted"]["old"], 299, "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t WHERE id = 13 AND kind = '1'").await, 1);
    assert_eq!(database.one::<i64>(ORPHANS).await, 0);
}

#[tokio::test]
async fn missing_index_of_several_columns_is_reported() {
    let database = with(SESSIONS).await;
    database.execute("DROP INDEX kids_parent_flag_idx").await;
    let reaped = reap_by(&database, &target("columns = ['parent', 'flag']"), &[]).await;
    assert_eq!(reaped.code, Some(65), "{}", reaped.stderr);
    assert!(reaped.stderr.contains(r#""code":"child-not-indexed""#), "{}", reaped.stderr);
    let remedy = "CREATE INDEX CONCURRENTLY ON public.kids (parent, flag)";
    assert!(reaped.stderr.contains(remedy), "{}", reaped.stderr);
}
