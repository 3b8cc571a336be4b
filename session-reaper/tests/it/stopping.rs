//! A run ends soon after a signal, or after the end of its maximum runtime, even if it is waiting
//! for something.
//!
//! Each test blocks a run by a lock that is never released, or by a server that does not respond.
//! Without the mechanism that is tested, the run would end only after a minute or never, and would
//! not log the event.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{
    Database, ParkAt, Parking, Program, Proxy, Reaped, eventually, expired_sessions, reaped,
    start_reaper,
};
use tokio::net::TcpListener;
use tokio_postgres::Client;

const JSON: [&str; 4] = ["run", "--yes", "--output", "json"];

/// The ways in which a run is ended, each with its exit code and with the outcome in the report.
const ENDS: [(End, i32, &str); 2] =
    [(End::Signal, 143, "interrupted"), (End::Runtime, 75, "partial")];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Signal,
    Runtime,
}

/// Starts a run that waits for locks for as long as possible.
fn start(database: &Database, end: End, env: &[(&str, &str)]) -> Program {
    let runtime = if end == End::Runtime { "1s" } else { "1h" };
    let env = [&[("LOCK_TIMEOUT", "1m"), ("MAX_RUNTIME", runtime)], env].concat();
    start_reaper(database, &JSON, &env)
}

/// Starts a run over 500 due sessions that stops at the end of its second chunk of 100 rows.
async fn parked(end: End) -> (Database, Parking, Program) {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    let parking = Parking::at(&database, ParkAt::Deleted { rows_left: 300 }).await;
    let program = start(&database, end, &[]);
    parking.wait_for_arrival().await;
    (database, parking, program)
}

async fn ended(program: Program, end: End) -> Reaped {
    if end == End::Signal {
        program.signal("TERM");
    }
    reaped(program).await
}

/// Locked tables, until the value is dropped.
struct LockedTables<'a> {
    database: &'a Database,
    _holder: Client,
}

impl<'a> LockedTables<'a> {
    async fn lock(database: &'a Database, tables: &str) -> Self {
        let holder = database.client().await;
        holder.batch_execute(&format!("BEGIN; LOCK TABLE {tables}")).await.unwrap();
        Self { database, _holder: holder }
    }

    /// Waits until a reaper waits for a lock.
    async fn wait_for_arrival(&self) {
        eventually("the reaper waits for the lock", async || {
            let waiting =
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                           AND application_name = 'session-reaper' AND wait_event_type = 'Lock')";
            self.database.one(waiting).await
        })
        .await;
    }
}

fn assert_ended(run: &Reaped, end: (End, i32, &str)) {
    let (end, code, outcome) = end;
    assert_eq!(run.code, Some(code), "{end:?}: {}", run.stderr);
    assert_eq!(run.report["outcome"], outcome, "{end:?}: {}", run.report);
    assert!(run.stderr.contains("statement_canceled"), "{end:?}: {}", run.stderr);
}

#[tokio::test]
async fn blocked_chunk_is_canceled_and_rolled_back() {
    for end in ENDS {
        let (database, _parking, program) = parked(end.0).await;
        let run = ended(program, end.0).await;
        assert_ended(&run, end);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 100, "{}", run.report);
        assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 400);
        assert_eq!(database.one::<String>("SELECT outcome FROM reaper_runs").await, end.2);
        assert!(!run.stderr.contains("statement_abandoned"), "{}", run.stderr);
        assert!(!run.stderr.contains("target_failed"), "{}", run.stderr);
    }
}

#[tokio::test]
async fn locked_table_does_not_delay_the_end() {
    for end in ENDS {
        let database = Database::create().await;
        expired_sessions(&database, 10).await;
        let locked = LockedTables::lock(&database, "sessions").await;
        let program = start(&database, end.0, &[]);
        locked.wait_for_arrival().await;
        let run = ended(program, end.0).await;
        assert_ended(&run, end);
        assert_eq!(run.report["targets"].as_array().unwrap().len(), 3, "{}", run.report);
    }
}

#[tokio::test]
async fn locked_history_does_not_delay_the_end() {
    for end in ENDS {
        let database = Database::create().await;
        let locked = LockedTables::lock(&database, "reaper_runs").await;
        let program = start(&database, end.0, &[]);
        locked.wait_for_arrival().await;
        assert_ended(&ended(program, end.0).await, end);
    }
}

#[tokio::test]
async fn end_of_a_run_is_not_delayed_by_the_history() {
    for end in ENDS {
        let (database, _parking, program) = parked(end.0).await;
        let _locked = LockedTables::lock(&database, "reaper_runs").await;
        let run = ended(program, end.0).await;
        assert_ended(&run, end);
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'session-reaper'
                    AND datname = current_database()";
        eventually("the connections are closed", async || database.one::<i64>(open).await == 0)
            .await;
    }
}

#[tokio::test]
async fn server_that_stops_responding_does_not_delay_the_end() {
    for end in ENDS {
        let database = Database::create().await;
        expired_sessions(&database, 500).await;
        let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
        let parking = Parking::at(&database, ParkAt::Deleted { rows_left: 300 }).await;
        let program = start(&database, end.0, &[("DATABASE_URL", &url)]);
        parking.wait_for_arrival().await;
        proxy.stall();
        let run = ended(program, end.0).await;
        assert_ended(&run, end);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 100, "{}", run.report);
        assert!(run.stderr.contains("statement_abandoned"), "{}", run.stderr);
    }
}

#[tokio::test]
async fn server_that_does_not_complete_a_connection_does_not_delay_the_end() {
    for (end, code, _) in ENDS {
        let database = Database::empty().await;
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgres://reaper@127.0.0.1:{port}/app?connect_timeout=3600");
        let program = start(&database, end, &[("DATABASE_URL", &url)]);
        let _connection = silent.accept().await.unwrap();
        let run = ended(program, end).await;
        assert_eq!(run.code, Some(code), "{end:?}: {}", run.stderr);
    }
}

#[tokio::test]
async fn many_locked_tables_do_not_delay_the_end() {
    let database = Database::create().await;
    let mut config = String::new();
    for table in 0..20 {
        database.execute(&format!("CREATE TABLE t{table} (id int PRIMARY KEY, due timestamptz); CREATE INDEX ON t{table} (due)")).await;
        config.push_str(&format!(
            "[[target]]\ntable = \"t{table}\"\ndue = [{{ reason = \"due\", column = \"due\", keep = \"1d\" }}]\n"
        ));
    }
    let tables: Vec<String> = (0..20).map(|table| format!("t{table}")).collect();
    let locked = LockedTables::lock(&database, &tables.join(", ")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let env = [
        ("DATABASE_URL", database.url()),
        ("REAPER_CONFIG", file.path().to_str().unwrap().to_owned()),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    for end in ENDS {
        let program = start(&database, end.0, &env);
        locked.wait_for_arrival().await;
        let run = ended(program, end.0).await;
        assert_ended(&run, end);
        assert_eq!(run.report["targets"].as_array().unwrap().len(), 21, "{}", run.report);
    }
}
