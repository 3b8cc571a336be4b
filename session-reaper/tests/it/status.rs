//! `status`, and the contents of a run's row while the run is active and after it was killed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{
    Database, ParkAt, Parking, Program, Server, eventually, expired_sessions, reap, start_reaper,
};

const JSON: [&str; 3] = ["status", "--output", "json"];

async fn status(database: &Database, env: &[(&str, &str)]) -> Value {
    status_with(database, &[], env).await
}

async fn status_with(database: &Database, args: &[&str], env: &[(&str, &str)]) -> Value {
    let mut program = start_reaper(database, &[&JSON, args].concat(), env);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    serde_json::from_str(&program.stdout()).unwrap()
}

async fn text(database: &Database) -> String {
    let mut program = start_reaper(database, &["status"], &[]);
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    program.stdout()
}

/// Starts a run that stops in the middle of the third of five chunks (transactions) of 100 rows.
async fn parked() -> (Database, Parking, Program) {
    let database = Database::create().await;
    let (parking, program) = parked_on(&database).await;
    (database, parking, program)
}

async fn parked_on(database: &Database) -> (Parking, Program) {
    expired_sessions(database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    let parking = Parking::at(database, ParkAt::Row).await;
    let program = start_reaper(database, &["run", "--yes"], &[]);
    parking.wait_for_arrival().await;
    eventually("the row contains the progress", async || {
        database
            .one::<bool>(
                "SELECT coalesce(report #>> '{targets,0,chunks}' = '2', false) FROM reaper_runs",
            )
            .await
    })
    .await;
    (parking, program)
}

/// Waits until the server has released the lock of a run that has ended.
async fn unlocked(database: &Database) {
    eventually("no run holds its lock", async || {
        database
            .one::<bool>(
                "SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = x'53527275'::int::oid
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))",
            )
            .await
    })
    .await;
}

#[tokio::test]
async fn active_run_reports_its_progress_and_then_its_outcome() {
    let (database, parking, mut program) = parked().await;
    let report: Value = database.one("SELECT report FROM reaper_runs WHERE outcome IS NULL").await;
    assert_eq!(report["outcome"], "running");
    assert_eq!(report["why"], "deleting from sessions");
    assert_eq!((&report["due"], &report["due_capped"]), (&500.into(), &false.into()));
    let target = &report["targets"][0];
    assert_eq!((&target["target"], &target["outcome"]), (&"sessions".into(), &"running".into()));
    assert_eq!(target["deleted"], serde_json::json!({"expired": 200, "revoked": 0}));

    let seen = status(&database, &[]).await;
    assert_eq!(seen["health"], "ok", "{seen}");
    assert_eq!(seen["summary"], "at work: deleting from sessions");
    let run = &seen["runs"][0];
    assert_eq!(
        (&run["outcome"], &run["deleted"], &run["due"]),
        (&"running".into(), &200.into(), &500.into())
    );
    assert!(run["finished_at"].is_null());
    assert!(text(&database).await.contains("200 of 500"), "{}", text(&database).await);

    parking.open().await;
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    unlocked(&database).await;
    let seen = status(&database, &[]).await;
    assert_eq!(seen["health"], "ok");
    assert_eq!(seen["summary"], "the last run succeeded: no due rows are left");
    assert_eq!(
        (&seen["runs"][0]["outcome"], &seen["runs"][0]["deleted"]),
        (&"success".into(), &500.into())
    );
    assert!(seen["runs"][0]["due"].is_null());
}

#[tokio::test]
async fn killed_run_is_interrupted_and_closed_by_a_later_run() {
    let (database, parking, mut program) = parked().await;
    program.signal("KILL");
    program.wait().await;
    unlocked(&database).await;
    let seen = status(&database, &[]).await;
    assert_eq!(
        (&seen["health"], &seen["runs"][0]["outcome"]),
        (&"attention".into(), &"interrupted".into()),
        "{seen}"
    );
    assert_eq!(seen["runs"][0]["deleted"], 200);
    assert!(seen["runs"][0]["why"].as_str().unwrap().starts_with("killed, or cut off"), "{seen}");
    assert_eq!(seen["runs"][0]["targets"][0]["outcome"], "interrupted");
    parking.open().await;

    // A run that has just lost its connection looks the same and may reconnect, so its row is not
    // closed for a minute.
    let run = reap(&database, &[]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM reaper_runs WHERE finished_at IS NULL").await,
        1
    );

    let past = "UPDATE reaper_runs SET started_at = started_at - interval '5 min', heartbeat_at = heartbeat_at - interval '2 min'
                WHERE finished_at IS NULL";
    database.execute(past).await;
    let run = reap(&database, &[("RUST_LOG", "warn")]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("run_interrupted"), "{}", run.stderr);
    let closed =
        "SELECT outcome || ' ' || (finished_at = heartbeat_at) || ' ' || (report ->> 'outcome')
                  FROM reaper_runs ORDER BY started_at LIMIT 1";
    assert_eq!(database.one::<String>(closed).await, "interrupted true interrupted");
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM reaper_runs WHERE finished_at IS NULL").await,
        0
    );
}

#[tokio::test]
async fn live_run_with_an_old_heartbeat_is_not_closed() {
    let (database, parking, mut program) = parked().await;
    database.execute("UPDATE reaper_runs SET heartbeat_at = now() - interval '1 hour'").await;
    let other = reap(&database, &[]).await;
    assert_eq!(other.report["outcome"], "skipped_lock", "{}", other.stderr);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM reaper_runs WHERE finished_at IS NULL").await,
        1
    );
    assert_eq!(status(&database, &[]).await["runs"][1]["outcome"], "running");
    parking.open().await;
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM reaper_runs WHERE outcome = 'success'").await,
        1
    );
}

#[tokio::test]
async fn replica_does_not_report_an_active_run_as_interrupted() {
    let primary = Server::start(&[]).await;
    let database = primary.database().await;
    let replica = primary.replica().await;
    let (parking, mut program) = parked_on(&database).await;
    let url = replica.url_of(&database);
    let env = [("DATABASE_URL", url.as_str())];
    // The run is parked, so its heartbeat changes only here.
    for (heartbeat, outcome, health) in [
        ("now() + interval '1 hour'", "running", "ok"),
        ("now() - interval '1 hour'", "unknown", "unknown"),
    ] {
        database.execute(&format!("UPDATE reaper_runs SET heartbeat_at = {heartbeat}")).await;
        replica.catch_up().await;
        let seen = status(&database, &env).await;
        let run = &seen["runs"][0];
        assert_eq!((&run["outcome"], &run["deleted"]), (&outcome.into(), &200.into()), "{seen}");
        assert!(run["finished_at"].is_null(), "{seen}");
        assert_eq!(
            (&seen["database"]["replica"], &seen["health"]),
            (&true.into(), &health.into()),
            "{seen}"
        );
        let mut shown = start_reaper(&database, &["status"], &env);
        assert_eq!(shown.wait().await.code(), Some(0), "{}", shown.stderr());
        assert!(shown.stdout().contains("note: the server is a replica"), "{}", shown.stdout());
    }
    let on_primary = status(&database, &[]).await;
    assert_eq!(on_primary["database"]["replica"], false, "{on_primary}");
    assert_eq!(on_primary["runs"][0]["outcome"], "running", "{on_primary}");
    parking.open().await;
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
}

#[tokio::test]
async fn backlog_is_counted_by_target_and_reason() {
    let database = Database::create().await;
    expired_sessions(&database, 40).await;
    database
        .execute(
            "UPDATE sessions SET revoked_at = now() - interval '9 days', expires_at = now() + interval '1 day',
                                 absolute_expires_at = now() + interval '1 day' WHERE user_agent::int <= 30",
        )
        .await;
    let seen = status(&database, &[]).await;
    let sessions = &seen["targets"][0];
    assert_eq!(
        (&sessions["target"], &sessions["rows"]),
        (&"sessions".into(), &40.into()),
        "{seen}"
    );
    let rows = |index: usize| {
        (sessions["due"][index]["reason"].clone(), sessions["due"][index]["rows"].clone())
    };
    assert_eq!(rows(0), ("expired".into(), 10.into()));
    assert_eq!(rows(1), ("revoked".into(), 30.into()));
    // The row expired ten days ago and is kept for one day.
    let due: chrono::DateTime<chrono::Utc> = database
        .one("SELECT min(expires_at) + interval '1 day' FROM sessions WHERE revoked_at IS NULL")
        .await;
    let oldest: chrono::DateTime<chrono::Utc> =
        sessions["oldest_due"].as_str().unwrap().parse().unwrap();
    assert!((oldest - due).num_milliseconds().abs() < 2, "{oldest} is not {due}");
    // No run has ended and no schedule is known, so none of the rows is late.
    assert_eq!((&seen["health"], &seen["late"]), (&"unknown".into(), &serde_json::json!([])));
    let seen = status_with(&database, &["--interval", "1d"], &[]).await;
    assert_eq!(
        (&seen["health"], &seen["summary"]),
        (&"attention".into(), &"sessions: rows fell due 9 days ago and are still there".into())
    );
    assert_eq!(seen["late"], serde_json::json!(["sessions"]));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 40);
    for line in text(&database).await.lines().filter(|line| !line.starts_with("NEXT")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[tokio::test]
async fn missing_tables_and_privileges_are_noted() {
    let database = Database::create().await;
    expired_sessions(&database, 7).await;
    database
        .execute(
            "DROP TABLE reaper_runs; DROP TABLE reaper_state; REVOKE ALL ON consumed_challenges FROM session_reaper",
        )
        .await;
    let seen = status(&database, &[]).await;
    let notes = seen["notes"].to_string();
    assert_eq!(seen["history"], false);
    assert!(
        notes.contains("no table reaper_runs: `session-reaper migrate`")
            && notes.contains("no table reaper_state"),
        "{notes}"
    );
    assert_eq!(seen["targets"][0]["rows"], 7, "{seen}");
    assert!(seen["targets"][1]["rows"].is_null());
    assert!(
        seen["targets"][1]["not_counted"].as_str().unwrap().contains("consumed_challenges"),
        "{seen}"
    );
    let text = text(&database).await;
    assert!(
        text.contains("consumed_challenges was not counted: ")
            && text.contains("note: there is no table"),
        "{text}"
    );
}

#[tokio::test]
async fn table_without_an_index_is_not_counted() {
    let database = Database::create().await;
    database.execute("DROP INDEX sessions_expires_at_id_idx; INSERT INTO accounts (id, issuer, subject) VALUES (gen_random_uuid(), 'i', 's');
        INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
        SELECT gen_random_uuid(), (SELECT id FROM accounts), now(), now() FROM generate_series(1, 20000)").await;
    let seen = status(&database, &[]).await;
    assert!(seen["targets"][0]["rows"].is_null(), "{seen}");
    assert!(
        seen["targets"][0]["not_counted"].as_str().unwrap().contains("CREATE INDEX CONCURRENTLY"),
        "{seen}"
    );
}

#[tokio::test]
async fn pause_is_shown_until_it_ends_by_the_database_clock() {
    let database = Database::create().await;
    let pause = |until: &str| {
        format!(
            "INSERT INTO reaper_state (key, value) VALUES ('pause', jsonb_build_object('until', to_json({until}), 'why', 'release night', 'by', 'ada'))
             ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
    };
    database.execute(&pause("now() + interval '2 hours'")).await;
    let seen = status(&database, &[]).await;
    assert_eq!(
        (&seen["pause"]["why"], &seen["health"]),
        (&"release night".into(), &"attention".into()),
        "{seen}"
    );
    assert!(text(&database).await.contains("PAUSED until "), "{}", text(&database).await);
    database.execute(&pause("now() - interval '1 s'")).await;
    assert!(status(&database, &[]).await["pause"].is_null());
}

#[tokio::test]
async fn throttle_of_a_run_is_shown_with_its_start() {
    let database = Database::create().await;
    // The run of this row counts as live, because the test holds its lock.
    let holder = database.client().await;
    holder
        .batch_execute(
            "INSERT INTO reaper_runs (id, instance, version, trigger, report) VALUES ('01999999-9999-7999-8999-99999999abcd', 'other:1', '0', 'schedule',
                '{\"outcome\": \"running\", \"why\": \"waiting for replica_lag: replica a is 12 s behind\", \"targets\": [], \"due\": 9,
                  \"waiting\": {\"cause\": \"replica_lag\", \"why\": \"replica a is 12 s behind\", \"since\": \"2026-01-01T00:00:00Z\"}}');
             SELECT pg_advisory_lock(x'53527275'::int, x'9999abcd'::int)",
        )
        .await
        .unwrap();
    let seen = status(&database, &[]).await;
    assert_eq!(seen["waiting"][0]["cause"], "replica_lag", "{seen}");
    assert_eq!(
        (&seen["waiting"][0]["instance"], &seen["waiting"][0]["since"]),
        (&"other:1".into(), &"2026-01-01T00:00:00Z".into())
    );
    assert_eq!(seen["summary"], "waiting for replica_lag: replica a is 12 s behind");
    drop(holder);
    eventually("a run without its lock is not waiting", async || {
        let seen = status(&database, &[]).await;
        seen["waiting"] == Value::Array(Vec::new()) && seen["runs"][0]["outcome"] == "interrupted"
    })
    .await;
}

#[tokio::test]
async fn daemon_registers_its_next_run_until_it_stops() {
    let database = Database::create().await;
    let mut daemon = start_reaper(
        &database,
        &["daemon"],
        &[("SCHEDULE", "30 4 * * *"), ("TIMEZONE", "Europe/Berlin")],
    );
    eventually("the next run is registered", async || {
        status(&database, &[]).await["daemons"].as_array().unwrap().len() == 1
    })
    .await;
    let seen = status(&database, &[]).await;
    let shown = &seen["daemons"][0];
    assert_eq!(
        (&shown["schedule"], &shown["timezone"]),
        (&"30 4 * * *".into(), &"Europe/Berlin".into())
    );
    let next: chrono::DateTime<chrono::Utc> = shown["next_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        next.with_timezone(&chrono_tz::Europe::Berlin).format("%H:%M:%S").to_string(),
        "04:30:00"
    );
    assert!(text(&database).await.contains("NEXT RUN "));
    let page = reqwest::get(shown["page"].as_str().unwrap()).await.unwrap();
    assert_eq!(page.status(), 200);

    daemon.signal("TERM");
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
    assert_eq!(status(&database, &[]).await["daemons"], Value::Array(Vec::new()));
    // The registration of a killed daemon remains. It is ignored, and after a day another daemon
    // deletes it.
    database.execute("INSERT INTO reaper_state (key, value) VALUES ('daemon:dead:1',
        '{\"next_at\": \"2026-01-01T00:00:00Z\", \"schedule\": \"@daily\", \"timezone\": \"UTC\", \"version\": \"0\", \"page\": \"\"}')").await;
    assert_eq!(status(&database, &[]).await["daemons"], Value::Array(Vec::new()));
    let _daemon = start_reaper(&database, &["daemon"], &[("SCHEDULE", "30 4 * * *")]);
    eventually("the stale registration is deleted", async || {
        database.one::<i64>("SELECT count(*) FROM reaper_state WHERE key = 'daemon:dead:1'").await
            == 0
    })
    .await;
}

#[tokio::test]
async fn output_names_the_database_without_credentials() {
    let database = Database::create().await;
    let url = database.url_as("session_reaper");
    let url: tokio_postgres::Config = url.parse().unwrap();
    let port = url.get_ports()[0];
    let password = url.get_password().map(|text| String::from_utf8_lossy(text).into_owned());
    for args in [&["status"][..], &["plan"], &["run", "--yes"]] {
        let mut program = start_reaper(&database, args, &[]);
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
        let text = program.stdout();
        let first = text.lines().next().unwrap();
        assert!(first.contains(database.name()) && first.contains(&port.to_string()), "{text}");
        let mut program = start_reaper(&database, &[args, &["--output", "json"]].concat(), &[]);
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
        let object: Value = serde_json::from_str(&program.stdout()).unwrap();
        assert_eq!(object["database"]["name"], database.name(), "{object}");
        assert_eq!(object["database"]["port"], port, "{object}");
        assert!(object["database"]["host"].is_string(), "{object}");
        let shown = format!("{text}{object}");
        assert!(password.as_ref().is_none_or(|text| !shown.contains(text)), "{shown}");
    }
}

/// Stores a successful run that took a minute and ended at the time `ended`. Its due sessions
/// became due at the time `fell_due`.
async fn success_and_backlog(database: &Database, ended: &str, fell_due: &str) {
    database
        .execute(&format!(
            "DELETE FROM reaper_runs;
             INSERT INTO reaper_runs (id, instance, version, trigger, started_at, heartbeat_at, finished_at, outcome, report)
             VALUES (gen_random_uuid(), 'other:1', '0', 'schedule', {ended} - interval '1 min', {ended}, {ended}, 'success',
                 '{{\"outcome\": \"success\", \"why\": \"no due rows are left\", \"targets\": []}}');
             UPDATE sessions SET expires_at = {fell_due} - interval '1 day', absolute_expires_at = now()"
        ))
        .await;
}

#[tokio::test]
async fn command_and_page_judge_a_nightly_schedule_alike() {
    let database = Database::create().await;
    expired_sessions(&database, 5).await;
    // The last scheduled time was less than 20 hours ago.
    let nightly = chrono::Utc::now() + chrono::TimeDelta::hours(4) + chrono::TimeDelta::minutes(5);
    let schedule = nightly.format("%M %H * * *").to_string();
    // The page shows the rows that the daemon counts at its start.
    let fell_due = "now() - interval '18 h'";
    success_and_backlog(&database, "now() - interval '19 h'", fell_due).await;
    let daemon = start_reaper(&database, &["daemon"], &[("SCHEDULE", &schedule), ("JITTER", "1m")]);
    eventually("the next run is registered", async || {
        status(&database, &[]).await["daemons"].as_array().unwrap().len() == 1
    })
    .await;
    let page = status(&database, &[]).await["daemons"][0]["page"].as_str().unwrap().to_owned();
    for (ended, health, is_due) in
        [("now() - interval '19 h'", "ok", false), ("now() - interval '3 days'", "attention", true)]
    {
        success_and_backlog(&database, ended, fell_due).await;
        let is_due_in = |seen: &Value| {
            let time =
                |name: &str| seen[name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
            time("at").unwrap() > time("expected_by").unwrap()
        };
        let seen = status(&database, &[]).await;
        assert_eq!(
            (&seen["health"], &seen["targets"][0]["rows"]),
            (&health.into(), &5.into()),
            "{seen}"
        );
        assert_eq!((is_due_in(&seen), &seen["late"]), (is_due, &serde_json::json!([])), "{seen}");
        eventually("the page shows the same health", async || {
            let shown: Value =
                reqwest::get(format!("{page}status.json")).await.unwrap().json().await.unwrap();
            shown["last_success_at"] == seen["last_success_at"]
                && shown["health"] == health
                && shown["expected_by"] == seen["expected_by"]
        })
        .await;
    }
    // The last run should have deleted these rows.
    success_and_backlog(&database, "now() - interval '19 h'", "now() - interval '26 h'").await;
    let seen = status(&database, &[]).await;
    assert_eq!(
        (&seen["health"], &seen["late"]),
        (&"attention".into(), &serde_json::json!(["sessions"])),
        "{seen}"
    );
    drop(daemon);
}

#[tokio::test]
async fn age_alone_needs_no_attention_without_a_schedule() {
    let database = Database::create().await;
    expired_sessions(&database, 5).await;
    success_and_backlog(&database, "now() - interval '3 days'", "now() - interval '18 h'").await;
    let seen = status(&database, &[]).await;
    assert_eq!((&seen["health"], &seen["expected_by"]), (&"ok".into(), &Value::Null), "{seen}");
    for (interval, health) in [("1d", "attention"), ("4d", "ok")] {
        let seen = status_with(&database, &["--interval", interval], &[]).await;
        assert_eq!(seen["health"], health, "{interval}: {seen}");
    }
    // The last run left these rows.
    success_and_backlog(&database, "now() - interval '1 day'", "now() - interval '26 h'").await;
    let seen = status(&database, &[]).await;
    assert_eq!(
        (&seen["health"], &seen["late"]),
        (&"attention".into(), &serde_json::json!(["sessions"])),
        "{seen}"
    );
}

#[tokio::test]
async fn watch_prints_one_json_object_per_line_until_interrupted() {
    let database = Database::create().await;
    let mut program = start_reaper(
        &database,
        &["status", "--output", "json", "--watch", "500ms", "--last", "1"],
        &[],
    );
    eventually("three lines are printed", async || program.stdout().lines().count() >= 3).await;
    program.signal("INT");
    assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
    for line in program.stdout().lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["history"], true);
    }
}

#[tokio::test]
async fn exit_code_identifies_the_error() {
    let database = Database::create().await;
    for (args, env, code, expected) in [
        (
            &["status", "--watch", "1ms"][..],
            &[][..],
            78,
            "--watch=1ms: a duration from 500ms to 1h",
        ),
        (&["status", "--last", "0"], &[], 78, "--last=0: a whole number from 1 to 1000"),
        (&["status", "--interval", "soon"], &[], 78, "--interval=soon: a duration"),
        (&["status", "--lost", "0"], &[], 2, "--last"),
        (
            &["status"],
            &[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")],
            69,
            "status_failed",
        ),
        (
            &["status", "--watch"],
            &[("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")],
            69,
            "status_failed",
        ),
    ] {
        let mut program = start_reaper(&database, args, env);
        assert_eq!(program.wait().await.code(), Some(code), "{args:?}: {}", program.stderr());
        assert!(program.stderr().contains(expected), "{args:?}: {}", program.stderr());
        assert_eq!(program.stdout(), "");
    }
}

#[tokio::test]
async fn backlog_is_unknown_if_the_condition_keeps_all_rows_up_to_the_limit_of_the_count() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, due timestamptz NOT NULL);
             INSERT INTO t SELECT i, now() - interval '9 days' + i * interval '1 ms' FROM generate_series(1, 100100) i;
             CREATE INDEX ON t (due, id); GRANT SELECT, DELETE ON t TO session_reaper;
             GRANT UPDATE (due) ON t TO session_reaper; ANALYZE t",
        )
        .await;
    // The count reads the first 100,000 rows, and one more to detect that there are more.
    for (condition, rows) in [("id > 100050", Value::Null), ("id > 99990", 11.into())] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!(
            "[[target]]\ntable = 't'\nwhere = '{condition}'\ndue = [{{ reason = 'old', column = 'due', keep = '1d' }}]"
        );
        std::fs::write(file.path(), config).unwrap();
        let status = status(&database, &[("REAPER_CONFIG", file.path().to_str().unwrap())]).await;
        let target = &status["targets"][0];
        assert_eq!(target["rows"], rows, "{condition}: {status}");
        let state = if rows.is_null() { "unknown" } else { "at_least" };
        assert_eq!(target["state"], state, "{condition}: {status}");
    }
}
