//! Rows whose deletion fails. All other due rows are deleted.

use serde_json::json;
use testkit::{Database, Reaped, Server, reap_by, without_database};

const ROWS: i64 = 3_000;

fn config(more: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '1d' }}]\n{more}"
    )
}

/// Creates due rows in `t`. In every 60th row, `held` is true, and the deletion of these rows
/// fails.
async fn database(more: &str) -> Database {
    filled(Database::create().await, more).await
}

async fn filled(database: Database, more: &str) -> Database {
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

/// Returns the number of chunks (transactions) that were rejected, from the log of the run.
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
            json!({ "trigger": ROWS / 60 }),
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
    assert_eq!(run.target("t")["held"], json!({ "trigger": ROWS / 60 }), "{}", run.stderr);
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

#[tokio::test]
async fn rows_of_a_table_without_a_key_are_left_one_by_one() {
    // Groups of ten rows have the same due time, so the index does not distinguish them.
    let same = "ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE t SET due = now() - id / 10 * interval '1 minute' - interval '5 days'";
    for order in ["index", "heap"] {
        let database = database(&format!("{same}; {TRIGGER}")).await;
        let run = run(&database, &format!("order = '{order}'")).await;
        assert_eq!(run.code, Some(0), "{order}: {}{}", run.report, run.stderr);
        let target = run.target("t");
        assert_eq!(target["held"], json!({ "trigger": ROWS / 60 }), "{order}: {target}");
        assert_eq!(target["remaining"], ROWS / 60, "{order}: {target}");
        assert_eq!(rows(&database).await, (ROWS / 60, 0), "{order}");
    }
}

/// Adds a column for groups of four rows. The last row of every 15th group is held.
const GROUPS: &str = "
    ALTER TABLE t ADD family int;
    UPDATE t SET family = (id - 1) / 4;
    CREATE INDEX ON t (family)";

#[tokio::test]
async fn rest_of_a_group_with_a_row_whose_deletion_fails_is_left() {
    let child = format!("{CHILD}; GRANT SELECT ON child TO session_reaper");
    for (cause, held) in [("trigger", TRIGGER), ("foreign_key", child.as_str())] {
        for order in ["index", "heap"] {
            let database = database(&format!("{GROUPS}; {held}")).await;
            let run = run(&database, &format!("group = 'family'\norder = '{order}'")).await;
            assert_eq!(run.code, Some(0), "{cause}, {order}: {}{}", run.report, run.stderr);
            let (held, others) = rows(&database).await;
            let target = run.target("t");
            assert_eq!(held, ROWS / 60, "{cause}, {order}: {target}");
            assert_eq!(target["held"], json!({ cause: held + others }), "{order}: {target}");
            assert_eq!(target["remaining"], held + others, "{order}: {target}");
            let families: i64 = database.one("SELECT count(DISTINCT family) FROM t").await;
            assert_eq!(families, held, "{cause}, {order}: {target}");
            if cause == "foreign_key" {
                // The first error shows for all groups whether they contain a referenced row.
                assert!(others > 0, "{order}: {target}");
            }
        }
    }
}

#[tokio::test]
async fn held_rows_that_the_condition_keeps_are_not_reported() {
    let database = database(&format!("{CHILD}; GRANT SELECT ON child TO session_reaper")).await;
    // Of the referenced rows, only those with an even quotient match.
    let run = run(&database, "where = 'NOT held OR id / 60 % 2 = 0'").await;
    let target = run.target("t");
    assert_eq!(target["held"], json!({ "foreign_key": ROWS / 120 }), "{target}{}", run.stderr);
    assert_eq!(rows(&database).await, (ROWS / 60, 0));
}

#[tokio::test]
async fn held_rows_that_are_due_for_two_reasons_are_reported_once() {
    let database = database(&format!(
        "{CHILD}; GRANT SELECT ON child TO session_reaper;
         ALTER TABLE t ADD ended timestamptz; UPDATE t SET ended = due; CREATE INDEX ON t (ended, id)"
    ))
    .await;
    let config = "[[target]]\ntable = 't'\ndue = [
        { reason = 'old', column = 'due', keep = '1d' },
        { reason = 'ended', column = 'ended', keep = '1d' },
    ]";
    let run = reap_by(&database, config, &[("MAX_FRACTION", "1"), ("DUTY_CYCLE", "1")]).await;
    let target = run.target("t");
    assert_eq!(target["held"], json!({ "foreign_key": ROWS / 60 }), "{target}");
    assert_eq!(target["remaining"], ROWS / 60, "{target}");
}

#[tokio::test]
async fn metric_names_the_cause_for_which_rows_are_left() {
    let database = database(TRIGGER).await;
    let directory = tempfile::tempdir().unwrap();
    let textfile = directory.path().join("reaper.prom");
    let mut locker = database.client().await;
    let locks = locker.transaction().await.unwrap();
    locks.execute("SELECT FROM t WHERE id IN (1, 2) FOR UPDATE", &[]).await.unwrap();
    let env =
        [("MAX_FRACTION", "1"), ("DUTY_CYCLE", "1"), ("TEXTFILE", textfile.to_str().unwrap())];
    let run = reap_by(&database, &config(""), &env).await;
    let metrics = without_database(&std::fs::read_to_string(&textfile).unwrap());
    for (cause, rows) in
        [("trigger", ROWS / 60), ("lock", 2), ("foreign_key", 0), ("error", 0), ("group", 0)]
    {
        let line = format!("session_reaper_rows_held{{target=\"t\",cause=\"{cause}\"}} {rows}\n");
        assert!(metrics.contains(&line), "{line}{metrics}{}", run.stderr);
    }
}

/// Returns the number of errors in the log of the server.
fn errors(server: &Server) -> usize {
    server.log().lines().filter(|line| line.contains("ERROR:  ")).count()
}

#[tokio::test]
async fn held_rows_cause_few_errors_at_the_server() {
    let server = Server::start(&[]).await;
    for (held, most) in [
        // The first error shows which foreign key references rows.
        (format!("{CHILD}; GRANT SELECT ON child TO session_reaper"), 1),
        // A chunk of at most 1,000 rows is divided at most ten times to find one row.
        (TRIGGER.to_owned(), usize::try_from(ROWS / 60).unwrap() * 11),
    ] {
        let database = filled(server.database().await, &held).await;
        let before = errors(&server);
        let settings = [("MAX_FRACTION", "1"), ("DUTY_CYCLE", "1"), ("MAX_CHUNK", "1000")];
        let run = reap_by(&database, &config(""), &settings).await;
        assert_eq!(run.target("t")["remaining"], ROWS / 60, "{}{}", run.report, run.stderr);
        let provoked = errors(&server) - before;
        eprintln!("{provoked} errors for {} held rows", ROWS / 60);
        assert!((1..=most).contains(&provoked), "{provoked} errors:\n{}", server.log());
    }
}
