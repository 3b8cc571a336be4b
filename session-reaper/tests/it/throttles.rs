//! Throttles: a run waits and logs the reason. It continues when the reason is gone, or ends after
//! `MAX_THROTTLE`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{
    Database, ParkAt, Parking, Program, Reaped, Server, binary, eventually, expired_sessions, reap,
    reaped, start_reaper, without_database,
};

const JSON: [&str; 3] = ["run", "--output", "json"];

async fn left(database: &Database) -> i64 {
    database.one("SELECT count(*) FROM sessions").await
}

/// Waits until the run logs that it waits for this cause. Returns the logged reason.
async fn waits_for(program: &mut Program, cause: &str) -> String {
    let fields = program.log_event("throttled").await;
    assert_eq!(fields["cause"], cause, "{fields}");
    fields["why"].as_str().unwrap().to_owned()
}

/// Runs `pause` or `resume` as an operator would: with the reaper's own role.
async fn run_command(database: &Database, args: &[&str]) -> Value {
    let url = database.url_as("session_reaper");
    let (code, program) =
        Program::run(binary("session-reaper"), args, &[("DATABASE_URL", &url), ("OUTPUT", "json")])
            .await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    serde_json::from_str(&program.stdout()).unwrap()
}

/// Asserts that the run exited 75 and deleted nothing. Returns the reason, which must be the same
/// in the report and in the history.
async fn abandoned(database: &Database, run: &Reaped, outcome: &str) -> String {
    assert_eq!(run.code, Some(75), "{}{}", run.report, run.stderr);
    assert_eq!(run.report["outcome"], outcome, "{}", run.report);
    assert_eq!(run.target("sessions")["outcome"], outcome, "{}", run.report);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 0);
    assert_eq!(left(database).await, 300);
    let why = run.report["why"].as_str().unwrap();
    assert!(why.contains("MAX_THROTTLE ("), "{why}");
    let written = "SELECT report ->> 'why' FROM reaper_runs ORDER BY started_at DESC LIMIT 1";
    assert_eq!(database.one::<String>(written).await, why);
    why.to_owned()
}

#[tokio::test]
async fn pause_delays_a_starting_run_until_resume() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    let pause =
        run_command(&database, &["pause", "--for", "2h", "--why", "moving to another host"]).await;
    assert_eq!(pause["why"], "moving to another host");
    let until: chrono::DateTime<chrono::Utc> = pause["until"].as_str().unwrap().parse().unwrap();
    let since: chrono::DateTime<chrono::Utc> = pause["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(until - since, chrono::TimeDelta::hours(2));

    let mut program = start_reaper(&database, &JSON, &[]);
    let why = waits_for(&mut program, "pause").await;
    assert!(
        why.starts_with("paused until 2") && why.ends_with(": moving to another host"),
        "{why}"
    );
    assert_eq!(left(&database).await, 300);
    // The run holds no locks while it waits.
    let locks =
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = x'53527270'::int
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(database.one::<i64>(locks).await, 0);

    assert_eq!(run_command(&database, &["resume"]).await["was_paused"], true);
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 300);
    assert!(run.stderr.contains("throttle_cleared"), "{}", run.stderr);
    assert_eq!(run_command(&database, &["resume"]).await["was_paused"], false);
}

#[tokio::test]
async fn pause_longer_than_max_throttle_exits_with_75() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    run_command(&database, &["pause", "--why", "a migration"]).await;
    for longest in ["0s", "1s"] {
        let why =
            abandoned(&database, &reap(&database, &[("MAX_THROTTLE", longest)]).await, "paused")
                .await;
        assert!(why.contains("pause: paused until") && why.contains("a migration"), "{why}");
    }
    // A pause that has expired is ignored.
    database
        .execute("UPDATE reaper_state SET value = value || jsonb_build_object('until', now()) WHERE key = 'pause'")
        .await;
    assert_eq!(reap(&database, &[("MAX_THROTTLE", "0s")]).await.code, Some(0));
    assert_eq!(left(&database).await, 0);
}

#[tokio::test]
async fn pause_stops_an_active_run_after_its_chunk() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    database.execute("UPDATE sessions SET user_agent = 'park' WHERE user_agent = '150'").await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let mut program = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    run_command(&database, &["pause"]).await;
    // The run checks for a pause once a second, so it has to be parked for more than a second.
    database.execute("SELECT pg_sleep(1.1)").await;
    parking.open().await;
    waits_for(&mut program, "pause").await;
    assert_eq!(left(&database).await, 100, "the current chunk was finished");
    run_command(&database, &["resume"]).await;
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 300);
}

#[tokio::test]
async fn signal_ends_a_throttled_run() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    run_command(&database, &["pause"]).await;
    let mut program = start_reaper(&database, &JSON, &[]);
    waits_for(&mut program, "pause").await;
    program.signal("TERM");
    let run = reaped(program).await;
    assert_eq!(run.code, Some(143), "{}", run.stderr);
    assert_eq!(run.report["outcome"], "interrupted");
}

#[tokio::test]
async fn pause_with_an_invalid_end_applies_until_resume() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    database
        .execute(
            "INSERT INTO reaper_state (key, value) VALUES ('pause', '{\"until\": \"tomorrow\"}')",
        )
        .await;
    let why =
        abandoned(&database, &reap(&database, &[("MAX_THROTTLE", "0s")]).await, "paused").await;
    assert!(why.contains("session-reaper resume"), "{why}");
    assert_eq!(run_command(&database, &["resume"]).await["was_paused"], true);
    assert_eq!(reap(&database, &[]).await.code, Some(0));
}

#[tokio::test]
async fn time_budget_used_up_by_a_pause_is_no_success() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    run_command(&database, &["pause", "--why", "a migration"]).await;
    let run = reap(&database, &[("MAX_RUNTIME", "1s")]).await;
    assert_eq!(run.code, Some(75), "{}{}", run.report, run.stderr);
    assert_eq!(run.report["outcome"], "paused");
    let why = run.report["why"].as_str().unwrap();
    assert!(
        why.contains("MAX_RUNTIME (1s)") && why.contains("pause: ") && why.contains("a migration"),
        "{why}"
    );
    assert_eq!(
        run.target("sessions")["remaining_capped"],
        true,
        "the remaining rows were not counted"
    );
    assert_eq!(left(&database).await, 300);
}

#[tokio::test]
async fn unreadable_pause_throttles_the_run() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE reaper_state").await.unwrap();
    let env = [("MAX_THROTTLE", "0s"), ("LOCK_TIMEOUT", "100ms")];
    let why = abandoned(&database, &reap(&database, &env).await, "paused").await;
    assert!(
        why.contains("whether there is a pause, in reaper_state, could not be asked: LOCK_TIMEOUT"),
        "{why}"
    );
    holder.batch_execute("COMMIT").await.unwrap();

    database.execute("REVOKE SELECT ON reaper_state FROM session_reaper").await;
    let why = abandoned(&database, &reap(&database, &env).await, "paused").await;
    assert!(why.contains("permission denied"), "{why}");
}

#[tokio::test]
async fn stalled_replica_of_two_with_one_name_throttles() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    let (stuck, _other) = (server.replica().await, server.replica().await);
    expired_sessions(&database, 300).await;
    stuck.catch_up().await;
    stuck.pause().await;
    database.execute("UPDATE accounts SET last_login_at = now()").await;
    // The first reason to throttle is reported, and not the lag that grows while the run waits.
    let env = [
        ("DATABASE_URL", database.url()),
        ("MAX_THROTTLE", "2s".to_owned()),
        ("MAX_REPLICA_LAG", "1h".to_owned()),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let why = abandoned(&database, &reap(&database, &env).await, "partial").await;
    assert!(why.contains("has yet to replay what was written before this run"), "{why}");
    stuck.resume().await;
}

#[tokio::test]
async fn pause_without_its_table_is_refused_with_the_remedy() {
    let database = Database::empty().await;
    for args in [&["pause", "--for", "1h"][..], &["resume"]] {
        let url = database.url();
        let (code, program) =
            Program::run(binary("session-reaper"), args, &[("DATABASE_URL", &url)]).await;
        assert_eq!(code, Some(1));
        assert!(program.stderr().contains("session-reaper migrate"), "{}", program.stderr());
    }
}

#[tokio::test]
async fn metrics_show_the_throttle_cause_and_duration() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    run_command(&database, &["pause"]).await;
    let mut daemon = start_reaper(&database, &["daemon"], &[("SCHEDULE", "* * * * * *")]);
    let ops = daemon.log_event("listening").await["ops"].as_str().unwrap().to_owned();
    let metric = async |series: &str| {
        let text =
            reqwest::get(format!("http://{ops}/metrics")).await.unwrap().text().await.unwrap();
        let text = without_database(&text);
        let line = text
            .lines()
            .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .unwrap_or_else(|| panic!("no {series}: {text}"))
    };
    let (throttled, waited) = (
        "session_reaper_throttled{cause=\"pause\"}",
        "session_reaper_throttle_seconds_total{cause=\"pause\"}",
    );
    eventually("the run has waited for two seconds", async || {
        metric(throttled).await > 0.5 && metric(waited).await > 1.5
    })
    .await;
    run_command(&database, &["resume"]).await;
    eventually("the run succeeds", async || {
        metric("session_reaper_runs_total{outcome=\"success\"}").await > 0.5
    })
    .await;
    assert!(metric(throttled).await < 0.5);
    assert_eq!(left(&database).await, 0);
}

#[tokio::test]
async fn lagging_replica_throttles_until_it_catches_up() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    let replica = server.replica().await;
    expired_sessions(&database, 300).await;
    replica.catch_up().await;
    replica.pause().await;
    // A change that the replica has yet to replay.
    database.execute("UPDATE accounts SET last_login_at = now()").await;

    let env = [("MAX_REPLICA_LAG", "1s"), ("DATABASE_URL", &database.url())];
    let run = reap(&database, &[&env[..], &[("MAX_THROTTLE", "3s")]].concat()).await;
    let why = abandoned(&database, &run, "partial").await;
    assert!(
        why.contains("replica_lag: replica ") && why.contains("s behind, MAX_REPLICA_LAG is 1s"),
        "{why}"
    );

    let mut program = start_reaper(&database, &JSON, &env);
    let why = waits_for(&mut program, "replica_lag").await;
    assert!(why.contains("replica walreceiver"), "{why}");
    assert_eq!(left(&database).await, 300);
    replica.resume().await;
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 300);

    // Only the replicas that are named in REPLICAS count.
    replica.pause().await;
    database.execute("UPDATE accounts SET last_login_at = now()").await;
    expired_sessions_again(&database).await;
    let off = [&env[..1], &[("MAX_REPLICA_LAG", "off")]].concat();
    let named = [&env[..], &[("REPLICAS", "another"), ("MAX_THROTTLE", "0s")]].concat();
    let why = abandoned(&database, &reap(&database, &named).await, "partial").await;
    assert!(why.contains("replica another of REPLICAS is not connected"), "{why}");
    assert_eq!(reap(&database, &off).await.code, Some(0));
    replica.resume().await;
}

async fn expired_sessions_again(database: &Database) {
    database.execute("DELETE FROM accounts").await;
    expired_sessions(database, 300).await;
}

#[tokio::test]
async fn hidden_replica_throttles_only_if_a_lag_limit_is_set() {
    let server = Server::start(&[]).await;
    let database = server.database().await;
    let _replica = server.replica().await;
    expired_sessions(&database, 300).await;
    let with_limit = reap(&database, &[("MAX_REPLICA_LAG", "5s"), ("MAX_THROTTLE", "0s")]).await;
    let why = abandoned(&database, &with_limit, "partial").await;
    assert!(why.contains("GRANT pg_read_all_stats"), "{why}");
    let without_limit = reap(&database, &[]).await;
    assert_eq!(without_limit.code, Some(0), "{}", without_limit.stderr);
    assert!(without_limit.stderr.contains("GRANT pg_read_all_stats"), "{}", without_limit.stderr);

    let url = database.url_as("session_reaper");
    let args = ["check", "--output", "json"];
    let (code, program) =
        Program::run(binary("session-reaper"), &args, &[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    let checked: Value = serde_json::from_str(&program.stdout()).unwrap();
    assert_eq!(checked["server"]["findings"][0]["code"], "replicas-hidden", "{checked}");
    assert_eq!(
        checked["server"]["findings"][0]["remedy"],
        "GRANT pg_read_all_stats TO session_reaper"
    );
}

#[tokio::test]
async fn lag_query_replaces_the_replica_lag() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    for (query, expected) in [
        ("SELECT 11", "REPLICA_LAG_QUERY says 11 s, MAX_REPLICA_LAG is 10s"),
        ("SELECT interval '11 s'", "a number of seconds"),
        ("SELECT lag FROM no_such_view", "no_such_view"),
    ] {
        let why = abandoned(
            &database,
            &reap(&database, &[("REPLICA_LAG_QUERY", query), ("MAX_THROTTLE", "0s")]).await,
            "partial",
        )
        .await;
        assert!(why.contains(expected), "{why}");
    }
    assert_eq!(reap(&database, &[("REPLICA_LAG_QUERY", "SELECT 9.5")]).await.code, Some(0));
}

#[tokio::test]
async fn throttle_query_delays_a_run_while_it_returns_a_reason() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    database
        .execute("CREATE TABLE backups (running text); GRANT SELECT ON backups TO session_reaper")
        .await;
    let query = ("THROTTLE_QUERY", "SELECT running FROM backups");
    let at_once = ("MAX_THROTTLE", "0s");
    database.execute("INSERT INTO backups VALUES ('the nightly backup')").await;
    let why = abandoned(&database, &reap(&database, &[query, at_once]).await, "partial").await;
    assert!(why.contains("query: THROTTLE_QUERY says the nightly backup"), "{why}");

    let mut program = start_reaper(&database, &JSON, &[query]);
    waits_for(&mut program, "query").await;
    database.execute("TRUNCATE backups").await;
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);

    // A query that fails throttles the run (fail closed), and a query must not write.
    expired_sessions_again(&database).await;
    for (query, expected) in [
        ("SELECT now() > FROM", "syntax error"),
        ("DELETE FROM consumed_challenges RETURNING true", "read-only transaction"),
    ] {
        let why = abandoned(
            &database,
            &reap(&database, &[("THROTTLE_QUERY", query), at_once]).await,
            "partial",
        )
        .await;
        assert!(why.contains(expected), "{why}");
    }
}

#[tokio::test]
async fn busy_server_throttles_a_run() {
    let server = Server::start(&[("autovacuum", "off")]).await;
    let database = server.database().await;
    expired_sessions(&database, 300).await;
    let env = [("MAX_ACTIVE_BACKENDS", "1"), ("DATABASE_URL", &database.url())];
    let (one, other) = (database.client().await, database.client().await);
    let busy = tokio::spawn(async move {
        let _ = tokio::join!(
            one.batch_execute("SELECT pg_sleep(600)"),
            other.batch_execute("SELECT pg_sleep(600)")
        );
    });
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)' AND state = 'active'";
    eventually("two backends are active", async || database.one::<i64>(active).await == 2).await;

    let mut program = start_reaper(&database, &JSON, &env);
    let why = waits_for(&mut program, "busy").await;
    assert_eq!(why, "2 back ends are at work, MAX_ACTIVE_BACKENDS is 1");
    database
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'")
        .await;
    let run = reaped(program).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    busy.await.unwrap();
}

#[tokio::test]
async fn vacuum_throttles_only_its_own_table() {
    let server = Server::start(&[("autovacuum", "off")]).await;
    let database = server.database().await;
    expired_sessions(&database, 300).await;
    database
        .execute("INSERT INTO consumed_challenges SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), now() - interval '1 day' FROM generate_series(1, 50) AS n")
        .await;
    // The vacuum has to wait for a page that the cursor is reading.
    let reader = database.client().await;
    reader
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT * FROM sessions; FETCH 1 FROM c")
        .await
        .unwrap();
    let vacuuming = database.client().await;
    let vacuum =
        tokio::spawn(async move { vacuuming.batch_execute("VACUUM (FREEZE) sessions").await });
    let at_work = "SELECT count(*) FROM pg_stat_progress_vacuum JOIN pg_stat_activity USING (pid) WHERE wait_event = 'BufferPin'";
    eventually("a vacuum is active", async || database.one::<i64>(at_work).await == 1).await;

    // The vacuum belongs to another role: its progress is hidden from the reaper, its lock is not.
    let env = [("WAIT_FOR_VACUUM", "on"), ("MAX_THROTTLE", "0s")];
    let run = reap(&database, &env).await;
    let why = abandoned(&database, &run, "partial").await;
    assert!(why.contains("vacuum: a vacuum is at work on public.sessions"), "{why}");
    assert_eq!(run.target("consumed_challenges")["outcome"], "success", "{}", run.report);
    assert_eq!(run.target("consumed_challenges")["deleted"]["expired"], 50);

    database.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_vacuum").await;
    assert!(vacuum.await.unwrap().is_err());
    drop(reader);
    let run = reap(&database, &env).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 300);
}

#[tokio::test]
async fn invalid_throttle_setting_is_rejected_with_a_suggestion() {
    for (name, value, right) in [
        ("MAX_REPLICA_LAG", "soon", "a duration, such as 10s"),
        ("MAX_REPLICA_LAG", "1ms", "off lets replicas lag"),
        ("MAX_ACTIVE_BACKENDS", "few", "a whole number"),
        ("WAIT_FOR_VACUUM", "yes", "on or off"),
        ("MAX_THROTTLE", "2years", "a run that waits for longer looks hung"),
    ] {
        let env = [("DATABASE_URL", "postgres://nobody@localhost/none"), (name, value)];
        let (code, program) = Program::run(binary("session-reaper"), &["run"], &env).await;
        assert_eq!(code, Some(78), "{name}");
        assert!(program.stderr().contains(&format!("{name}={value}")), "{}", program.stderr());
        assert!(program.stderr().contains(right), "{}", program.stderr());
    }
    let (off, one) = (("MAX_REPLICA_LAG", "off"), ("REPLICA_LAG_QUERY", "SELECT 1"));
    let env = [("DATABASE_URL", "postgres://nobody@localhost/none"), off, one];
    let (code, program) = Program::run(binary("session-reaper"), &["run"], &env).await;
    assert_eq!(code, Some(78));
    assert!(
        program.stderr().contains("MAX_REPLICA_LAG=off: leave one of them out"),
        "{}",
        program.stderr()
    );
    let args = ["pause", "--for", "a while"];
    let (code, program) = Program::run(binary("session-reaper"), &args, &env[..1]).await;
    assert_eq!(code, Some(78));
    assert!(
        program.stderr().contains("--for=a while: a duration, such as 1h"),
        "{}",
        program.stderr()
    );
}
