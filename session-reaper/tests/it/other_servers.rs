//! Connections to something other than a PostgreSQL primary: a connection pooler or a replica.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{
    Database, PgBouncer, PoolMode, Program, Server, binary, expired_sessions, reap, reaped,
    start_reaper,
};
use tokio_postgres::{Client, NoTls};

async fn left(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions").await
}

async fn through(pooler: &PgBouncer) -> Client {
    let (client, connection) = tokio_postgres::connect(pooler.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Returns the settings that were changed on the server connections of a pooler, except the
/// settings that the pooler sets for each client.
async fn set_behind(pooler: &PgBouncer) -> Vec<String> {
    let (one, other) = (through(pooler).await, through(pooler).await);
    let mut found = Vec::new();
    let mut processes = Vec::new();
    for client in [&one, &other] {
        // While this transaction is open, the pooler gives the other client another server
        // connection.
        client.batch_execute("BEGIN").await.unwrap();
        let set = "SELECT name FROM pg_settings WHERE source = 'session' AND name <> ALL ($1)";
        found.extend(
            client
                .query(set, &[&&FOR_EACH[..]])
                .await
                .unwrap()
                .iter()
                .map(|row| row.get::<_, String>(0)),
        );
        processes
            .push(client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0));
    }
    assert_ne!(processes[0], processes[1], "both server connections of the pooler are checked");
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

/// Asserts that `check` exits 65 and that this is its only finding on the server. Returns the text
/// and the remedy of the finding.
async fn refused_by_check(url: &str, code: &str) -> String {
    let args = ["check", "--output", "json"];
    let (exit, program) =
        Program::run(binary("session-reaper"), &args, &[("DATABASE_URL", url)]).await;
    let found: Value =
        serde_json::from_str(&program.stdout()).unwrap_or_else(|_| panic!("{}", program.stderr()));
    assert_eq!(exit, Some(65), "{found}");
    let findings = found["server"]["findings"].as_array().unwrap();
    assert_eq!(
        findings.iter().map(|finding| &finding["code"]).collect::<Vec<_>>(),
        [code],
        "{found}"
    );
    let text = |member: &str| findings[0][member].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("what"), text("remedy"))
}

#[tokio::test]
async fn pgbouncer_in_transaction_mode_is_refused_without_traces() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let pooler = PgBouncer::before(&database, PoolMode::Transaction).await;
    // Both server connections exist before the run.
    assert!(set_behind(&pooler).await.is_empty());

    let run = reap(&database, &[("DATABASE_URL", pooler.url())]).await;
    assert_eq!(run.code, Some(65), "{}{}", run.report, run.stderr);
    assert_eq!(run.report["outcome"], "failed");
    let why = run.report["why"].as_str().unwrap();
    assert!(why.contains("transaction-pooling proxy") && why.contains("session mode"), "{why}");
    assert_eq!(left(&database).await, 250);
    let found = refused_by_check(pooler.url(), "pooler").await;
    assert!(found.contains("transaction-pooling proxy"), "{found}");
    assert_eq!(advisory_locks(&database).await, 0);
    assert_eq!(set_behind(&pooler).await, Vec::<String>::new());
}

#[tokio::test]
async fn pgbouncer_in_session_mode_works() {
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

#[tokio::test]
async fn streaming_replica_is_refused_with_the_remedy() {
    let primary = Server::start(&[]).await;
    let database = primary.database().await;
    expired_sessions(&database, 250).await;
    let replica = primary.replica().await;
    let url = replica.url_of(&database);

    let run = reap(&database, &[("DATABASE_URL", &url)]).await;
    assert_eq!(run.code, Some(65), "{}{}", run.report, run.stderr);
    assert_eq!(run.report["outcome"], "failed");
    let why = run.report["why"].as_str().unwrap();
    assert!(
        why.contains("a replica is at the other end") && why.contains("connect to the primary"),
        "{why}"
    );
    assert_eq!(left(&database).await, 250);

    let plan =
        reaped(start_reaper(&database, &["plan", "--output", "json"], &[("DATABASE_URL", &url)]))
            .await;
    assert_eq!(plan.code, Some(65), "{}{}", plan.report, plan.stderr);
    assert_eq!(plan.report["refused"][0]["code"], "replica", "{}", plan.report);

    let found = refused_by_check(&url, "replica").await;
    assert!(
        found.contains("a replica is at the other end") && found.contains("connect to the primary"),
        "{found}"
    );
}
