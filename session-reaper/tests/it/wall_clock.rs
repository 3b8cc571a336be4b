//! Local times (`timestamp` with `zone`) around a change that sets the clocks back.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use chrono::{DateTime, TimeDelta, Utc};
use testkit::{Database, reap_by};

/// Time zones, and instants at which their clocks are set back: by an hour, by half an hour, and
/// across midnight.
const CHANGES: [(&str, &str); 4] = [
    ("Europe/Berlin", "2025-10-26T01:00:00Z"),
    ("Australia/Lord_Howe", "2025-04-05T15:00:00Z"),
    ("America/Havana", "2025-11-02T05:00:00Z"),
    ("Asia/Beirut", "2024-10-26T21:00:00Z"),
];

/// Creates a row with the local time of every minute around the change.
async fn minutes(zone: &str, change: DateTime<Utc>) -> Database {
    let database = Database::empty().await;
    database
        .execute(&format!(
            "CREATE TABLE instants (at timestamptz, due timestamp);
             INSERT INTO instants SELECT at, at AT TIME ZONE '{zone}'
             FROM generate_series(timestamptz '{change}' - interval '3 hours', timestamptz '{change}' + interval '3 hours', '1 minute') AS at;
             CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, due timestamp); CREATE INDEX ON t (due, id);
             INSERT INTO t (due) SELECT DISTINCT due FROM instants"
        ))
        .await;
    database
}

#[tokio::test]
async fn repeated_local_time_is_due_after_its_second_occurrence() {
    for (zone, change) in CHANGES {
        let change: DateTime<Utc> = change.parse().unwrap();
        let database = minutes(zone, change).await;
        for minutes in [-65, -45, -31, -29, -15, -1, 15, 45, 65] {
            let wanted = change + TimeDelta::minutes(minutes);
            let keep = (Utc::now() - wanted).num_seconds();
            let config = format!(
                "[[target]]\ntable = 't'\ndue = [{{ reason = 'old', column = 'due', keep = '{keep}s', zone = '{zone}' }}]"
            );
            let reaped = reap_by(&database, &config, &[]).await;
            assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
            let started_at: DateTime<Utc> =
                reaped.report["started_at"].as_str().unwrap().parse().unwrap();
            let cutoff = started_at - TimeDelta::seconds(keep);
            // Rows that were deleted although they are not due, or kept although they are due.
            let wrong: Vec<String> = database
                .one(&format!(
                    "SELECT coalesce(array_agg(due::text ORDER BY due), '{{}}') FROM (SELECT due, max(at) < '{cutoff}' AS past FROM instants GROUP BY due) AS i
                     WHERE past = EXISTS (SELECT FROM t WHERE t.due = i.due)"
                ))
                .await;
            assert!(wrong.is_empty(), "{zone}, cutoff {cutoff}: {wrong:?}");
        }
    }
}
