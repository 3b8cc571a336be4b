//! What stands at the other end, or in between, is not always a PostgreSQL server of one's own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, PgBouncer, PoolMode, expired_sessions, reap};
use tokio_postgres::{Client, NoTls};

async fn left(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions").await
}

async fn through(pooler: &PgBouncer) -> Client {
    let (client, connection) = tokio_postgres::connect(pooler.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What was set on the server connections of a pooler, but for what it sets itself for each of its clients.
async fn set_behind(pooler: &PgBouncer) -> Vec<String> {
    let (one, other) = (through(pooler).await, through(pooler).await);
    let mut found = Vec::new();
    let mut processes = Vec::new();
    for client in [&one, &other] {
        // A transaction that stays open keeps its server connection from the other.
        client.batch_execute("BEGIN").await.unwrap();
        let set = "SELECT name FROM pg_settings WHERE source = 'session' AND name <> ALL ($1)";
        found.extend(client.query(set, &[&&FOR_EACH[..]]).await.unwrap().iter().map(|row| row.get::<_, String>(0)));
        processes.push(client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0));
    }
    assert_ne!(processes[0], processes[1], "both of its server connections were looked at");
    found
}

const FOR_EACH: [&str; 5] =
    ["application_name", "client_encoding", "DateStyle", "TimeZone", "standard_conforming_strings"];

async fn advisory_locks(database: &Database) -> i64 {
    database
        .one(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await
}

#[tokio::test]
async fn behind_pgbouncer_in_transaction_mode_a_run_is_refused_and_leaves_nothing_behind() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let pooler = PgBouncer::before(&database, PoolMode::Transaction).await;
    // Both of its server connections are there before the run.
    assert!(set_behind(&pooler).await.is_empty());

    let run = reap(&database, &[("DATABASE_URL", pooler.url())]).await;
    assert_eq!(run.code, Some(65), "{}{}", run.report, run.stderr);
    assert_eq!(run.report["outcome"], "failed");
    let why = run.report["why"].as_str().unwrap();
    assert!(why.contains("transaction-pooling proxy") && why.contains("session mode"), "{why}");
    assert_eq!(left(&database).await, 250);
    assert_eq!(advisory_locks(&database).await, 0);
    assert_eq!(set_behind(&pooler).await, Vec::<String>::new());
}

#[tokio::test]
async fn through_pgbouncer_in_session_mode_a_run_works() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let pooler = PgBouncer::before(&database, PoolMode::Session).await;
    let run = reap(&database, &[("DATABASE_URL", pooler.url())]).await;
    assert_eq!(run.code, Some(0), "{}{}{}", run.report, run.stderr, pooler.log());
    assert_eq!(run.target("sessions")["deleted"]["expired"], 250);
    assert_eq!(left(&database).await, 0);
    assert_eq!(advisory_locks(&database).await, 0);
    assert_eq!(set_behind(&pooler).await, Vec::<String>::new());
}
