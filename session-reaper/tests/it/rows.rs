//! Which rows are deleted, and which are kept.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use testkit::{Database, Reaped, expired_sessions, reap};
use tokio::runtime::Runtime;

/// Generates an SQL expression for a time near the cutoff, which is `days` ago: a few microseconds
/// before or after it, up to 400 ms after it, or half a day or a day away. The time may also be
/// infinite. There are only a few different times, so that many rows have the same one.
fn time_around(days: i64) -> impl Strategy<Value = String> {
    let offset = prop_oneof![
        (-3_i64..=3).prop_map(|us| format!("interval '{us} us'")),
        (0_i64..=20).prop_map(|step| format!("interval '{} ms'", step * 20)),
        (-2_i64..=2).prop_map(|half_days| format!("interval '{} hours'", half_days * 12)),
    ];
    prop_oneof![
        8 => offset.prop_map(move |offset| format!("now() - interval '{days} days' + {offset}")),
        1 => Just("'-infinity'".to_owned()),
        1 => Just("'infinity'".to_owned()),
    ]
}

async fn fill(database: &Database, rows: &[(String, Option<String>)]) {
    let values: Vec<String> = rows
        .iter()
        .map(|(expires, revoked)| {
            let revoked = revoked.as_deref().unwrap_or("NULL");
            format!("(gen_random_uuid(), (SELECT id FROM accounts), {expires}, 'infinity', ({revoked})::timestamptz)")
        })
        .collect();
    let client = database.client().await;
    client
        .batch_execute(
            "TRUNCATE accounts CASCADE; TRUNCATE reaper_runs; DROP TABLE IF EXISTS before;
             INSERT INTO accounts (id, issuer, subject) VALUES (gen_random_uuid(), 'i', 's')",
        )
        .await
        .unwrap();
    if !values.is_empty() {
        let insert = "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at, revoked_at) VALUES ";
        client.batch_execute(&format!("{insert}{}", values.join(", "))).await.unwrap();
    }
    client.batch_execute("CREATE TABLE before AS TABLE sessions").await.unwrap();
}

/// Returns the counts that the report must contain, from the original rows and the start of the
/// run: expired rows, and rows that are only revoked. Asserts that exactly the due rows were
/// deleted.
async fn due(database: &Database, reaped: &Reaped) -> (i64, i64) {
    let started_at = reaped.report["started_at"].as_str().unwrap();
    let client = database.client().await;
    let row = client
        .query_one(
            &format!(
                "WITH judged AS (
                     SELECT id, expires_at < '{started_at}'::timestamptz - interval '1 day' AS expired,
                            coalesce(revoked_at < '{started_at}'::timestamptz - interval '7 days', false) AS revoked
                     FROM before)
                 SELECT count(*) FILTER (WHERE expired), count(*) FILTER (WHERE revoked AND NOT expired),
                        count(*) FILTER (WHERE (expired OR revoked) AND id IN (SELECT id FROM sessions)),
                        count(*) FILTER (WHERE NOT (expired OR revoked) AND id NOT IN (SELECT id FROM sessions))
                 FROM judged"
            ),
            &[],
        )
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(2), 0, "due rows were not deleted");
    assert_eq!(row.get::<_, i64>(3), 0, "rows that were not due were deleted");
    (row.get(0), row.get(1))
}

#[test]
fn exactly_the_due_rows_are_deleted_for_any_times_and_chunk() {
    let runtime = Runtime::new().unwrap();
    let database = runtime.block_on(Database::create());
    let mut runner =
        TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let rows = vec((time_around(1), option::of(time_around(7))), 0..120);
    runner
        .run(&(rows, 1_u32..40), |(rows, chunk)| {
            runtime.block_on(async {
                fill(&database, &rows).await;
                let reaped = reap(&database, &[("MAX_CHUNK", &chunk.to_string())]).await;
                prop_assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
                let (expired, revoked) = due(&database, &reaped).await;
                let target = reaped.target("sessions");
                prop_assert_eq!(&target["deleted"]["expired"], expired);
                prop_assert_eq!(&target["deleted"]["revoked"], revoked);
                prop_assert_eq!(&target["remaining"], 0);
                prop_assert_eq!(&target["skipped_locked"], 0);
                Ok(())
            })
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn session_is_deleted_with_its_family_but_not_its_account() {
    let database = Database::create().await;
    expired_sessions(&database, 3).await;
    assert_eq!(reap(&database, &[]).await.code, Some(0));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM token_families").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM accounts").await, 1);
}

#[tokio::test]
async fn due_challenges_and_runs_are_deleted() {
    let database = Database::create().await;
    database
        .execute(
            "INSERT INTO consumed_challenges (nonce_hash, expires_at)
             SELECT decode(lpad(to_hex(n), 64, '0'), 'hex'), now() - n * interval '1 minute' FROM generate_series(1, 30) n;
             INSERT INTO reaper_runs (id, instance, version, started_at, trigger)
             SELECT gen_random_uuid(), 'i', 'v', now() - n * interval '1 day', 'manual' FROM generate_series(1, 40) n",
        )
        .await;
    let reaped = reap(&database, &[]).await;
    // The rows from exactly 10 minutes and 30 days ago have become due since.
    assert_eq!(reaped.target("consumed_challenges")["deleted"]["expired"], 21);
    assert_eq!(reaped.target("reaper_runs")["deleted"]["expired"], 11);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM consumed_challenges").await, 9);
    assert_eq!(
        database.one::<i64>("SELECT count(*) FROM reaper_runs").await,
        29 + 1,
        "29 runs that are kept, and the run itself"
    );
}

#[tokio::test]
async fn configured_retention_is_used() {
    let database = Database::create().await;
    expired_sessions(&database, 5).await;
    let kept = reap(&database, &[("KEEP_EXPIRED", "11d")]).await;
    assert_eq!(kept.target("sessions")["deleted"]["expired"], 0);
    assert_eq!(kept.target("sessions")["why"], "nothing was due");
    let gone = reap(&database, &[("KEEP_EXPIRED", "9d")]).await;
    assert_eq!(gone.target("sessions")["deleted"]["expired"], 5);
}

#[tokio::test]
async fn many_rows_with_the_same_time_are_each_read_once() {
    let database = Database::create().await;
    expired_sessions(&database, 20_000).await;
    database
        .execute("UPDATE sessions SET expires_at = date_trunc('day', now()) - interval '20 days'")
        .await;
    let reaped = reap(&database, &[("MAX_CHUNK", "500")]).await;
    assert_eq!(reaped.code, Some(0));
    let target = reaped.target("sessions");
    assert_eq!(target["deleted"]["expired"], 20_000);
    // Chunks of 100, 200, 400, and then 500 rows: no row was read twice.
    assert_eq!(target["chunks"], 42);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn minus_infinity_is_due_but_infinity_and_null_are_not() {
    let database = Database::create().await;
    expired_sessions(&database, 4).await;
    database
        .execute(
            "UPDATE sessions SET absolute_expires_at = 'infinity';
             UPDATE sessions SET expires_at = '-infinity' WHERE user_agent = '1';
             UPDATE sessions SET expires_at = 'infinity' WHERE user_agent IN ('2', '3', '4');
             UPDATE sessions SET revoked_at = '-infinity' WHERE user_agent = '2';
             UPDATE sessions SET revoked_at = 'infinity' WHERE user_agent = '3'",
        )
        .await;
    let reaped = reap(&database, &[("MAX_CHUNK", "1")]).await;
    assert_eq!(reaped.target("sessions")["deleted"]["expired"], 1);
    assert_eq!(reaped.target("sessions")["deleted"]["revoked"], 1);
    let left: Vec<String> =
        database.one("SELECT array_agg(user_agent ORDER BY user_agent) FROM sessions").await;
    assert_eq!(left, ["3", "4"]);
}

#[tokio::test]
async fn row_with_the_smallest_key_is_deleted() {
    let database = Database::create().await;
    expired_sessions(&database, 2).await;
    database
        .execute(
            "DELETE FROM token_families; UPDATE sessions SET expires_at = '-infinity';
             UPDATE sessions SET id = '00000000-0000-0000-0000-000000000000' WHERE user_agent = '1'",
        )
        .await;
    assert_eq!(
        reap(&database, &[("MAX_CHUNK", "1")]).await.target("sessions")["deleted"]["expired"],
        2
    );
}

#[tokio::test]
async fn chunk_commits_asynchronously_with_timeouts_set() {
    let database = Database::create().await;
    expired_sessions(&database, 10).await;
    database
        .execute(
            "CREATE TABLE seen (setting text);
             GRANT INSERT ON seen TO PUBLIC;
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO seen SELECT concat_ws(' ', current_setting('synchronous_commit'),
                     current_setting('idle_session_timeout'), current_setting('lock_timeout'),
                     current_setting('statement_timeout'), current_setting('client_connection_check_interval'));
                 RETURN NULL;
             END $$;
             CREATE TRIGGER look BEFORE DELETE ON sessions FOR EACH STATEMENT EXECUTE FUNCTION look()",
        )
        .await;
    let seen = "SELECT string_agg(DISTINCT setting, ', ') FROM seen";
    let env = [("LOCK_TIMEOUT", "70ms"), ("STATEMENT_TIMEOUT", "3s"), ("CHUNK_TIME", "1s")];
    let mut holder = database.client().await;
    let held = holder.transaction().await.unwrap();
    held.batch_execute("SELECT FROM sessions WHERE user_agent = '5' FOR UPDATE").await.unwrap();
    assert_eq!(reap(&database, &env).await.target("sessions")["deleted"]["expired"], 9);
    // The first attempt, which met the locked row, left no record because it was rolled back.
    let settings: String = database.one(seen).await;
    assert!(settings.contains("off 5min 70ms 3s 200ms"), "{settings}");
    held.commit().await.unwrap();
    // As long as no row is locked, the lock timeout is 10 ms, or LOCK_TIMEOUT if that is shorter.
    for (bound, expected) in [("70ms", "10ms"), ("4ms", "4ms")] {
        database.execute("TRUNCATE seen").await;
        database
            .execute(
                "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                      SELECT gen_random_uuid(), id, now() - interval '9 days', now() - interval '9 days' FROM accounts",
            )
            .await;
        let run = reap(&database, &[env[1], env[2], ("LOCK_TIMEOUT", bound)]).await;
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(database.one::<String>(seen).await, format!("off 5min {expected} 3s 200ms"));
    }
}
