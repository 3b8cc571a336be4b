//! Transient errors are retried a limited number of times; all other errors are reported.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{
    Database, ParkAt, Parking, Program, Proxy, eventually, expired_sessions, reap, reaped,
    start_reaper, without_database,
};

const JSON: [&str; 3] = ["run", "--output", "json"];

async fn left(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions").await
}

/// Positions in the middle of the third chunk (transaction) of a run over 500 rows. At the first
/// position, the reaper locks the rows before it deletes them, because a trigger may keep a row. At
/// the second position, the reaper deletes the rows without locking them first.
const PLACES: [ParkAt; 2] = [ParkAt::Row, ParkAt::Deleted { rows_left: 200 }];

/// Starts a run over 500 due sessions in chunks of 100 rows. The run stops in the middle of the
/// third chunk. A trigger records how often each row is deleted.
async fn parked_in_the_third_chunk(
    database: &Database,
    place: ParkAt,
    env: &[(&str, &str)],
) -> (Parking, Program) {
    expired_sessions(database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    record_deletes(database).await;
    let parking = Parking::at(database, place).await;
    let program = start_reaper(database, &JSON, env);
    parking.wait_for_arrival().await;
    (parking, program)
}

async fn record_deletes(database: &Database) {
    database
        .execute(
            "CREATE TABLE gone (id uuid);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 $$ BEGIN INSERT INTO gone VALUES (OLD.id); RETURN NULL; END $$;
             CREATE TRIGGER note AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
}

async fn each_row_was_deleted_once(database: &Database) {
    let counts: Vec<i64> =
        database.one("SELECT ARRAY[count(*), count(DISTINCT id)] FROM gone").await;
    assert_eq!(counts, [500, 500]);
}

/// Makes every delete from `sessions` raise this error while the condition holds.
async fn raise_on_delete(database: &Database, code: &str, condition: &str) {
    database
        .execute(&format!(
            "CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO session_reaper;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF {condition} THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END IF;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER refuse BEFORE DELETE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION refuse()"
        ))
        .await;
}

#[tokio::test]
async fn conflict_is_retried_until_it_succeeds() {
    for code in ["40001", "40P01"] {
        let database = Database::create().await;
        expired_sessions(&database, 300).await;
        raise_on_delete(&database, code, "nextval('tries') <= 3").await;
        let run = reap(&database, &[]).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 300);
        assert_eq!(run.target("sessions")["chunks"], 3, "the chunk size did not change");
        assert_eq!(run.stderr.matches("chunk_retried").count(), 3, "{}", run.stderr);
    }
}

#[tokio::test]
async fn permanent_conflict_fails_only_its_target() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    raise_on_delete(&database, "40001", "true").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let why = run.target("sessions")["why"].as_str().unwrap();
    assert!(why.starts_with("13 times in a row: ") && why.contains("not now"), "{why}");
    assert_eq!(run.target("consumed_challenges")["outcome"], "success");
    assert_eq!(left(&database).await, 300);
}

#[tokio::test]
async fn other_error_fails_its_target_immediately() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    raise_on_delete(&database, "P0001", "true").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(run.target("sessions")["why"].as_str().unwrap().contains("not now"));
    assert_eq!(run.target("consumed_challenges")["outcome"], "success");
    assert!(!run.stderr.contains("chunk_retried"), "{}", run.stderr);
}

#[tokio::test]
async fn run_reconnects_and_deletes_each_row_once() {
    for place in PLACES {
        let database = Database::create().await;
        let (parking, mut program) = parked_in_the_third_chunk(&database, place, &[]).await;
        let ended: i64 = database
            .one(
                "SELECT count(*) FROM (
                     SELECT DISTINCT pid FROM pg_locks
                     WHERE locktype = 'advisory' AND classid = x'53527270'::int::oid AND granted
                       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS holder
                 WHERE pg_terminate_backend(pid)",
            )
            .await;
        assert_eq!(ended, 1);
        let logged = program.log_event("lock_connection_lost").await;
        assert!(logged["why"].as_str().unwrap().contains("terminating connection"), "{logged}");
        parking.open().await;
        let run = reaped(program).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.report["outcome"], "success");
        assert_eq!(run.target("sessions")["deleted"]["expired"], 500);
        assert_eq!(run.target("sessions")["remaining"], 0);
        assert_eq!(
            database.one::<Vec<String>>("SELECT array_agg(outcome) FROM reaper_runs").await,
            ["success"]
        );
        each_row_was_deleted_once(&database).await;
    }
}

#[tokio::test]
async fn run_survives_a_temporary_outage() {
    for place in PLACES {
        let database = Database::create().await;
        let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
        let (parking, program) =
            parked_in_the_third_chunk(&database, place, &[("DATABASE_URL", &url)]).await;
        proxy.cut();
        eventually("the run has failed to reconnect", async || {
            let logged = program.log_events("lock_connection_lost");
            logged.last().is_some_and(|logged| logged["tries"].as_u64() > Some(2))
        })
        .await;
        // The run makes a limited number of attempts, so its process is suspended until the server
        // is back.
        program.signal("STOP");
        parking.open().await;
        proxy.restore();
        program.signal("CONT");
        let run = reaped(program).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 500);
        each_row_was_deleted_once(&database).await;
    }
}

#[tokio::test]
async fn permanent_outage_fails_the_run_and_reports_deletions() {
    for place in PLACES {
        let database = Database::create().await;
        let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
        let (parking, program) =
            parked_in_the_third_chunk(&database, place, &[("DATABASE_URL", &url)]).await;
        proxy.cut();
        let run = reaped(program).await;
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert_eq!(run.report["outcome"], "failed");
        assert_eq!(run.stderr.matches("lock_connection_lost").count(), 8, "{}", run.stderr);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 200);
        assert_eq!(run.target("consumed_challenges")["why"], "not begun: the run had to end");
        parking.open().await;
        assert_eq!(reap(&database, &[]).await.target("sessions")["deleted"]["expired"], 300);
    }
}

#[tokio::test]
async fn lock_taken_during_an_outage_stays_with_its_holder() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let (parking, mut first) =
        parked_in_the_third_chunk(&database, ParkAt::Row, &[("DATABASE_URL", &url)]).await;
    proxy.cut();
    first.log_event("lock_connection_lost").await;
    // The first reaper makes a limited number of attempts, so its process is suspended until the
    // second reaper has the lock.
    first.signal("STOP");
    let client = database.client().await;
    let gone = "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = x'53527270'::int::oid
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
    eventually("the lock is free", async || client.query_one(gone, &[]).await.unwrap().get(0))
        .await;
    let second = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    proxy.restore();
    first.signal("CONT");
    let first = reaped(first).await;
    assert_eq!(first.code, Some(75), "{}", first.stderr);
    let target = first.target("sessions");
    assert_eq!(target["outcome"], "partial", "{}", first.report);
    assert_eq!(target["why"], "another reaper took the lock while the connection was lost");
    assert_eq!(
        first.target("sessions")["deleted"]["expired"],
        200,
        "earlier deletions are reported"
    );
    parking.open().await;
    assert_eq!(reaped(second).await.target("sessions")["deleted"]["expired"], 300);
    each_row_was_deleted_once(&database).await;
}

/// Makes the deletion of this session terminate the server process that executes it.
async fn terminate_on_delete(database: &Database, user_agent: &str) {
    database
        .execute(&format!(
            "CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN OLD; END $$;
             CREATE TRIGGER end_it BEFORE DELETE ON sessions FOR EACH ROW WHEN (OLD.user_agent = '{user_agent}') EXECUTE FUNCTION end_it()"
        ))
        .await;
}

#[tokio::test]
async fn row_that_ends_every_connection_fails_its_target() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    terminate_on_delete(&database, "150").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let why = run.target("sessions")["why"].as_str().unwrap();
    assert!(why.contains("lost 3 times in a row before a row went: "), "{why}");
    assert_eq!(run.target("sessions")["deleted"]["expired"], 100);
    assert_eq!(run.target("sessions")["remaining"], 200);
    assert_eq!(
        run.target("consumed_challenges")["outcome"],
        "success",
        "other targets are not affected"
    );
    assert_eq!(database.one::<String>("SELECT outcome FROM reaper_runs").await, "partial");
}

#[tokio::test]
async fn empty_passes_do_not_reset_the_lost_connection_count() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    // No row is due in the first pass; the rows are due in the second pass.
    database
        .execute(
            "UPDATE sessions SET revoked_at = now() - interval '9 days', expires_at = now() + interval '1 day',
                  absolute_expires_at = now() + interval '1 day'",
        )
        .await;
    terminate_on_delete(&database, "5").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(
        run.target("sessions")["why"].as_str().unwrap().contains("lost 3 times in a row"),
        "{}",
        run.report
    );
    assert_eq!(left(&database).await, 10);
}

#[tokio::test]
async fn retried_chunks_are_counted() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE sessions IN SHARE MODE").await.unwrap();
    let env = [("LOCK_TIMEOUT", "10ms"), ("SCHEDULE", "* * * * * *")];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    let ops = daemon.log_event("listening").await["ops"].as_str().unwrap().to_owned();
    let counted = async |outcome: &str| {
        let text =
            reqwest::get(format!("http://{ops}/metrics")).await.unwrap().text().await.unwrap();
        let text = without_database(&text);
        let series =
            format!("session_reaper_chunks_total{{target=\"sessions\",outcome=\"{outcome}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    };
    eventually("a chunk is retried", async || counted("retried").await >= 2).await;
    assert!(counted("timeout").await >= 2);
    assert_eq!(counted("done").await, 0);
    holder.batch_execute("COMMIT").await.unwrap();
    eventually("a chunk is done", async || counted("done").await >= 1).await;
    assert_eq!(left(&database).await, 0);
}

#[tokio::test]
async fn chunk_that_another_session_cancels_is_retried_unchanged() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    let parking = Parking::at(&database, ParkAt::Deleted { rows_left: 200 }).await;
    let mut program = start_reaper(&database, &["run", "--yes", "--output", "json"], &[]);
    parking.wait_for_arrival().await;
    let canceled: bool = database
        .one(
            "SELECT bool_and(pg_cancel_backend(pid)) FROM pg_locks
             WHERE locktype = 'advisory' AND NOT granted
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        .await;
    assert!(canceled);
    let retried = program.log_event("chunk_retried").await;
    assert_eq!(retried["next_rows"], 100, "a timeout would halve the chunk: {retried}");
    parking.open().await;
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 300);
}
