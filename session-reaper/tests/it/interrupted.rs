//! Interrupted runs and concurrent runs: each chunk (transaction) is committed as a whole or not at
//! all.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{
    Database, ParkAt, Parking, Program, Proxy, eventually, expired_sessions, reap, reaped,
    start_reaper,
};

const JSON: [&str; 3] = ["run", "--output", "json"];

async fn left(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions").await
}

/// Positions in the middle of the third chunk of a run over 500 rows. At the first position, the
/// reaper locks the rows before it deletes them, because a trigger may keep a row. At the second
/// position, the reaper deletes the rows without locking them first.
const PLACES: [ParkAt; 2] = [ParkAt::Row, ParkAt::Deleted { rows_left: 200 }];

/// Starts a run over 500 due sessions in chunks of 100 rows. The run stops in the middle of the
/// third chunk.
async fn parked_in_the_third_chunk(place: ParkAt) -> (Database, Parking, Program) {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    let parking = Parking::at(&database, place).await;
    let program = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    (database, parking, program)
}

/// Waits until the server has noticed that its clients are gone, and has rolled back their work.
async fn no_connections_left(database: &Database) {
    let client = database.client().await;
    eventually("the reaper's connections have ended", async || {
        let sql = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'session-reaper')";
        client.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
}

#[tokio::test]
async fn second_reaper_skips_targets_while_the_first_runs() {
    for place in PLACES {
        let (database, parking, first) = parked_in_the_third_chunk(place).await;
        let second = reap(&database, &[]).await;
        assert_eq!(second.code, Some(0), "{}", second.stderr);
        assert_eq!(second.report["outcome"], "skipped_lock");
        for name in ["sessions", "consumed_challenges", "reaper_runs"] {
            assert_eq!(second.target(name)["outcome"], "skipped_lock");
            let why = second.target(name)["why"].as_str().unwrap();
            assert!(why.contains("pid ") && why.contains("session-reaper"), "{why}");
        }
        assert_eq!(second.target("sessions")["deleted"]["expired"], 0);
        assert_eq!(second.target("sessions")["remaining"], 300);

        parking.open().await;
        let first = reaped(first).await;
        assert_eq!(first.code, Some(0), "{}", first.stderr);
        assert_eq!(first.report["outcome"], "success");
        assert_eq!(first.target("sessions")["deleted"]["expired"], 500);
        let outcomes: Vec<String> =
            database.one("SELECT array_agg(outcome ORDER BY started_at) FROM reaper_runs").await;
        assert_eq!(outcomes, ["success", "skipped_lock"]);
    }
}

#[tokio::test]
async fn concurrent_runs_delete_each_row_once() {
    let database = Database::create().await;
    expired_sessions(&database, 1_000).await;
    let programs: Vec<Program> = (0..6).map(|_| start_reaper(&database, &JSON, &[])).collect();
    let mut deleted = 0;
    for program in programs {
        let run = reaped(program).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let outcomes: Vec<&str> = run.report["targets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| t["outcome"].as_str().unwrap())
            .collect();
        assert!(
            outcomes == ["success"; 3] || outcomes == ["skipped_lock"; 3],
            "a run holds all locks or none: {outcomes:?}"
        );
        deleted += run.target("sessions")["deleted"]["expired"].as_i64().unwrap();
    }
    assert_eq!(deleted, 1_000);
}

/// Takes the lock that a reaper holds while it acquires its other locks.
async fn taking_locks(database: &Database) -> tokio_postgres::Client {
    let holder = database.client().await;
    holder.execute("SELECT pg_advisory_lock($1, 0)", &[&reaper::LOCK_CLASS]).await.unwrap();
    holder
}

#[tokio::test]
async fn lock_acquisition_waits_for_another_reaper() {
    let database = Database::create().await;
    let holder = taking_locks(&database).await;
    let program = start_reaper(&database, &JSON, &[]);
    eventually("the run waits for its turn", async || {
        let sql = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 0 AND NOT granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
        holder.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
    holder.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    assert_eq!(reaped(program).await.report["outcome"], "success");
}

#[tokio::test]
async fn blocked_lock_acquisition_ends_with_skipped_lock() {
    let database = Database::create().await;
    let _holder = taking_locks(&database).await;
    let run = reap(&database, &[]).await;
    assert_eq!(
        (run.code, &run.report["outcome"]),
        (Some(0), &"skipped_lock".into()),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn sigkill_inside_a_chunk_rolls_back_only_that_chunk() {
    for place in PLACES {
        let (database, parking, mut program) = parked_in_the_third_chunk(place).await;
        program.signal("KILL");
        program.wait().await;
        no_connections_left(&database).await;
        assert_eq!(left(&database).await, 300);
        assert!(
            database
                .one::<bool>("SELECT outcome IS NULL AND finished_at IS NULL FROM reaper_runs")
                .await
        );
        parking.open().await;
        let again = reap(&database, &[]).await;
        assert_eq!(again.code, Some(0), "{}", again.stderr);
        assert_eq!(again.target("sessions")["deleted"]["expired"], 300);
    }
}

#[tokio::test]
async fn sigkill_between_chunks_keeps_committed_chunks() {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    // The statement of the third chunk has started and has deleted nothing.
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 300 }).await;
    let mut program = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    program.signal("KILL");
    program.wait().await;
    no_connections_left(&database).await;
    assert_eq!(left(&database).await, 300);
    parking.open().await;
    assert_eq!(reap(&database, &[]).await.target("sessions")["deleted"]["expired"], 300);
}

async fn signal_finishes_the_chunk(signal: &str, code: i32) {
    for place in PLACES {
        let (database, parking, mut program) = parked_in_the_third_chunk(place).await;
        program.signal(signal);
        program.log_event("shutdown_started").await;
        parking.open().await;
        let run = reaped(program).await;
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        assert_eq!(run.report["outcome"], "interrupted");
        assert_eq!(
            run.report["why"],
            format!("sessions, consumed_challenges, reaper_runs: stopped by SIG{signal}")
        );
        assert_eq!(run.target("sessions")["outcome"], "interrupted");
        assert_eq!(
            run.target("sessions")["deleted"]["expired"],
            300,
            "the current chunk was finished"
        );
        assert_eq!(
            run.target("sessions")["remaining_capped"],
            true,
            "nothing is counted after a signal"
        );
        assert_eq!(left(&database).await, 200);
        assert_eq!(database.one::<String>("SELECT outcome FROM reaper_runs").await, "interrupted");
    }
}

#[tokio::test]
async fn sigterm_finishes_the_chunk() {
    signal_finishes_the_chunk("TERM", 143).await;
}

#[tokio::test]
async fn sigint_finishes_the_chunk() {
    signal_finishes_the_chunk("INT", 130).await;
}

#[tokio::test]
async fn second_signal_exits_immediately() {
    for place in PLACES {
        let (database, _parking, mut program) = parked_in_the_third_chunk(place).await;
        program.signal("TERM");
        program.log_event("shutdown_started").await;
        program.signal("TERM");
        // The program does not wait for the chunk: the parking barrier is still closed.
        assert_eq!(program.wait().await.code(), Some(143));
        no_connections_left(&database).await;
        assert_eq!(left(&database).await, 300);
    }
}

#[tokio::test]
async fn lock_is_released_when_a_run_ends() {
    let database = Database::create().await;
    for _ in 0..5 {
        assert_eq!(reap(&database, &[]).await.report["outcome"], "success");
    }
}

#[tokio::test]
async fn silent_server_is_abandoned() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let env = [
        ("DATABASE_URL", url.as_str()),
        // This timeout is longer than the other statements take on a slow machine.
        ("STATEMENT_TIMEOUT", "3s"),
        ("LOCK_TIMEOUT", "500ms"),
        ("CHUNK_TIME", "1s"),
        // Longer than the deadline of a silent server. Without this limit, the run tries to
        // reconnect for a minute.
        ("MAX_RUNTIME", "75s"),
    ];
    expired_sessions(&database, 300).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '50'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let program = start_reaper(&database, &JSON, &env);
    parking.wait_for_arrival().await;
    proxy.stall();
    // From here on, the run receives no more responses.
    let run = reaped(program).await;
    assert_eq!(run.code, Some(75), "{}", run.stderr);
    assert!(run.stderr.contains("server_timeout"), "{}", run.stderr);
    parking.open().await;
    // The proxy has kept the server's side of the connections open.
    proxy.cut();
    no_connections_left(&database).await;
    assert_eq!(reap(&database, &[]).await.code, Some(0));
    assert_eq!(left(&database).await, 0);
}

#[tokio::test]
async fn run_is_recorded_after_losing_its_second_connection() {
    for place in PLACES {
        let (database, parking, program) = parked_in_the_third_chunk(place).await;
        database
            .execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name = 'session-reaper' AND wait_event_type <> 'Lock'",
            )
            .await;
        parking.open().await;
        let run = reaped(program).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.target("sessions")["remaining"], 0);
        assert_eq!(run.target("sessions")["remaining_capped"], false);
        let outcomes: Vec<Option<String>> =
            database.one("SELECT array_agg(outcome) FROM reaper_runs").await;
        assert_eq!(outcomes, [Some("success".to_owned())]);
    }
}
