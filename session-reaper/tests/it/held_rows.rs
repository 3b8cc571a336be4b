//! Rows whose deletion fails. All other due rows are deleted.

use serde_json::json;
use testkit::{Database, Reaped, reap_by};

const ROWS: i64 = 3_000;

fn config(more: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '1d' }}]\n{more}"
    )
}

/// Creates due rows in `t`. In every 60th row, `held` is true.
async fn database(more: &str) -> Database {
    let database = Database::create().await;
    database
        .execute(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, due timestamptz NOT NULL, held boolean NOT NULL);
             INSERT INTO t SELECT i, now() - interval '10 days' + i * interval '1 second', i % 60 = 0 FROM generate_series(1, {ROWS}) i;
             CREATE INDEX ON t (due, id);
             GRANT SELECT, DELETE, UPDATE ON t TO session_reaper; {more}; ANALYZE t"
        ))
        .await;
    database
}

async fn run(database: &Database, more: &str) -> Reaped {
    reap_by(database, &config(more), &[("MAX_FRACTION", "1"), ("DUTY_CYCLE", "1")]).await
}

async fn rows(database: &Database) -> (i64, i64) {
    let count = async |condition: &str| {
        database.one::<i64>(&format!("SELECT count(*) FROM t WHERE {condition}")).await
    };
    (count("held").await, count("NOT held").await)
}

/// Returns the number of chunks that were rejected, from the log of the run.
fn rejections(run: &Reaped) -> usize {
    run.stderr.matches("\"rows_held\"").count() + run.stderr.matches("\"row_held\"").count()
}

const TRIGGER: &str = "
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF OLD.held THEN RAISE EXCEPTION 'row % is needed', OLD.id; END IF; RETURN OLD; END $$;
    CREATE TRIGGER keep BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep()";

const CHILD: &str = "
    CREATE TABLE child (id int PRIMARY KEY, t_id int NOT NULL REFERENCES t);
    CREATE INDEX ON child (t_id);
    INSERT INTO child SELECT id, id FROM t WHERE held";

#[tokio::test]
async fn rows_of_a_foreign_key_are_left_and_the_others_deleted() {
    for (table, order) in [
        (CHILD.to_owned(), "index"),
        (CHILD.to_owned(), "heap"),
        (CHILD.replace("REFERENCES t", "REFERENCES t DEFERRABLE INITIALLY DEFERRED"), "index"),
    ] {
        let database = database(&format!("{table}; GRANT SELECT ON child TO session_reaper")).await;
        let run = run(&database, &format!("order = '{order}'")).await;
        assert_eq!(run.code, Some(0), "{order}: {}", run.stderr);
        let target = run.target("t");
        assert_eq!(target["held"], json!({ "foreign_key": ROWS / 60 }), "{target}");
        assert_eq!(target["deleted"]["old"], ROWS - ROWS / 60, "{target}");
        assert_eq!(target["remaining"], ROWS / 60, "{target}");
        assert_eq!(rows(&database).await, (ROWS / 60, 0), "{order}");
        // After the first error, the run excludes all rows that the foreign key references.
        assert_eq!(rejections(&run), 1, "{}", run.stderr);
    }
}

#[tokio::test]
async fn rows_of_an_unreadable_child_table_are_found_one_by_one() {
    let database = database(CHILD).await;
    let url = database.url_as("session_reaper");
    let env = [("MAX_FRACTION", "1"), ("DUTY_CYCLE", "1"), ("DATABASE_URL", url.as_str())];
    let run = reap_by(&database, &config(""), &env).await;
    assert_eq!(run.target("t")["held"], json!({ "error": ROWS / 60 }), "{}", run.stderr);
    assert_eq!(rows(&database).await, (ROWS / 60, 0));
}

#[tokio::test]
async fn rows_for_which_a_trigger_fails_are_left_and_the_others_deleted() {
    for order in ["index", "heap"] {
        let database = database(TRIGGER).await;
        let run = run(&database, &format!("order = '{order}'")).await;
        assert_eq!(run.code, Some(0), "{order}: {}", run.stderr);
        assert_eq!(
            run.target("t")["held"],
            json!({ "error": ROWS / 60 }),
            "{order}: {}",
            run.stderr
        );
        assert_eq!(rows(&database).await, (ROWS / 60, 0), "{order}");
    }
}

#[tokio::test]
async fn rows_for_which_the_condition_fails_are_left() {
    let database = database("").await;
    let condition = "where = '1 / CASE WHEN t.held THEN 0 ELSE 1 END = 1'";
    let run = run(&database, condition).await;
    assert_eq!(run.target("t")["held"], json!({ "error": ROWS / 60 }), "{}", run.stderr);
    assert_eq!(rows(&database).await, (ROWS / 60, 0));
}

#[tokio::test]
async fn parent_whose_deletion_fails_is_left_with_its_children() {
    let database = database(&format!(
        "{TRIGGER}; CREATE TABLE kid (id int PRIMARY KEY, t_id int NOT NULL REFERENCES t);
         INSERT INTO kid SELECT i, 1 + i % {ROWS} FROM generate_series(1, {ROWS}) i;
         CREATE INDEX ON kid (t_id); GRANT SELECT, DELETE, UPDATE ON kid TO session_reaper"
    ))
    .await;
    let run = run(&database, "children = [{ table = 'kid', column = 't_id' }]").await;
    assert_eq!(run.target("t")["held"], json!({ "error": ROWS / 60 }), "{}", run.stderr);
    assert_eq!(rows(&database).await, (ROWS / 60, 0));
    let kids: i64 = database.one("SELECT count(*) FROM kid JOIN t ON t.id = t_id").await;
    assert_eq!(kids, ROWS / 60);
}

#[tokio::test]
async fn target_fails_if_every_row_is_rejected() {
    let database = database(&TRIGGER.replace("IF OLD.held THEN", "IF true THEN")).await;
    let run = run(&database, "").await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.target("t")["outcome"], "failed", "{}", run.report);
    assert_eq!(rows(&database).await, (ROWS / 60, ROWS - ROWS / 60));
}
