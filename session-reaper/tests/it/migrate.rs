//! The `migrate` command.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use pg::connect::ConnectOptions;
use reaper::store::migrate::{MIGRATIONS, MigrateError, Migration, apply};
use testkit::{Database, Program, binary, migrations, waits_for_a_lock};

#[tokio::test]
async fn second_migration_applies_nothing() {
    let database = Database::empty().await;
    let url = database.url();
    let migrate = async || {
        Program::run(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", &url)]).await
    };
    let (code, first) = migrate().await;
    assert_eq!(code, Some(0), "{}", first.stderr());
    assert!(first.stdout().lines().all(|line| line.starts_with("applied 2")), "{}", first.stdout());
    assert!(!first.stdout().is_empty());
    let (code, second) = migrate().await;
    assert_eq!((code, second.stdout().as_str()), (Some(0), "nothing was missing\n"));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM reaper_runs").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM reaper_state").await, 0);
}

#[tokio::test]
async fn concurrent_migrations_apply_changes_once() {
    let database = Database::empty().await;
    let url = database.url();
    let start =
        || Program::start(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", &url)]);
    let mut both = [start(), start()];
    let mut outputs = Vec::new();
    for program in &mut both {
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
        outputs.push(program.stdout());
    }
    outputs.sort();
    assert!(
        outputs[0].starts_with("applied ") && outputs[1] == "nothing was missing\n",
        "{outputs:?}"
    );
}

#[tokio::test]
async fn missing_create_privilege_fails() {
    let database = Database::empty().await;
    database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let url = database.url_as("session_reaper");
    let (code, program) =
        Program::run(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(1), "{}", program.stderr());
    assert!(program.stderr().contains("permission denied"), "{}", program.stderr());
}

#[test]
fn embedded_migrations_are_those_in_the_folder() {
    let described = |migrations: &[Migration<'_>]| {
        let lines = migrations.iter().map(|migration| format!("{migration:?}"));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(described(MIGRATIONS), described(&migrations::read("reaper")));
}

/// Two migrations: the first creates a table, and the second builds an index without a transaction.
const SET: [Migration<'_>; 2] = [
    Migration {
        name: "2101_table",
        up: "CREATE TABLE built (id integer); INSERT INTO built VALUES (1)",
        down: "DROP TABLE built",
        in_transaction: true,
    },
    Migration {
        name: "2102_index",
        up: "CREATE INDEX CONCURRENTLY built_id ON built (id)",
        down: "DROP INDEX built_id",
        in_transaction: false,
    },
];

fn connect(database: &Database) -> ConnectOptions {
    ConnectOptions::new(&database.url(), "test").unwrap()
}

async fn applied(database: &Database) -> Option<String> {
    database
        .one("SELECT string_agg(version, ',' ORDER BY version) FROM __diesel_schema_migrations")
        .await
}

#[tokio::test]
async fn failed_migration_leaves_nothing_behind() {
    let database = Database::empty().await;
    let broken = Migration { up: "CREATE TABLE built (id integer); SELECT 1 / 0", ..SET[0] };
    let error = apply(&connect(&database), &[broken]).await.unwrap_err();
    assert!(matches!(&error, MigrateError::Failed(why) if why.contains("22012")), "{error}");
    assert_eq!(applied(&database).await, None);
    assert_eq!(apply(&connect(&database), &SET).await.unwrap(), ["2101", "2102"]);
}

/// The server process that builds the index is terminated while it waits for an older transaction.
/// The next attempt must not accept the invalid index that is left.
#[tokio::test]
async fn interrupted_index_build_is_reported_and_not_recorded() {
    let database = Database::empty().await;
    apply(&connect(&database), &SET[..1]).await.unwrap();
    let older = database.client().await;
    older.batch_execute("BEGIN; INSERT INTO built VALUES (2)").await.unwrap();
    let options = connect(&database);
    let build = tokio::spawn(async move { apply(&options, &SET).await });
    waits_for_a_lock(&database.client().await, "test").await;
    let ended: i64 = database
        .one(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND datname = current_database()",
        )
        .await;
    assert_eq!(ended, 1);
    assert!(build.await.unwrap().is_err());
    older.batch_execute("COMMIT").await.unwrap();
    assert_eq!(applied(&database).await.as_deref(), Some("2101"));
    let again = apply(&connect(&database), &SET).await.unwrap_err();
    assert!(matches!(&again, MigrateError::Failed(why) if why.contains("42P07")), "{again}");
    database.execute("DROP INDEX built_id").await;
    assert_eq!(apply(&connect(&database), &SET).await.unwrap(), ["2102"]);
    assert!(
        database
            .one::<bool>("SELECT indisvalid FROM pg_index WHERE indexrelid = 'built_id'::regclass")
            .await
    );
}
