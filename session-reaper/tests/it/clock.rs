//! A daemon whose process was stopped, or whose clock was set. After that, the daemon performs a
//! single run instead of all missed runs, and no run is delayed by hours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use chrono::{DateTime, TimeDelta, Utc};
use testkit::{Database, Program, eventually, libfaketime, start_reaper};

const MISSED: &str = "run_missed";

const SKIPPED: &str = "runs_skipped";

/// The time between two runs of the daemon in [`stop_between_two_runs`].
const GAP: TimeDelta = TimeDelta::seconds(3);

async fn now(database: &Database) -> DateTime<Utc> {
    database.one("SELECT clock_timestamp()").await
}

/// Stops the process while the next run is still some time away. Returns the time of that run.
async fn stop_between_two_runs(database: &Database, daemon: &Program) -> DateTime<Utc> {
    let mut seen = 0;
    loop {
        let mut next = None;
        eventually("the daemon waits for the next run", async || {
            let waits = daemon.log_events("next_run");
            next = waits.get(seen).map(|fields| fields["time"].as_str().unwrap().to_owned());
            next.is_some()
        })
        .await;
        seen += 1;
        // The log contains the time in chrono's `Display` format.
        let next: DateTime<Utc> =
            next.unwrap().replace(" UTC", "Z").replacen(' ', "T", 1).parse().unwrap();
        if next - now(database).await > GAP * 2 / 3 {
            daemon.signal("STOP");
            if now(database).await < next {
                return next;
            }
            daemon.signal("CONT");
        }
    }
}

#[tokio::test]
async fn missed_runs_are_made_up_for_by_one_run() {
    let database = Database::create().await;
    let env = [("SCHEDULE", "*/3 * * * * *"), ("RUST_LOG", "session_reaper=debug")];
    let daemon = start_reaper(&database, &["daemon"], &env);
    let missed = stop_between_two_runs(&database, &daemon).await;
    let before: i64 = database.one("SELECT count(*) FROM reaper_runs").await;
    eventually("two more scheduled times have passed", async || {
        now(&database).await > missed + GAP * 2
    })
    .await;
    daemon.signal("CONT");
    // On a busy machine the process may have missed other runs earlier: any matching event counts.
    eventually("the missed runs are logged", async || {
        let matches = |fields: &serde_json::Value| {
            fields["missed"].as_u64() >= Some(2) && fields["late_s"].as_i64() >= Some(6)
        };
        daemon.log_events(MISSED).iter().any(matches)
    })
    .await;
    eventually("runs continue", async || {
        database.one::<i64>("SELECT count(*) FROM reaper_runs").await >= before + 3
    })
    .await;

    // One run starts immediately, then one at each scheduled time: never two in the same interval.
    let too_many = "SELECT count(*) - count(DISTINCT floor(extract(epoch FROM started_at) / 3)) FROM reaper_runs";
    assert_eq!(database.one::<i64>(too_many).await, 0);
}

#[tokio::test]
async fn clock_change_of_hours_takes_effect_immediately() {
    let (database, library) = (Database::create().await, libfaketime());
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |offset: &str| std::fs::write(clock.path(), offset).unwrap();
    set("+0");
    let env = [
        ("SCHEDULE", "*/2 * * * * *"),
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.path().to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // The monotonic clock keeps running: the test sets only the wall clock.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    let runs = async || database.one::<i64>("SELECT count(*) FROM reaper_runs").await;
    eventually("the daemon has run twice", async || runs().await >= 2).await;

    set("-5h");
    daemon.log_event("clock_set_back").await;
    let before = runs().await;
    eventually("runs continue", async || runs().await >= before + 3).await;
    // Setting the clock back causes no missed runs. On a busy machine the process may be delayed
    // and miss runs by a few seconds.
    let late = |fields: &serde_json::Value| fields["late_s"].as_i64().unwrap();
    assert!(
        daemon.log_events(MISSED).iter().all(|fields| late(fields) < 3600),
        "{}",
        daemon.stderr()
    );

    set("+2d");
    // Only 10,000 of the 95,400 missed runs are counted. If a run is active at that moment, the
    // missed runs are logged as skipped.
    let counted = || [MISSED, SKIPPED].map(|event| daemon.log_events(event)).concat();
    let capped = || counted().iter().filter(|fields| fields["missed"] == 10_000).count();
    eventually("the number of missed runs is logged", async || capped() > 0).await;
    let before = runs().await;
    eventually("runs continue", async || runs().await >= before + 2).await;
    assert_eq!(capped(), 1, "{}", daemon.stderr());
}
