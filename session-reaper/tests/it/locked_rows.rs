//! Rows that other transactions lock or write while the reaper runs.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{
    Database, ParkAt, Parking, Server, expired_sessions, reap, reap_by, reaped, start_reaper,
};

const JSON: [&str; 4] = ["run", "--yes", "--output", "json"];

#[tokio::test]
async fn row_with_a_locked_family_is_skipped() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    let mut client = database.client().await;
    let holder = client.transaction().await.unwrap();
    let held = "SELECT FROM token_families WHERE session_id = (SELECT id FROM sessions WHERE user_agent = '150') FOR UPDATE";
    holder.execute(held, &[]).await.unwrap();
    let first = reap(&database, &[("LOCK_TIMEOUT", "50ms")]).await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    assert_eq!(first.report["targets"][0]["deleted"]["expired"], 299);
    assert_eq!(first.report["targets"][0]["remaining"], 1);
    assert_eq!(
        database.one::<String>("SELECT string_agg(user_agent, ',') FROM sessions").await,
        "150"
    );
    holder.rollback().await.unwrap();
    assert_eq!(reap(&database, &[]).await.report["targets"][0]["deleted"]["expired"], 1);
}

#[tokio::test]
async fn locked_row_is_reported_and_deleted_by_the_next_run() {
    let database = Database::create().await;
    expired_sessions(&database, 250).await;
    // The row is due for both reasons, but counts only once.
    database
        .execute(
            "UPDATE sessions SET revoked_at = now() - interval '8 days' WHERE user_agent = '42'",
        )
        .await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions WHERE user_agent = '42' FOR UPDATE")
        .await
        .unwrap();

    let first = reap(&database, &[]).await;
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let target = first.target("sessions");
    assert_eq!(target["outcome"], "success");
    assert_eq!(target["deleted"]["expired"], 249);
    assert_eq!(target["skipped_locked"], 1);
    assert_eq!(target["remaining"], 1);
    assert_eq!(target["remaining_capped"], false);
    assert_eq!(database.one::<String>("SELECT user_agent FROM sessions").await, "42");

    holder.batch_execute("ROLLBACK").await.unwrap();
    let second = reap(&database, &[]).await;
    assert_eq!(second.target("sessions")["deleted"]["expired"], 1);
    assert_eq!(second.target("sessions")["skipped_locked"], 0);
    assert_eq!(second.target("sessions")["remaining"], 0);
}

#[tokio::test]
async fn row_unlocked_during_a_pass_is_deleted_at_its_end() {
    let database = Database::create().await;
    expired_sessions(&database, 300).await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions WHERE user_agent = '42' FOR UPDATE")
        .await
        .unwrap();
    // When the second chunk starts, 201 rows are left.
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 201 }).await;
    let run = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    parking.open().await;

    let run = reaped(run).await;
    let target = run.target("sessions");
    assert_eq!(target["deleted"]["expired"], 300);
    assert_eq!(target["skipped_locked"], 1);
    assert_eq!(target["remaining"], 0);
}

#[tokio::test]
async fn locked_rows_in_many_key_ranges_are_counted() {
    let database = Database::create().await;
    expired_sessions(&database, 3_000).await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions WHERE user_agent::int % 3 = 0 FOR UPDATE")
        .await
        .unwrap();
    // The run has 150 key ranges, more than it remembers individually.
    let first = reap(&database, &[("MAX_CHUNK", "20")]).await;
    assert_eq!(first.target("sessions")["deleted"]["expired"], 2_000);
    assert_eq!(first.target("sessions")["skipped_locked"], 1_000);
    assert_eq!(first.target("sessions")["remaining"], 1_000);
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(reap(&database, &[]).await.target("sessions")["deleted"]["expired"], 1_000);
}

#[tokio::test]
async fn unlocked_rows_in_many_key_ranges_are_deleted_at_the_end() {
    let database = Database::create().await;
    expired_sessions(&database, 3_000).await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM sessions WHERE user_agent::int % 3 = 0 FOR UPDATE")
        .await
        .unwrap();
    // When the initial attempt reaches its last key ranges, slightly more rows are left than the
    // thousand that are locked.
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 1_020 }).await;
    let run = start_reaper(&database, &JSON, &[("MAX_CHUNK", "20")]);
    parking.wait_for_arrival().await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    parking.open().await;
    let run = reaped(run).await;
    let target = run.target("sessions");
    assert!(target["skipped_locked"].as_i64().unwrap() > 900, "{target}");
    assert_eq!(target["deleted"]["expired"], 3_000);
    assert_eq!(target["remaining"], 0);
}

/// Stops the statement after it has taken its snapshot and before it reads a row, commits `update`,
/// and lets the statement continue. The statement sees the update only when it locks the rows.
async fn written_between_snapshot_and_lock(update: &str) -> (testkit::Reaped, Database) {
    let database = Database::create().await;
    let strict = format!(
        "ALTER DATABASE {} SET default_transaction_isolation = 'repeatable read'",
        database.name()
    );
    database.execute(&strict).await;
    expired_sessions(&database, 50).await;
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 50 }).await;
    let run = start_reaper(&database, &JSON, &[]);
    parking.wait_for_arrival().await;
    database.execute(update).await;
    parking.open().await;
    (reaped(run).await, database)
}

#[tokio::test]
async fn row_extended_between_snapshot_and_lock_is_kept() {
    let (run, database) = written_between_snapshot_and_lock(
        "UPDATE sessions SET expires_at = now() + interval '1 day', absolute_expires_at = now() + interval '1 day'
         WHERE user_agent IN ('1', '20', '50')",
    )
    .await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let left: Vec<String> =
        database.one("SELECT array_agg(user_agent ORDER BY user_agent::int) FROM sessions").await;
    assert_eq!(left, ["1", "20", "50"]);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM token_families").await, 3);
    let target = run.target("sessions");
    assert_eq!(target["deleted"]["expired"], 47);
    assert_eq!(target["skipped_locked"], 0, "the rows are neither locked nor due");
    assert_eq!(target["remaining"], 0);
}

#[tokio::test]
async fn row_touched_between_snapshot_and_lock_is_retried() {
    let (run, database) = written_between_snapshot_and_lock(
        "UPDATE sessions SET last_seen_at = now() WHERE user_agent = '20'",
    )
    .await;
    assert_eq!(run.target("sessions")["deleted"]["expired"], 50);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, 0);
}

#[tokio::test]
async fn rows_locked_all_at_once_between_chunks_are_counted() {
    let database = Database::create().await;
    expired_sessions(&database, 200).await;
    let parking = Parking::at(&database, ParkAt::Statement { rows_left: 100 }).await;
    let holder = database.client().await;
    let work = async {
        parking.wait_for_arrival().await;
        // This is the newest transaction, and no transaction ends after it until the chunk has
        // skipped all rows.
        holder.batch_execute("BEGIN; SELECT FROM sessions FOR UPDATE").await.unwrap();
        parking.open().await;
    };
    let env = [("MAX_CHUNK", "100")];
    let (reaped, ()) = tokio::join!(reap(&database, &env), work);
    let result = reaped.target("sessions");
    assert_eq!(result["deleted"]["expired"], 100, "{}", reaped.stderr);
    assert_eq!(
        (&result["skipped_locked"], &result["remaining"]),
        (&100.into(), &100.into()),
        "{}",
        reaped.stderr
    );
}

#[tokio::test]
async fn rows_locked_by_the_newest_transaction_of_the_server_are_counted() {
    // On a server of its own and without a history, no other transaction ends after the one that
    // holds the rows.
    let server = Server::start(&[("autovacuum", "off")]).await;
    let database = server.database().await;
    database
        .execute(
            "DROP TABLE reaper_runs, reaper_state;
             CREATE TABLE t (id int, due timestamptz); CREATE INDEX ON t (due);
             INSERT INTO t SELECT n, now() - n * interval '1 hour' FROM generate_series(100, 400) AS n",
        )
        .await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; SELECT FROM t WHERE id BETWEEN 391 AND 397 FOR UPDATE")
        .await
        .unwrap();
    let config =
        "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '1d' }]\n";
    let reaped = reap_by(&database, config, &[]).await;
    let result = reaped.target("t");
    assert_eq!(
        (&result["deleted"]["old"], &result["skipped_locked"], &result["remaining"]),
        (&294.into(), &7.into(), &7.into()),
        "{}",
        reaped.stderr
    );
}
