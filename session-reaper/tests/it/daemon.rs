//! `daemon`: its schedule, its shutdown, and its endpoints for operators.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use chrono::{DateTime, Utc};
use testkit::{
    Database, ParkAt, Parking, Program, Proxy, eventually, expired_sessions, start_reaper,
    without_database,
};

/// Runs every second; a run with nothing to delete takes a few milliseconds.
const EVERY_SECOND: (&str, &str) = ("SCHEDULE", "* * * * * *");
/// Schedules no run during a test.
const NEVER: (&str, &str) = ("SCHEDULE", "0 0 1 1 *");

struct Daemon {
    program: Program,
    ops: String,
}

impl Daemon {
    async fn start(database: &Database, env: &[(&str, &str)]) -> Self {
        let mut program = start_reaper(database, &["daemon"], env);
        let ops = program.log_event("listening").await["ops"].as_str().unwrap().to_owned();
        Self { program, ops }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.ops)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Returns the value of one series.
    async fn metric(&self, series: &str) -> f64 {
        let text = without_database(&self.get("/metrics").await.1);
        let line = text
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no {series} in\n{text}"))
    }

    async fn has_run(&self) {
        eventually("a run has succeeded", async || {
            self.metric("session_reaper_runs_total{outcome=\"success\"}").await >= 1.0
        })
        .await;
    }
}

fn equal(left: f64, right: f64) -> bool {
    (left - right).abs() < f64::EPSILON
}

#[tokio::test]
async fn scheduled_runs_are_measured() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    database
        .execute(
            "UPDATE sessions SET revoked_at = now() - interval '9 days', expires_at = now() + interval '1 day',
                                 absolute_expires_at = now() + interval '1 day' WHERE user_agent::int <= 30",
        )
        .await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions WHERE user_agent = '100' FOR UPDATE")
        .await
        .unwrap();
    let now =
        async || database.one::<f64>("SELECT extract(epoch FROM clock_timestamp())::float8").await;
    let begun = now().await;
    let daemon = Daemon::start(&database, &[EVERY_SECOND]).await;
    daemon.has_run().await;

    for (series, value) in [
        ("session_reaper_rows_deleted_total{target=\"sessions\",reason=\"expired\"}", 219.0),
        ("session_reaper_rows_deleted_total{target=\"sessions\",reason=\"revoked\"}", 30.0),
        (
            "session_reaper_rows_deleted_total{target=\"consumed_challenges\",reason=\"expired\"}",
            0.0,
        ),
        ("session_reaper_chunks_total{target=\"sessions\",outcome=\"timeout\"}", 0.0),
        ("session_reaper_chunks_total{target=\"sessions\",outcome=\"failed\"}", 0.0),
        ("session_reaper_backlog_rows{target=\"sessions\",reason=\"expired\"}", 1.0),
        ("session_reaper_backlog_rows{target=\"sessions\",reason=\"revoked\"}", 0.0),
        ("session_reaper_backlog_capped{target=\"sessions\"}", 0.0),
        ("session_reaper_backlog_oldest_due_timestamp_seconds{target=\"reaper_runs\"}", 0.0),
        ("session_reaper_lock_attempts_total{result=\"busy\"}", 0.0),
        ("session_reaper_checks_total{target=\"sessions\",result=\"unsafe\"}", 0.0),
        ("session_reaper_runs_total{outcome=\"failed\"}", 0.0),
        ("session_reaper_runs_total{outcome=\"paused\"}", 0.0),
        ("session_reaper_interval_seconds", 1.0),
    ] {
        let measured = daemon.metric(series).await;
        assert!(equal(measured, value), "{series} is {measured}, not {value}");
    }
    for (series, least) in [
        ("session_reaper_chunks_total{target=\"sessions\",outcome=\"done\"}", 4.0),
        ("session_reaper_chunk_duration_seconds_count{target=\"sessions\"}", 4.0),
        ("session_reaper_chunk_size_rows{target=\"sessions\"}", 100.0),
        ("session_reaper_rows_skipped_locked_total{target=\"sessions\"}", 1.0),
        ("session_reaper_run_duration_seconds_count", 1.0),
        ("session_reaper_lock_attempts_total{result=\"acquired\"}", 3.0),
        ("session_reaper_checks_total{target=\"sessions\",result=\"safe\"}", 1.0),
    ] {
        let measured = daemon.metric(series).await;
        assert!(measured >= least, "{series} is {measured}, below {least}");
    }
    for series in [
        "session_reaper_last_success_timestamp_seconds",
        "session_reaper_last_completion_timestamp_seconds",
        "session_reaper_backlog_sampled_timestamp_seconds{target=\"sessions\"}",
    ] {
        let at = daemon.metric(series).await;
        let ended = now().await;
        assert!(
            (begun - 1.0..ended + 1.0).contains(&at),
            "{series} is {at}, not between {begun} and {ended}"
        );
    }
    // Row 100 expired ten days ago and became due a day later.
    let due: f64 = database
        .one("SELECT extract(epoch FROM expires_at + interval '1 day')::float8 FROM sessions")
        .await;
    let oldest = daemon
        .metric("session_reaper_backlog_oldest_due_timestamp_seconds{target=\"sessions\"}")
        .await;
    assert!((oldest - due).abs() < 0.001, "{oldest} is not {due}");
    assert!(database.one::<bool>("SELECT bool_and(trigger = 'schedule') FROM reaper_runs").await);
}

#[tokio::test]
async fn every_series_exists_with_help_before_the_first_run() {
    let database = Database::create().await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    let (status, text) = daemon.get("/metrics").await;
    let text = without_database(&text);
    assert_eq!(status, 200);
    for outcome in ["success", "partial", "skipped_lock", "paused", "failed", "interrupted"] {
        assert!(equal(
            daemon.metric(&format!("session_reaper_runs_total{{outcome=\"{outcome}\"}}")).await,
            0.0
        ));
    }
    for series in [
        "session_reaper_last_success_timestamp_seconds",
        "session_reaper_rows_deleted_total{target=\"sessions\",reason=\"revoked\"}",
        "session_reaper_rows_skipped_locked_total{target=\"consumed_challenges\"}",
        "session_reaper_last_run_deleted_rows{target=\"reaper_runs\"}",
        "session_reaper_lock_held{target=\"sessions\"}",
        "session_reaper_ticks_skipped_total",
        "session_reaper_run_duration_seconds_count",
        "session_reaper_chunk_duration_seconds_count{target=\"consumed_challenges\"}",
    ] {
        assert!(equal(daemon.metric(series).await, 0.0), "{series}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let series = line.split(['{', ' ']).next().unwrap();
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| series.strip_suffix(part))
            .unwrap_or(series);
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no help");
    }
    assert!(daemon.metric("session_reaper_interval_seconds").await > 364.0 * 86_400.0);
}

#[tokio::test]
async fn sigterm_finishes_the_chunk_and_exits_cleanly() {
    let database = Database::create().await;
    expired_sessions(&database, 500).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '250'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let mut daemon = Daemon::start(&database, &[EVERY_SECOND]).await;
    parking.wait_for_arrival().await;
    assert!(equal(daemon.metric("session_reaper_lock_held{target=\"sessions\"}").await, 1.0));
    daemon.program.signal("TERM");
    daemon.program.log_event("shutdown_started").await;
    parking.open().await;
    let status = daemon.program.wait().await;
    assert_eq!(status.code(), Some(0), "{}", daemon.program.stderr());
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 200);
    assert_eq!(database.one::<String>("SELECT outcome FROM reaper_runs").await, "interrupted");
}

#[tokio::test]
async fn sigterm_between_runs_exits_immediately() {
    let database = Database::create().await;
    let mut daemon = Daemon::start(&database, &[NEVER]).await;
    daemon.program.signal("TERM");
    assert_eq!(daemon.program.wait().await.code(), Some(0), "{}", daemon.program.stderr());
}

#[tokio::test]
async fn second_signal_exits_immediately() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '5'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let mut daemon = Daemon::start(&database, &[EVERY_SECOND]).await;
    parking.wait_for_arrival().await;
    daemon.program.signal("INT");
    daemon.program.log_event("shutdown_started").await;
    daemon.program.signal("INT");
    assert_eq!(daemon.program.wait().await.code(), Some(130));
}

#[tokio::test]
async fn scheduled_run_during_an_active_run_is_skipped_and_logged() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '5'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let mut daemon = Daemon::start(&database, &[EVERY_SECOND]).await;
    parking.wait_for_arrival().await;
    // The daemon and the test share a clock. After two seconds on this clock, at least one more
    // scheduled time has passed.
    let began = std::time::Instant::now();
    eventually("two seconds have passed", async || began.elapsed().as_secs() >= 2).await;
    parking.open().await;
    let missed = daemon.program.log_event("runs_skipped").await;
    assert!(missed["missed"].as_u64().unwrap() >= 1, "{missed}");
    assert!(daemon.metric("session_reaper_ticks_skipped_total").await >= 1.0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn jitter_delays_runs_by_less_than_the_interval() {
    let database = Database::create().await;
    let env = [EVERY_SECOND, ("JITTER", "900ms"), ("RUST_LOG", "session_reaper=debug")];
    let daemon = Daemon::start(&database, &env).await;
    eventually("twelve runs have ended", async || {
        daemon.program.log_events("run_ended").len() >= 12
    })
    .await;
    // The planned start of each run, in chrono's `Display` format. Without jitter, the planned
    // starts would be whole seconds.
    let waits = daemon.program.log_events("next_run");
    let times = waits
        .iter()
        .map(|wait| wait["time"].as_str().unwrap().replace(" UTC", "Z").replacen(' ', "T", 1));
    let times: Vec<DateTime<Utc>> = times.map(|time| time.parse().unwrap()).collect();
    assert!(times.iter().any(|time| time.timestamp_subsec_millis() >= 300), "{times:?}");
    assert!(times.iter().all(|time| time.timestamp_subsec_millis() < 900), "{times:?}");
    // No two runs are planned for the same second, and no run starts before its planned time.
    assert!(times.windows(2).all(|two| two[0].timestamp() < two[1].timestamp()), "{times:?}");
    let started: Vec<DateTime<Utc>> =
        database.one("SELECT array_agg(started_at ORDER BY started_at) FROM reaper_runs").await;
    assert!(
        times.iter().zip(&started).all(|(time, started)| time <= started),
        "{times:?} {started:?}"
    );
}

#[tokio::test]
async fn daemon_survives_and_reports_a_database_outage() {
    let database = Database::create().await;
    let (proxy, url) = Proxy::before(&database.url_as("session_reaper")).await;
    let daemon = Daemon::start(&database, &[("DATABASE_URL", &url), EVERY_SECOND]).await;
    assert_eq!(daemon.get("/livez").await.0, 200);
    let (status, body) = daemon.get("/readyz").await;
    assert_eq!((status, body.as_str()), (200, r#"{"database":"reachable","status":"ready"}"#));
    daemon.has_run().await;

    proxy.cut();
    // A run in progress tries to reconnect; a new run cannot start.
    eventually("the outage is logged", async || {
        let logged = |message| !daemon.program.log_events(message).is_empty();
        logged("database_unreachable") || logged("lock_connection_lost")
    })
    .await;
    eventually("the daemon is not ready", async || daemon.get("/readyz").await.0 == 503).await;
    assert_eq!(daemon.get("/livez").await.0, 200);

    proxy.restore();
    expired_sessions(&database, 10).await;
    eventually("the daemon deletes rows again", async || {
        database.one::<i64>("SELECT count(*) FROM sessions").await == 0
    })
    .await;
    eventually("the daemon is ready again", async || daemon.get("/readyz").await.0 == 200).await;
}

#[tokio::test]
async fn ops_address_in_use_is_reported() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let database = Database::create().await;
    let address = taken.local_addr().unwrap().to_string();
    let mut program = start_reaper(&database, &["daemon"], &[("OPS_BIND", &address)]);
    assert_eq!(program.wait().await.code(), Some(1));
    assert!(program.stderr().contains("ops_bind_failed") && program.stderr().contains(&address));
}

#[tokio::test]
async fn failed_count_does_not_reset_the_backlog_metric() {
    let database = Database::create().await;
    expired_sessions(&database, 50).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    // The delete is parked while there is a backlog to count; then, in the middle of the run, the
    // table becomes unreadable. A run that finds the table locked at its start skips the target and
    // counts nothing.
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 50 }).await;
    let daemon = Daemon::start(&database, &[EVERY_SECOND, ("LOCK_TIMEOUT", "50ms")]).await;
    let backlog = "session_reaper_backlog_rows{target=\"sessions\",reason=\"expired\"}";
    testkit::eventually("the backlog is counted", async || {
        equal(daemon.metric(backlog).await, 50.0)
    })
    .await;
    parking.wait_for_arrival().await;
    // The lock is granted when the delete is canceled. The run then retries the delete without
    // success, and finally counts the remaining rows.
    tokio::join!(holder.batch_execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE"), async {
        let other = database.client().await;
        testkit::waits_for_a_lock(&other, "testkit").await;
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'session-reaper'
                      AND datname = current_database() AND wait_event_type = 'Lock'";
        other.batch_execute(cancel).await.unwrap();
    })
    .0
    .unwrap();
    testkit::eventually("a count has failed", async || {
        !daemon.program.log_events("backlog_count_failed").is_empty()
    })
    .await;
    assert!(equal(daemon.metric(backlog).await, 50.0), "{}", daemon.metric(backlog).await);
    holder.rollback().await.unwrap();
}

/// Locks a table, so that a statement that reads it waits.
async fn locked_sessions(database: &Database) -> tokio_postgres::Client {
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE").await.unwrap();
    holder
}

#[tokio::test]
async fn fresh_daemon_counts_its_backlog_and_deletes_nothing() {
    let database = Database::create().await;
    expired_sessions(&database, 40).await;
    let daemon = Daemon::start(&database, &[NEVER]).await;
    eventually("the page shows the backlog", async || {
        let (_, body) = daemon.get("/status.json").await;
        let seen: serde_json::Value = serde_json::from_str(&body).unwrap();
        let targets = seen["targets"].as_array().unwrap().iter();
        seen["targets"][0]["rows"] == 40 && targets.clone().all(|target| target["rows"].is_u64())
    })
    .await;
    let series = "session_reaper_backlog_rows{target=\"sessions\",reason=\"expired\"}";
    assert!(equal(daemon.metric(series).await, 40.0));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 40);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM reaper_runs").await, 0);
}

#[tokio::test]
async fn signal_cancels_the_count_of_a_fresh_daemon() {
    let database = Database::create().await;
    let holder = locked_sessions(&database).await;
    let mut daemon = Daemon::start(&database, &[NEVER]).await;
    // Within its transaction, the holder would see only the first state of the other sessions.
    testkit::waits_for_a_lock(&database.client().await, "session-reaper").await;
    daemon.program.signal("TERM");
    assert_eq!(daemon.program.wait().await.code(), Some(0), "{}", daemon.program.stderr());
    let log = daemon.program.stderr();
    assert!(log.contains("statement_canceled"), "{log}");
    holder.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn count_of_a_fresh_daemon_does_not_delay_a_run() {
    let database = Database::create().await;
    expired_sessions(&database, 40).await;
    let holder = locked_sessions(&database).await;
    let tick = Utc::now() + chrono::TimeDelta::seconds(4);
    let schedule = tick.format("%-S %-M * * * *").to_string();
    let mut daemon = Daemon::start(&database, &[("SCHEDULE", &schedule)]).await;
    // The count waits for the lock, and the run starts nevertheless.
    daemon.program.log_event("run_started").await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    eventually("the run has deleted the rows", async || {
        database.one::<i64>("SELECT count(*) FROM sessions").await == 0
    })
    .await;
}

#[tokio::test]
async fn backlog_of_a_target_that_became_unsafe_is_unknown() {
    let database = Database::create().await;
    expired_sessions(&database, 3).await;
    let locker = database.client().await;
    locker.batch_execute("BEGIN; SELECT FROM sessions FOR UPDATE").await.unwrap();
    let daemon = Daemon::start(&database, &[EVERY_SECOND]).await;
    let state = |state: &str| {
        format!("session_reaper_backlog_state{{target=\"sessions\",state=\"{state}\"}}")
    };
    let (exact, unknown) = (state("exact"), state("unknown"));
    eventually("the backlog is counted", async || daemon.metric(&exact).await > 0.0).await;
    assert!(equal(daemon.metric(&unknown).await, 0.0));

    // Without SELECT on the column, the target is unsafe.
    database.execute("REVOKE SELECT ON sessions FROM session_reaper").await;
    eventually("the backlog is unknown", async || daemon.metric(&unknown).await > 0.0).await;
    assert!(equal(daemon.metric(&exact).await, 0.0));
    let sampled = "session_reaper_backlog_sampled_timestamp_seconds{target=\"sessions\"}";
    let before = daemon.metric(sampled).await;
    assert!(before > 0.0);
    let runs = daemon.program.log_events("run_ended").len();
    eventually("another run has ended", async || {
        daemon.program.log_events("run_ended").len() > runs + 1
    })
    .await;
    assert!(equal(daemon.metric(sampled).await, before), "the time of an earlier count changed");
    let (_, status) = daemon.get("/status.json").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let target = status["targets"].as_array().unwrap().iter();
    let target = target.clone().find(|target| target["target"] == "sessions").unwrap();
    assert_eq!((&target["rows"], &target["state"]), (&serde_json::Value::Null, &"unknown".into()));
}

#[tokio::test]
async fn canceled_check_of_a_target_is_not_counted_as_unsafe() {
    let database = Database::create().await;
    let migration = database.client().await;
    migration.batch_execute("BEGIN; LOCK TABLE sessions").await.unwrap();
    // The daemon counts the backlog when it starts, until the first run begins. The count waits for
    // the lock in the checks of the target.
    let daemon = Daemon::start(&database, &[EVERY_SECOND]).await;
    eventually("the count at the start is canceled", async || {
        !daemon.program.log_events("statement_canceled").is_empty()
    })
    .await;
    migration.batch_execute("COMMIT").await.unwrap();
    daemon.has_run().await;
    let checks = |result: &str| {
        format!("session_reaper_checks_total{{target=\"sessions\",result=\"{result}\"}}")
    };
    assert!(daemon.metric(&checks("safe")).await > 0.0);
    assert!(equal(daemon.metric(&checks("unsafe")).await, 0.0));
}
