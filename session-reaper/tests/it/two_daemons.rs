//! Two daemons on one database: each due row is deleted once, only one daemon works at a time, and
//! the other continues if one is killed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::time::Instant;

use testkit::{Database, HANG, ParkAt, Parking, Program, eventually, start_reaper};

/// Both daemons run at the same times, in small chunks (transactions).
const TOGETHER: [(&str, &str); 2] = [("SCHEDULE", "* * * * * *"), ("MAX_CHUNK", "5")];

/// Makes each deletion of a row slow, and records its row, transaction and connection. Each run has
/// its own connection.
async fn watch_deletes(database: &Database) {
    database
        .execute(
            "INSERT INTO accounts (id, issuer, subject) VALUES (gen_random_uuid(), 'stellar:testnet', 'G');
             CREATE TABLE due (id uuid PRIMARY KEY);
             CREATE TABLE gone (id uuid, connection int, transaction xid8, at timestamptz);
             CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
             BEGIN
                 PERFORM pg_sleep(0.02);
                 INSERT INTO gone VALUES (OLD.id, pg_backend_pid(), pg_current_xact_id(), clock_timestamp());
                 RETURN NULL;
             END $$;
             CREATE TRIGGER note AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION note()",
        )
        .await;
}

/// Inserts sessions that expired ten days ago, and records each of them.
async fn fall_due(database: &Database, count: u32) {
    database
        .execute(&format!(
            "WITH added AS (
                 INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                 SELECT gen_random_uuid(), (SELECT id FROM accounts), expiry, expiry
                 FROM generate_series(1, {count}) AS n, LATERAL (SELECT now() - interval '10 days' + n * interval '1 ms') AS e (expiry)
                 RETURNING id)
             INSERT INTO due SELECT id FROM added"
        ))
        .await;
}

async fn all_gone(database: &Database) {
    let client = database.client().await;
    eventually("all due rows are deleted", async || {
        client.query_one("SELECT NOT EXISTS (SELECT FROM sessions)", &[]).await.unwrap().get(0)
    })
    .await;
}

/// Returns the number of scheduled times for which a run has ended.
async fn ticks(database: &Database) -> i64 {
    database
        .one("SELECT count(DISTINCT date_trunc('second', started_at)) FROM reaper_runs WHERE finished_at IS NOT NULL")
        .await
}

async fn each_row_was_deleted_once_by_one_daemon_at_a_time(database: &Database) {
    let lost_or_twice: i64 = database
        .one(
            "SELECT count(*) FROM (SELECT id FROM due EXCEPT ALL SELECT id FROM gone
                                   UNION ALL (SELECT id FROM gone EXCEPT ALL SELECT id FROM due)) AS wrong",
        )
        .await;
    assert_eq!(lost_or_twice, 0);
    // No other connection deletes between the first and the last delete of a connection.
    let overlapping: i64 = database
        .one(
            "WITH work AS (SELECT connection, min(at) AS first, max(at) AS last FROM gone GROUP BY connection)
             SELECT count(*) FROM work AS one JOIN work AS other
             ON one.connection < other.connection AND (one.first, one.last) OVERLAPS (other.first, other.last)",
        )
        .await;
    assert_eq!(overlapping, 0);
}

#[tokio::test]
async fn two_daemons_delete_each_row_once_and_never_in_parallel() {
    let database = Database::create().await;
    watch_deletes(&database).await;
    let mut daemons = [
        start_reaper(&database, &["daemon"], &TOGETHER),
        start_reaper(&database, &["daemon"], &TOGETHER),
    ];
    for daemon in &mut daemons {
        daemon.log_event("listening").await;
    }
    // The loop also waits until the daemons have competed for the lock. Both daemons start their
    // runs at the same times, so they compete on any machine.
    let skipped = "SELECT count(*) > 0 FROM reaper_runs WHERE outcome = 'skipped_lock'";
    let both = "SELECT count(DISTINCT instance) = 2 FROM reaper_runs";
    let (mut rounds, began) = (0, Instant::now());
    while ticks(&database).await < 20
        || rounds < 10
        || !database.one::<bool>(skipped).await
        || !database.one::<bool>(both).await
    {
        fall_due(&database, 20).await;
        all_gone(&database).await;
        rounds += 1;
        assert!(
            began.elapsed() < HANG,
            "{} scheduled times in {rounds} rounds, and the daemons never competed",
            ticks(&database).await
        );
    }
    for daemon in &mut daemons {
        daemon.signal("TERM");
        assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
    }
    each_row_was_deleted_once_by_one_daemon_at_a_time(&database).await;

    // The reports of the runs add up to the deleted rows.
    let reported: i64 = database
        .one(
            "SELECT sum((target #>> '{deleted,expired}')::int8)::int8
             FROM reaper_runs, jsonb_array_elements(report -> 'targets') AS target WHERE target ->> 'target' = 'sessions'",
        )
        .await;
    assert_eq!(reported, i64::from(rounds) * 20);
    // Each daemon may have been stopped during a run.
    let strange: String = database
        .one(
            "SELECT coalesce(string_agg(report::text, ' '), '') FROM reaper_runs
             WHERE outcome NOT IN ('success', 'skipped_lock') AND NOT (outcome = 'interrupted' AND report ->> 'why' LIKE '%SIGTERM%')",
        )
        .await;
    assert_eq!(strange, "");
}

/// Returns the process ID of the daemon whose run is stopped after it has deleted some rows.
async fn at_work(database: &Database) -> u32 {
    let (client, mut instance) = (database.client().await, None);
    eventually("one daemon is in the middle of a run", async || {
        // The row of a run exists from before the run takes its locks until after it releases them.
        let sql = "SELECT min(instance) FROM reaper_runs
                   WHERE finished_at IS NULL AND EXISTS (SELECT FROM gone) AND EXISTS (SELECT FROM sessions)
                   HAVING count(*) = 1";
        let found = client.query_opt(sql, &[]).await.unwrap();
        instance = found.and_then(|row| row.get::<_, Option<String>>(0));
        instance.is_some()
    })
    .await;
    instance.unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn other_daemon_continues_after_the_active_one_is_killed() {
    let database = Database::create().await;
    watch_deletes(&database).await;
    fall_due(&database, 60).await;
    let middle = "UPDATE sessions SET user_agent = 'park' WHERE id = (SELECT id FROM sessions ORDER BY expires_at OFFSET 30 LIMIT 1)";
    database.execute(middle).await;
    let parking = Parking::at(&database, ParkAt::Row).await;
    let daemons = [
        start_reaper(&database, &["daemon"], &TOGETHER),
        start_reaper(&database, &["daemon"], &TOGETHER),
    ];
    parking.wait_for_arrival().await;
    let working = at_work(&database).await;
    let (killed, mut other): (Vec<Program>, Vec<Program>) =
        daemons.into_iter().partition(|daemon| daemon.id() == working);
    let (mut killed, mut other) = (killed.into_iter().next().unwrap(), other.pop().unwrap());
    killed.signal("KILL");
    killed.wait().await;

    // The lock is released when the killed daemon's connections have ended on the server.
    // Connections of the other daemon come and go, and are parked, too.
    let client = database.client().await;
    eventually("the server has ended the connections of the killed daemon", async || {
        let sql = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid IN (SELECT connection FROM gone)
                   AND datname = current_database())";
        client.query_one(sql, &[]).await.unwrap().get(0)
    })
    .await;
    parking.open().await;
    let free: chrono::DateTime<chrono::Utc> = database.one("SELECT clock_timestamp()").await;
    all_gone(&database).await;
    other.signal("TERM");
    assert_eq!(other.wait().await.code(), Some(0), "{}", other.stderr());
    each_row_was_deleted_once_by_one_daemon_at_a_time(&database).await;

    let (dead, alive) = (format!("%:{working}"), format!("%:{}", other.id()));
    let row = client
        .query_one(
            "SELECT count(*) FILTER (WHERE instance LIKE $1 AND finished_at IS NULL),
                    count(*) FILTER (WHERE instance LIKE $2 AND report -> 'targets' -> 0 #>> '{deleted,expired}' <> '0'),
                    count(*) FILTER (WHERE started_at > $3 AND outcome = 'skipped_lock')
             FROM reaper_runs",
            &[&dead, &alive, &free],
        )
        .await
        .unwrap();
    let (interrupted, went_on, skipped): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    assert_eq!((interrupted, skipped), (1, 0), "interrupted and skipped runs");
    assert!(went_on >= 1, "{}", other.stderr());
}
