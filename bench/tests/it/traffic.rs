//! Runs bench-traffic with a small table. Checks that there are results, but does not check the
//! measured values.

use bench::traffic::{COLUMNS, Options, measure};
use clap::Parser as _;
use testkit::{Database, binary};

const ROWS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_deletes_the_due_rows_beside_the_traffic_and_has_its_line() {
    let beside = Database::empty().await;
    let (url, reaper, rows) =
        (beside.url(), binary("session-reaper").display().to_string(), ROWS.to_string());
    let options = [
        [
            "bench-traffic",
            "--database-url",
            &url,
            "--rows",
            &rows,
            "--live",
            "100",
            "--rate",
            "100",
        ]
        .as_slice(),
        &["--rounds", "1", "--warm-up", "1", "--before", "1", "--session-reaper", &reaper],
        // 600 s are enough for any machine to delete all due rows.
        &["--during", "600", "--layout", "scattered", "--also", "CHUNK_TIME=2ms DUTY_CYCLE=0.5"],
        &[
            "--way",
            "session-reaper",
            "--way",
            "session-reaper, CHUNK_TIME=2ms DUTY_CYCLE=0.5",
            "--way",
            "one DELETE",
        ],
    ]
    .concat();
    let results = measure(&Options::parse_from(options)).await.unwrap();

    assert_eq!(results.measured.len(), 3);
    for one in &results.measured {
        assert_eq!(one.deleted, ROWS / 2, "{}", one.way);
        let before = one.before.unwrap();
        assert!(
            before.p50 > 0.0 && before.p50 <= before.p99 && before.p99 <= before.p999,
            "{before:?}"
        );
    }
    assert!(results.flat_out > 0.0);

    let shown = results.to_string();
    let lines: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("| session-reaper") || line.starts_with("| one DELETE"))
        .collect();
    assert_eq!(lines.len(), 3, "{shown}");
    for line in lines {
        assert_eq!(line.trim_matches('|').split('|').count(), COLUMNS.len(), "{shown}");
    }
    // The goals apply only to the default settings.
    let judged =
        shown.lines().filter(|line| line.ends_with(", met") || line.ends_with(", MISSED")).count();
    assert!(judged <= 1 && shown.contains("## Goals"), "{shown}");
}
