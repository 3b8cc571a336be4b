//! Runs bench-reap with a small table. Checks that there are results, but does not check the
//! measured values.

use bench::{COLUMNS, Options, measure};
use clap::Parser as _;
use testkit::{Database, binary};

const ROWS: u64 = 4_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_deletes_exactly_the_due_rows_and_has_its_line_in_every_table() {
    let beside = Database::empty().await;
    let reaper = binary("session-reaper").display().to_string();
    let rows = ROWS.to_string();
    let options = [
        "bench-reap",
        "--database-url",
        &beside.url(),
        "--rows",
        &rows,
        "--rounds",
        "1",
        "--session-reaper",
        &reaper,
    ];
    let results = measure(&Options::parse_from(options)).await.unwrap();

    let ways = results.ways.len();
    assert!(ways >= 8, "{ways}");
    assert_eq!(results.measured.len(), 4 * ways);
    for one in &results.measured {
        assert_eq!(one.deleted, ROWS / 2, "{}, {}", one.case, one.way);
        assert!(one.wal_bytes > one.deleted, "{}, {}", one.case, one.way);
    }
    // The rows of session-reaper have a value in every column.
    let shown = results.to_string();
    let lines: Vec<Vec<&str>> = shown
        .lines()
        .filter(|line| line.starts_with("| session-reaper"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert_eq!(lines.len(), 4, "{shown}");
    for line in lines {
        assert_eq!(line.len(), COLUMNS.len(), "{shown}");
        assert!(
            line[1..].iter().all(|cell| cell.parse::<f64>().is_ok_and(|value| value >= 0.0)),
            "{shown}"
        );
    }
    assert_eq!(
        shown.matches(", met").count() + shown.matches(", MISSED").count(),
        4 * 4 + results.gates.len(),
        "{shown}"
    );

    let left: i64 = beside
        .client()
        .await
        .query_one(
            "SELECT count(*) FROM pg_database WHERE shobj_description(oid, 'pg_database') = $1",
            &[&format!("made by a bench beside {}", beside.name())],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0, "some databases were not dropped");
}
