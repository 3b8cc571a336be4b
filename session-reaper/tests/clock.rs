//! A daemon whose process slept, or whose clock was set: a missed time is made up for once, and
//! nobody waits for hours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use chrono::{DateTime, TimeDelta, Utc};
use testkit::{Database, Program, eventually, libfaketime, start_reaper};

const MISSED: &str = "run_missed";

const LEFT_OUT: &str = "runs_skipped";

/// How often the daemon of [`sleeps_between_two_runs`] runs.
const GAP: TimeDelta = TimeDelta::seconds(3);

async fn now(database: &Database) -> DateTime<Utc> {
    database.one("SELECT clock_timestamp()").await
}

/// Waits until the next run is some time away, and stops the process.
async fn sleeps_between_two_runs(database: &Database, daemon: &Program) -> DateTime<Utc> {
    let mut seen = 0;
    loop {
        let mut next = None;
        eventually("it waits for the next run", async || {
            let waits = daemon.log_events("next_run");
            next = waits.get(seen).map(|fields| fields["time"].as_str().unwrap().to_owned());
            next.is_some()
        })
        .await;
        seen += 1;
        // As chrono prints it.
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
async fn runs_that_a_stopped_process_missed_are_made_up_for_once() {
    let database = Database::create().await;
    let env = [("SCHEDULE", "*/3 * * * * *"), ("RUST_LOG", "session_reaper=debug")];
    let daemon = start_reaper(&database, &["daemon"], &env);
    let missed = sleeps_between_two_runs(&database, &daemon).await;
    let before: i64 = database.one("SELECT count(*) FROM reaper_runs").await;
    eventually("two more times have gone by", async || now(&database).await > missed + GAP * 2)
        .await;
    daemon.signal("CONT");
    // A process that does not get to run for a while misses runs, too, and before this.
    eventually("it says what it missed", async || {
        let of_these = |told: &serde_json::Value| {
            told["missed"].as_u64() >= Some(2) && told["late_s"].as_i64() >= Some(6)
        };
        daemon.log_events(MISSED).iter().any(of_these)
    })
    .await;
    eventually("it runs on", async || {
        database.one::<i64>("SELECT count(*) FROM reaper_runs").await >= before + 3
    })
    .await;

    // One run at once, and then one at each of its times: never two between the same two times.
    let too_many = "SELECT count(*) - count(DISTINCT floor(extract(epoch FROM started_at) / 3)) FROM reaper_runs";
    assert_eq!(database.one::<i64>(too_many).await, 0);
}

#[tokio::test]
async fn a_clock_that_is_set_back_or_forward_by_hours_is_followed_at_once() {
    let (database, library) = (Database::create().await, libfaketime());
    let clock = tempfile::NamedTempFile::new().unwrap();
    let set = |offset: &str| std::fs::write(clock.path(), offset).unwrap();
    set("+0");
    let env = [
        ("SCHEDULE", "*/2 * * * * *"),
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.path().to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // It runs as it does: a wall clock that is set is what is tested.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let mut daemon = start_reaper(&database, &["daemon"], &env);
    let runs = async || database.one::<i64>("SELECT count(*) FROM reaper_runs").await;
    eventually("it runs", async || runs().await >= 2).await;

    set("-5h");
    daemon.log_event("clock_set_back").await;
    let before = runs().await;
    eventually("it runs on", async || runs().await >= before + 3).await;
    // Setting the clock back misses nothing. Whoever does not get to run for a while on a busy
    // machine misses some seconds.
    let late = |told: &serde_json::Value| told["late_s"].as_i64().unwrap();
    assert!(daemon.log_events(MISSED).iter().all(|told| late(told) < 3600), "{}", daemon.stderr());

    set("+2d");
    // Of 95,400 they are not all counted. It may be at work at that very moment.
    let counted = || [MISSED, LEFT_OUT].map(|told| daemon.log_events(told)).concat();
    let told = || counted().iter().filter(|fields| fields["missed"] == 10_000).count();
    eventually("it says how many were missed", async || told() > 0).await;
    let before = runs().await;
    eventually("it runs on", async || runs().await >= before + 2).await;
    assert_eq!(told(), 1, "{}", daemon.stderr());
}
