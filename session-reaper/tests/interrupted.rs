//! Runs that are cut short, and runs that meet each other: whole chunks are done and nothing else.
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

/// In the middle of the third chunk of 500 rows: where the reaper locks rows first, because a
/// trigger may keep one, and where it deletes without.
const PLACES: [ParkAt; 2] = [ParkAt::Row, ParkAt::Deleted { rows_left: 200 }];

/// 500 due sessions, of which the third chunk of 100 stops in its middle.
async fn parked_in_the_third_chunk(place: ParkAt) -> (Database, Parking, Program) {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    let parking = Parking::at(&database, place).await;
    let program = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    (database, parking, program)
}

/// The server has noticed that its client is gone, and has undone what it had not committed.
async fn nobody_at_work(database: &Database) {
    let client = database.client().await;
    eventually("the reaper's connections have ended", async || {
        let sql = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'session-reaper')";
        client.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
}

#[tokio::test]
async fn of_two_reapers_at_once_one_works_and_the_other_says_so() {
    for place in PLACES {
        let (database, parking, first) = parked_in_the_third_chunk(place).await;
        let second = reap(&database, &[]).await;
        assert_eq!(second.code, Some(0), "{}", second.stderr);
        assert_eq!(second.report["outcome"], "skipped_lock");
        for name in ["sessions", "consumed_challenges", "reaper_runs"] {
            assert_eq!(second.target(name)["outcome"], "skipped_lock");
            assert_eq!(second.target(name)["why"], "another reaper holds the lock");
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
async fn of_many_that_start_at_once_each_row_goes_once() {
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
            "all or nothing: {outcomes:?}"
        );
        deleted += run.target("sessions")["deleted"]["expired"].as_i64().unwrap();
    }
    assert_eq!(deleted, 1_000);
}

/// Holds what a reaper holds while it takes its locks.
async fn taking_locks(database: &Database) -> tokio_postgres::Client {
    let holder = database.client().await;
    holder
        .execute("SELECT pg_advisory_lock($1, 0)", &[&session_reaper::sweep::LOCK_CLASS])
        .await
        .unwrap();
    holder
}

#[tokio::test]
async fn the_locks_are_taken_when_nobody_else_is_taking_them() {
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
async fn who_takes_its_locks_for_ever_is_another_reaper_at_work() {
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
async fn kill_9_inside_a_chunk_undoes_that_chunk_and_leaves_whole_ones() {
    for place in PLACES {
        let (database, parking, mut program) = parked_in_the_third_chunk(place).await;
        program.signal("KILL");
        program.wait().await;
        nobody_at_work(&database).await;
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
async fn kill_9_between_chunks_leaves_whole_ones() {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    // The third chunk's statement has begun and has done nothing.
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 300 }).await;
    let mut program = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    program.signal("KILL");
    program.wait().await;
    nobody_at_work(&database).await;
    assert_eq!(left(&database).await, 300);
    parking.open().await;
    assert_eq!(reap(&database, &[]).await.target("sessions")["deleted"]["expired"], 300);
}

async fn a_signal_finishes_the_chunk(signal: &str, code: i32) {
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
            "the chunk under way was finished"
        );
        assert_eq!(run.target("sessions")["remaining"], 200);
        assert_eq!(left(&database).await, 200);
        assert_eq!(database.one::<String>("SELECT outcome FROM reaper_runs").await, "interrupted");
    }
}

#[tokio::test]
async fn sigterm_finishes_the_chunk() {
    a_signal_finishes_the_chunk("TERM", 143).await;
}

#[tokio::test]
async fn sigint_finishes_the_chunk() {
    a_signal_finishes_the_chunk("INT", 130).await;
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    for place in PLACES {
        let (database, _parking, mut program) = parked_in_the_third_chunk(place).await;
        program.signal("TERM");
        program.log_event("shutdown_started").await;
        program.signal("TERM");
        // It does not wait for the chunk: nobody has opened the barrier.
        assert_eq!(program.wait().await.code(), Some(143));
        nobody_at_work(&database).await;
        assert_eq!(left(&database).await, 300);
    }
}

#[tokio::test]
async fn the_lock_is_free_the_moment_a_run_has_ended() {
    let database = Database::create().await;
    for _ in 0..5 {
        assert_eq!(reap(&database, &[]).await.report["outcome"], "success");
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let env = [
        ("DATABASE_URL", url.as_str()),
        // Above what a slow machine takes for its other statements.
        ("STATEMENT_TIMEOUT", "5s"),
        ("LOCK_TIMEOUT", "500ms"),
        ("CHUNK_TIME", "1s"),
        // Without this bound the run tries for a minute to reconnect.
        ("MAX_RUNTIME", "45s"),
    ];
    expired_sessions(&database, 300).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '50'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let program = start_reaper(&database, &JSON, &env);
    parking.wait_for_arrival().await;
    proxy.stall();
    // Nothing that it asks is answered any more, for ever.
    let run = reaped(program).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(run.stderr.contains("server_timeout"), "{}", run.stderr);
    parking.open().await;
    // The proxy kept the server's half open.
    proxy.cut();
    nobody_at_work(&database).await;
    assert_eq!(reap(&database, &[]).await.code, Some(0));
    assert_eq!(left(&database).await, 0);
}

#[tokio::test]
async fn a_run_that_lost_its_second_connection_is_in_the_history_all_the_same() {
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
