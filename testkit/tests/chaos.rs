//! Runs the concurrent checker with fixed seeds: a short form of `make chaos`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Program, binary};

/// Plays the round of a seed. The number of operations limits a round, not its time, so a slow
/// machine takes longer.
async fn no_invariant_is_violated(seed: &str) {
    let traces = tempfile::tempdir().unwrap();
    let (pg_bin, reaper) = (std::env::var("PG_BIN").unwrap(), binary("session-reaper"));
    let args = [
        "--seed",
        seed,
        "--rounds",
        "1",
        "--scale",
        "0.3",
        "--traces",
        traces.path().to_str().unwrap(),
    ];
    let env = [("PG_BIN", pg_bin.as_str()), ("REAPER_BIN", reaper.to_str().unwrap())];
    let mut program = Program::start(binary("chaos"), &args, &env);
    let code = program.wait().await.code();
    assert_eq!(code, Some(0), "{}{}", program.stdout(), program.stderr());
}

#[tokio::test]
async fn a_table_that_takes_the_targets_name_keeps_its_rows() {
    no_invariant_is_violated("4").await;
}

#[tokio::test]
async fn a_condition_on_another_table_holds_beside_writers() {
    no_invariant_is_violated("7").await;
}

#[tokio::test]
async fn reapers_of_a_table_and_of_its_partition_take_turns() {
    no_invariant_is_violated("8").await;
}

#[tokio::test]
async fn what_decides_may_be_swapped_while_a_reaper_is_at_work() {
    no_invariant_is_violated("33").await;
}
