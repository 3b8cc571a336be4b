//! Rows whose deletion waits because another transaction has locked a row that depends on them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, ParkAt, Parking, reap_by, reaped, start_reaper};

const ROWS: i64 = 1_000;

/// The maximum number of rows of `parent` in a block.
const ROWS_IN_A_BLOCK: i64 = 200;

const TABLES: &str = "
    CREATE TABLE parent (id bigint PRIMARY KEY, ended_at timestamptz);
    CREATE INDEX ON parent (ended_at, id);
    CREATE TABLE child (id bigint PRIMARY KEY, parent_id bigint NOT NULL REFERENCES parent ON DELETE CASCADE);
    CREATE INDEX ON child (parent_id);
    INSERT INTO parent SELECT i, now() - interval '2 days' + i * interval '1 second' FROM generate_series(1, 1000) i;
    INSERT INTO child SELECT i, i FROM generate_series(1, 1000) i;
    ANALYZE";

fn config(order: &str, children: &str) -> String {
    format!(
        "[[target]]\ntable = \"parent\"\norder = \"{order}\"\n{children}\n\
         due = [{{ reason = \"ended\", column = \"ended_at\", keep = \"1d\" }}]\n"
    )
}

/// Eight rows that are far apart, and half of the table in one sequence.
const LOCKED: [(&str, i64); 2] = [("id % 125 = 7", 8), ("id BETWEEN 201 AND 700", 500)];

#[tokio::test]
async fn rows_with_locked_dependents_are_skipped_and_all_others_deleted() {
    let children = "children = [{ table = \"child\", column = \"parent_id\" }]";
    for (order, children) in [("index", ""), ("heap", ""), ("index", children)] {
        for (condition, locked) in LOCKED {
            let database = Database::create().await;
            database.execute(TABLES).await;
            let holder = database.client().await;
            let lock = format!("BEGIN; SELECT FROM child WHERE {condition} FOR UPDATE");
            holder.batch_execute(&lock).await.unwrap();
            let case = format!("{order} {children} {condition}");

            let config = config(order, children);
            let first = reap_by(&database, &config, &[("LOCK_TIMEOUT", "50ms")]).await;
            let target = first.target("parent");
            assert_eq!(target["outcome"], "success", "{case} {}", first.stderr);
            let remaining = target["remaining"].as_i64().unwrap();
            // In heap order, the rows of a block are skipped after a few lock timeouts.
            let free_rows_left =
                if order == "heap" && locked > 8 { 2 * ROWS_IN_A_BLOCK } else { 0 };
            assert!(
                (locked..=locked + free_rows_left).contains(&remaining),
                "{case} {remaining} {}",
                first.stderr
            );
            let deleted = &target["deleted"]["ended"];
            assert_eq!(*deleted, ROWS - remaining, "{case} {}", first.stderr);

            holder.batch_execute("ROLLBACK").await.unwrap();
            let second = reap_by(&database, &config, &[]).await;
            assert_eq!(second.target("parent")["deleted"]["ended"], remaining, "{case}");
        }
    }
}

#[tokio::test]
async fn lock_on_a_referencing_table_delays_the_run() {
    let database = Database::create().await;
    database.execute(TABLES).await;
    // The run has begun, and the statement of its third chunk has not deleted a row yet.
    let parking =
        Parking::on(&database, "parent", ParkAt::Statement { rows_left: ROWS - 200 }).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config("index", "")).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap());
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path), ("LOCK_TIMEOUT", "50ms")];
    let mut program = start_reaper(&database, &["run", "--yes", "--output", "json"], &env);
    parking.wait_for_arrival().await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE child").await.unwrap();
    parking.open().await;
    program.log_event("chunk_retried").await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    program.wait().await;
    assert_eq!(program.log_events("dependent_rows_locked"), Vec::<serde_json::Value>::new());
    let run = reaped(program).await;
    assert_eq!(run.target("parent")["deleted"]["ended"], ROWS, "{}", run.stderr);
}
