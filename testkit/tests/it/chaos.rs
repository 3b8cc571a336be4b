//! Runs the concurrent checker with fixed seeds: a short form of `make chaos`.

use testkit::{Program, binary};

/// Runs the round of a seed. A round is limited by its number of operations and not by time, so it
/// takes longer on a slow machine.
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
async fn table_that_takes_the_name_of_the_target_keeps_its_rows() {
    no_invariant_is_violated("4").await;
}

#[tokio::test]
async fn condition_on_another_table_holds_during_writes() {
    no_invariant_is_violated("7").await;
}

#[tokio::test]
async fn reapers_of_a_table_and_its_partition_exclude_each_other() {
    no_invariant_is_violated("8").await;
}

#[tokio::test]
async fn condition_holds_when_its_table_is_swapped_during_a_run() {
    no_invariant_is_violated("33").await;
}
