//! What may go better the next time is tried again, with an end; everything else is told.
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

/// 500 due sessions, of which the third chunk of 100 stops in its middle; how often each row went
/// is noted.
async fn parked_in_the_third_chunk(
    database: &Database,
    place: ParkAt,
    env: &[(&str, &str)],
) -> (Parking, Program) {
    expired_sessions(database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    note_what_goes(database).await;
    let parking = Parking::at(database, place).await;
    let program = start_reaper(database, &JSON, env);
    parking.wait_for_arrival().await;
    (parking, program)
}

async fn note_what_goes(database: &Database) {
    database
        .execute(
            "CREATE TABLE gone (id uuid);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 $$ BEGIN INSERT INTO gone VALUES (OLD.id); RETURN NULL; END $$;
             CREATE TRIGGER note AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
}

async fn each_went_once(database: &Database) {
    let counts: Vec<i64> =
        database.one("SELECT ARRAY[count(*), count(DISTINCT id)] FROM gone").await;
    assert_eq!(counts, [500, 500]);
}

/// Every delete of a session raises this error, as long as the condition holds.
async fn raising(database: &Database, code: &str, condition: &str) {
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
async fn a_conflict_is_tried_again_until_it_goes() {
    for code in ["40001", "40P01"] {
        let database = Database::create().await;
        expired_sessions(&database, 300).await;
        raising(&database, code, "nextval('tries') <= 3").await;
        let run = reap(&database, &[]).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 300);
        assert_eq!(run.target("sessions")["chunks"], 3, "the chunks are as large as they were");
        assert_eq!(run.stderr.matches("chunk_retried").count(), 3, "{}", run.stderr);
    }
}

#[tokio::test]
async fn a_conflict_that_does_not_end_fails_its_target_and_no_other() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    raising(&database, "40001", "true").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let why = run.target("sessions")["why"].as_str().unwrap();
    assert!(why.starts_with("13 times in a row: ") && why.contains("not now"), "{why}");
    assert_eq!(run.target("consumed_challenges")["outcome"], "success");
    assert_eq!(left(&database).await, 300);
}

#[tokio::test]
async fn anything_else_fails_its_target_at_once() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    raising(&database, "P0001", "true").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(run.target("sessions")["why"].as_str().unwrap().contains("not now"));
    assert_eq!(run.target("consumed_challenges")["outcome"], "success");
    assert!(!run.stderr.contains("chunk_retried"), "{}", run.stderr);
}

#[tokio::test]
async fn a_run_whose_connection_is_ended_goes_on_with_another_and_each_row_goes_once() {
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
        let said = program.log_event("lock_connection_lost").await;
        assert!(said["why"].as_str().unwrap().contains("terminating connection"), "{said}");
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
        each_went_once(&database).await;
    }
}

#[tokio::test]
async fn a_run_outlives_a_server_that_cannot_be_reached_for_a_while() {
    for place in PLACES {
        let database = Database::create().await;
        let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
        let (parking, program) =
            parked_in_the_third_chunk(&database, place, &[("DATABASE_URL", &url)]).await;
        proxy.cut();
        eventually("it has tried in vain", async || {
            let said = program.log_events("lock_connection_lost");
            said.last().is_some_and(|said| said["tries"].as_u64() > Some(2))
        })
        .await;
        // It gives up after some tries: meanwhile it makes none.
        program.signal("STOP");
        parking.open().await;
        proxy.restore();
        program.signal("CONT");
        let run = reaped(program).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(run.target("sessions")["deleted"]["expired"], 500);
        each_went_once(&database).await;
    }
}

#[tokio::test]
async fn a_server_that_stays_away_ends_the_run_with_what_was_done() {
    for place in PLACES {
        let database = Database::create().await;
        let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
        let (parking, program) =
            parked_in_the_third_chunk(&database, place, &[("DATABASE_URL", &url)]).await;
        proxy.cut();
        let run = reaped(program).await;
        assert_eq!(run.code, Some(1), "{}", run.stderr);
        assert_eq!(run.report["outcome"], "failed");
        let why = run.report["why"].as_str().unwrap();
        assert!(why.contains("lock was lost") && why.contains("after 8 tries"), "{why}");
        assert_eq!(run.target("sessions")["deleted"]["expired"], 200);
        assert_eq!(run.target("consumed_challenges")["why"], "not begun: the run had to end");
        parking.open().await;
        assert_eq!(reap(&database, &[]).await.target("sessions")["deleted"]["expired"], 300);
    }
}

#[tokio::test]
async fn a_reaper_that_took_the_lock_meanwhile_keeps_it() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let (parking, mut first) =
        parked_in_the_third_chunk(&database, ParkAt::Row, &[("DATABASE_URL", &url)]).await;
    proxy.cut();
    first.log_event("lock_connection_lost").await;
    // It tries a few times, for a while. Until the other one has the lock it does not get to run.
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
    assert_eq!(first.code, Some(3), "{}", first.stderr);
    let target = first.target("sessions");
    assert_eq!(target["outcome"], "partial", "{}", first.report);
    assert_eq!(target["why"], "another reaper took the lock while the connection was lost");
    assert_eq!(first.target("sessions")["deleted"]["expired"], 200, "what it did before is told");
    parking.open().await;
    assert_eq!(reaped(second).await.target("sessions")["deleted"]["expired"], 300);
    each_went_once(&database).await;
}

/// Deleting this session ends the server process that does it.
async fn ends_its_process(database: &Database, user_agent: &str) {
    database
        .execute(&format!(
            "CREATE FUNCTION end_it() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                 $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10); RETURN OLD; END $$;
             CREATE TRIGGER end_it BEFORE DELETE ON sessions FOR EACH ROW WHEN (OLD.user_agent = '{user_agent}') EXECUTE FUNCTION end_it()"
        ))
        .await;
}

#[tokio::test]
async fn a_row_that_ends_each_connection_does_not_do_so_for_ever() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    ends_its_process(&database, "150").await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    let why = run.target("sessions")["why"].as_str().unwrap();
    assert!(why.contains("lost 3 times in a row before a row went: "), "{why}");
    assert_eq!(run.target("sessions")["deleted"]["expired"], 100);
    assert_eq!(run.target("sessions")["remaining"], 200);
    assert_eq!(
        run.target("consumed_challenges")["outcome"],
        "success",
        "the others are not to blame"
    );
    assert_eq!(database.one::<String>("SELECT outcome FROM reaper_runs").await, "partial");
}

#[tokio::test]
async fn passes_that_find_nothing_do_not_begin_the_count_of_lost_connections_anew() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    // Nothing is due in the first pass; the row is the second's.
    database
        .execute(
            "UPDATE sessions SET revoked_at = now() - interval '9 days', expires_at = now() + interval '1 day',
                  absolute_expires_at = now() + interval '1 day'",
        )
        .await;
    ends_its_process(&database, "5").await;
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
async fn what_was_tried_again_is_counted() {
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
        let series =
            format!("session_reaper_chunks_total{{target=\"sessions\",outcome=\"{outcome}\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {series} in\n{text}"))
    };
    eventually("a chunk is tried again", async || counted("retried").await >= 2).await;
    assert!(counted("timeout").await >= 2);
    assert_eq!(counted("done").await, 0);
    holder.batch_execute("COMMIT").await.unwrap();
    eventually("it went", async || counted("done").await >= 1).await;
    assert_eq!(left(&database).await, 0);
}
