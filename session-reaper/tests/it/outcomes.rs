//! Outcomes of runs: exit codes, reports and summaries.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, eventually, expired_sessions, reap, reap_by, reaped, start_reaper};

const JSON: [&str; 4] = ["run", "--yes", "--output", "json"];

fn members(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

async fn left(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions").await
}

#[tokio::test]
async fn report_is_one_object_and_is_stored_in_the_history() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let program = start_reaper(&database, &JSON, &[]);
    let id = program.id();
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // serde_json sorts the members when it parses the report; a unit test checks the order of the
    // members.
    assert_eq!(
        members(&run.report),
        ["database", "elapsed_ms", "outcome", "run_id", "started_at", "targets", "why"]
    );
    let target = run.target("sessions");
    assert_eq!(
        members(target),
        [
            "chunk_ms",
            "chunks",
            "deleted",
            "elapsed_ms",
            "outcome",
            "remaining",
            "remaining_capped",
            "skipped_locked",
            "target",
            "why"
        ]
    );
    assert_eq!(members(&target["deleted"]), ["expired", "revoked"]);
    assert_eq!(target["deleted"]["expired"], 250);
    assert_eq!(target["deleted"]["revoked"], 0);
    assert_eq!(target["chunks"], 3);
    assert!(target["chunk_ms"]["max"].as_f64() >= target["chunk_ms"]["mean"].as_f64(), "{target}");
    assert_eq!(target["why"], "no due rows are left");
    assert_eq!(run.target("consumed_challenges")["why"], "nothing was due");
    assert_eq!(run.target("consumed_challenges")["chunks"], 0);

    let client = database.client().await;
    let row = client.query_one("SELECT id::text, instance, version, trigger, outcome, report, started_at::text, finished_at >= started_at FROM reaper_runs", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), run.report["run_id"].as_str().unwrap());
    assert!(row.get::<_, String>(1).ends_with(&format!(":{id}")));
    assert_eq!(row.get::<_, String>(2), env!("CARGO_PKG_VERSION"));
    assert_eq!(row.get::<_, String>(3), "manual");
    assert_eq!(row.get::<_, String>(4), "success");
    // The database is named only in the output.
    let mut stored: Value = row.get(5);
    stored["database"] = run.report["database"].clone();
    assert_eq!(stored, run.report);
    assert!(row.get::<_, bool>(7));
    let started_at = run.report["started_at"].as_str().unwrap();
    assert!(
        database.one::<bool>(&format!("SELECT started_at = '{started_at}' FROM reaper_runs")).await
    );
}

#[tokio::test]
async fn text_summary_shows_deleted_rows_and_the_reason() {
    let database = Database::create().await;
    expired_sessions(&database, 1_250).await;
    let mut program = start_reaper(&database, &["run", "--yes"], &[]);
    assert_eq!(program.wait().await.code(), Some(0));
    let text = program.stdout();
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..3], ["DATABASE", database.name(), "on"]);
    let lines = &lines[2..];
    assert_eq!(
        lines[0],
        [
            "TARGET",
            "REASON",
            "DELETED",
            "CHUNKS",
            "SKIPPED",
            "LOCKED",
            "REMAINING",
            "TIME",
            "OUTCOME"
        ]
    );
    assert_eq!(lines[1][..6], ["sessions", "expired", "1,250", "13", "0", "0"]);
    assert_eq!(lines[2], ["revoked", "0"]);
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with("success after ")
            && last.ends_with("1,250 rows deleted: no due rows are left"),
        "{last}"
    );
}

#[tokio::test]
async fn row_budget_is_exact_and_ends_partial() {
    let database = Database::create().await;
    expired_sessions(&database, 1_000).await;
    let run = reap(&database, &[("MAX_ROWS", "250")]).await;
    assert_eq!(run.code, Some(75));
    assert_eq!(run.report["outcome"], "partial");
    assert_eq!(run.report["why"], "sessions: MAX_ROWS (250) is used up and due rows are left");
    assert_eq!(run.target("sessions")["outcome"], "partial");
    assert_eq!(run.target("sessions")["deleted"]["expired"], 250);
    assert_eq!(run.target("sessions")["remaining"], 750);
    assert_eq!(
        run.target("consumed_challenges")["outcome"],
        "success",
        "the target has no due rows"
    );
    assert_eq!(left(&database).await, 750);
}

#[tokio::test]
async fn row_budget_that_is_just_enough_ends_in_success() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    let run = reap(&database, &[("MAX_ROWS", "250")]).await;
    assert_eq!(run.code, Some(0));
    assert_eq!(run.report["outcome"], "success");
}

/// Makes the deletion of each session take this long.
async fn slow_delete(database: &Database, seconds: f64) {
    database
        .execute(&format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep({seconds}); RETURN OLD; END $$;
             CREATE TRIGGER slow BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION slow()"
        ))
        .await;
}

/// If a statement deletes more than `rows` of the first 100 sessions, makes it execute `instead`.
async fn refuse_more_than(database: &Database, rows: u32, instead: &str) {
    database
        .execute(&format!(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
             DECLARE gone int := coalesce(nullif(current_setting('test.gone', true), ''), '0')::int + 1;
             BEGIN
                 PERFORM set_config('test.gone', gone::text, true);
                 IF gone > {rows} THEN {instead}; END IF;
                 RETURN OLD;
             END $$;
             CREATE TRIGGER refuse BEFORE DELETE ON sessions FOR EACH ROW WHEN (OLD.user_agent::int <= 100)
             EXECUTE FUNCTION refuse()"
        ))
        .await;
}

#[tokio::test]
async fn exhausted_time_budget_ends_partial() {
    let database = Database::create().await;
    expired_sessions(&database, 1_000).await;
    // Deleting all rows takes 50 seconds on any machine, and the preparations of a run far less than
    // 20 seconds.
    slow_delete(&database, 0.05).await;
    let run = reap(&database, &[("MAX_RUNTIME", "20s"), ("MAX_CHUNK", "20")]).await;
    assert_eq!(run.code, Some(75), "{}", run.stderr);
    assert_eq!(run.report["why"], "sessions: MAX_RUNTIME (20s) is used up and due rows are left");
    let deleted = run.target("sessions")["deleted"]["expired"].as_i64().unwrap();
    assert_eq!(deleted % 20, 0, "{deleted}");
    assert_eq!(left(&database).await, 1_000 - deleted);
}

#[tokio::test]
async fn active_run_updates_its_heartbeat() {
    let database = Database::create().await;
    // Far more rows than are deleted before the test reads the heartbeat.
    expired_sessions(&database, 20_000).await;
    slow_delete(&database, 0.05).await;
    let program = start_reaper(&database, &JSON, &[("MAX_CHUNK", "20")]);
    let client = database.client().await;
    eventually("the heartbeat is newer than the start", async || {
        let sql = "SELECT coalesce(bool_or(heartbeat_at > started_at + interval '1 second' AND outcome IS NULL), false)
                   FROM reaper_runs";
        client.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
    program.signal("TERM");
    assert_eq!(reaped(program).await.code, Some(143));
}

#[tokio::test]
async fn chunk_that_times_out_is_halved_until_it_fits() {
    let database = Database::create().await;
    expired_sessions(&database, 100).await;
    refuse_more_than(&database, 30, "PERFORM pg_sleep(3600)").await;
    let run = reap(&database, &[("STATEMENT_TIMEOUT", "3s"), ("CHUNK_TIME", "1s")]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    // Chunks of 100 rows and of 50 rows both time out.
    assert!(run.stderr.matches("STATEMENT_TIMEOUT reached").count() >= 2, "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 100);
}

#[tokio::test]
async fn halved_chunk_grows_again() {
    let database = Database::create().await;
    expired_sessions(&database, 3_000).await;
    // The trigger raises the same error as STATEMENT_TIMEOUT, but does not depend on the speed of
    // the machine.
    refuse_more_than(&database, 50, "RAISE EXCEPTION 'too long' USING ERRCODE = 'query_canceled'")
        .await;
    let env = [("MAX_CHUNK", "400"), ("RUST_LOG", "session_reaper=debug")];
    let mut program = start_reaper(&database, &JSON, &env);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    let chunks = program.log_events("chunk_committed");
    let rows: Vec<u64> =
        chunks.iter().filter_map(|chunk| chunk["rows"].as_u64()).filter(|rows| *rows > 0).collect();
    let first = rows[0];
    assert!(first <= 50 && program.stderr().contains("STATEMENT_TIMEOUT reached"), "{rows:?}");
    assert!(rows.iter().any(|rows| *rows >= 4 * first), "{rows:?}");
    assert_eq!(rows.iter().sum::<u64>(), 3_000);
}

#[tokio::test]
async fn target_with_only_slow_rows_fails_with_a_hint() {
    let database = Database::create().await;
    expired_sessions(&database, 2).await;
    slow_delete(&database, 3600.0).await;
    let run =
        reap(&database, &[("STATEMENT_TIMEOUT", "3s"), ("CHUNK_TIME", "1s"), ("MAX_CHUNK", "2")])
            .await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(run.target("sessions")["outcome"], "failed");
    let why = run.target("sessions")["why"].as_str().unwrap();
    assert!(why.contains("STATEMENT_TIMEOUT") && why.contains("trigger"), "{why}");
    assert_eq!(left(&database).await, 2);
}

#[tokio::test]
async fn run_waits_for_a_table_lock() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE sessions IN SHARE MODE").await.unwrap();
    // The chunk is tried a dozen times with this timeout, long enough for the lock to be released.
    let mut program = start_reaper(&database, &JSON, &[("LOCK_TIMEOUT", "3s")]);
    let again = program.log_event("chunk_retried").await;
    assert_eq!(again["why"], "LOCK_TIMEOUT reached");
    holder.batch_execute("COMMIT").await.unwrap();
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 10);
}

#[tokio::test]
async fn failed_target_does_not_stop_the_others() {
    let database = Database::create().await;
    expired_sessions(&database, 30).await;
    database
        .execute(
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
             CREATE TRIGGER no BEFORE DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION no();
             INSERT INTO consumed_challenges VALUES (decode(repeat('00', 32), 'hex'), now() - interval '1 day')",
        )
        .await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(run.report["outcome"], "partial");
    let sessions = run.target("sessions");
    assert_eq!(sessions["outcome"], "failed");
    assert!(sessions["why"].as_str().unwrap().contains("not today"), "{sessions}");
    assert_eq!(sessions["remaining"], 30);
    assert_eq!(run.target("consumed_challenges")["deleted"]["expired"], 1);
}

#[tokio::test]
async fn missing_history_tables_cause_one_warning() {
    let database = Database::create().await;
    database.execute("DROP TABLE reaper_runs, reaper_state").await;
    expired_sessions(&database, 10).await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 10);
    assert_eq!(run.report["targets"].as_array().unwrap().len(), 2);
    assert_eq!(run.stderr.matches("session-reaper migrate").count(), 1, "{}", run.stderr);
}

#[tokio::test]
async fn preset_without_any_of_its_tables_fails() {
    let database = Database::empty().await;
    let run = reap_by(&database, "preset = 'auth-api'", &[]).await;
    assert_eq!(run.code, Some(1), "{}", run.stderr);
    assert_eq!(run.report["outcome"], "failed");
}

/// Asserts that a run is refused behind a simulated transaction-pooling proxy, which switches
/// server processes after this many statements. To simulate the switch, the built-in function
/// `pg_backend_pid` is replaced in this database, because the reaper's statements call only
/// functions in `pg_catalog`.
async fn refuses_a_pooler_detected_after(statements: u32) {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    database
        .execute(&format!(
            "CREATE SCHEMA pooler; GRANT USAGE ON SCHEMA pooler TO PUBLIC;
             CREATE SEQUENCE pooler.calls; GRANT USAGE ON SEQUENCE pooler.calls TO PUBLIC;
             SET allow_system_table_mods = on;
             ALTER FUNCTION pg_catalog.pg_backend_pid() RENAME TO pg_backend_real_pid;
             CREATE FUNCTION pg_catalog.pg_backend_pid() RETURNS integer LANGUAGE sql VOLATILE AS
             $$ SELECT CASE WHEN nextval('pooler.calls') <= {statements} THEN pg_catalog.pg_backend_real_pid() ELSE 1 END $$",
        ))
        .await;
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert_eq!(run.report["outcome"], "failed");
    let why = run.report["why"].as_str().unwrap();
    assert!(why.starts_with("a transaction-pooling proxy stands between"), "{why}");
    assert_eq!(left(&database).await, 10);
}

#[tokio::test]
async fn pooler_detected_on_connect_is_refused_before_settings() {
    refuses_a_pooler_detected_after(2).await;
}

#[tokio::test]
async fn pooler_detected_at_locking_is_refused_before_a_lock() {
    refuses_a_pooler_detected_after(4).await;
}

#[tokio::test]
async fn pooler_detected_later_is_refused_by_the_chunk() {
    // Two checks of each of the two connections, and one check for each of the three locks.
    refuses_a_pooler_detected_after(4 + 3).await;
}

#[tokio::test]
async fn scheduler_that_starts_a_run_is_recorded() {
    let database = Database::create().await;
    for (env, trigger) in [
        (("TRIGGER", "schedule"), "schedule"),
        (("INVOCATION_ID", "0123456789abcdef"), "schedule"),
        (("TRIGGER", "manual"), "manual"),
    ] {
        assert_eq!(reap(&database, &[env]).await.code, Some(0));
        let last = "SELECT trigger FROM reaper_runs ORDER BY started_at DESC LIMIT 1";
        assert_eq!(database.one::<String>(last).await, trigger, "{env:?}");
    }
}
