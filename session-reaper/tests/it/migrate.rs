//! The `migrate` command.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Program, binary};

#[tokio::test]
async fn second_migration_applies_nothing() {
    let database = Database::empty().await;
    let url = database.url();
    let migrate = async || {
        Program::run(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", &url)]).await
    };
    let (code, first) = migrate().await;
    assert_eq!(code, Some(0), "{}", first.stderr());
    assert!(first.stdout().lines().all(|line| line.starts_with("applied 2")), "{}", first.stdout());
    assert!(!first.stdout().is_empty());
    let (code, second) = migrate().await;
    assert_eq!((code, second.stdout().as_str()), (Some(0), "nothing was missing\n"));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM reaper_runs").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM reaper_state").await, 0);
}

#[tokio::test]
async fn concurrent_migrations_apply_changes_once() {
    let database = Database::empty().await;
    let url = database.url();
    let start =
        || Program::start(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", &url)]);
    let mut both = [start(), start()];
    let mut outputs = Vec::new();
    for program in &mut both {
        assert_eq!(program.wait().await.code(), Some(0), "{}", program.stderr());
        outputs.push(program.stdout());
    }
    outputs.sort();
    assert!(
        outputs[0].starts_with("applied ") && outputs[1] == "nothing was missing\n",
        "{outputs:?}"
    );
}

#[tokio::test]
async fn missing_create_privilege_fails() {
    let database = Database::empty().await;
    database.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let url = database.url_as("session_reaper");
    let (code, program) =
        Program::run(binary("session-reaper"), &["migrate"], &[("DATABASE_URL", &url)]).await;
    assert_eq!(code, Some(1), "{}", program.stderr());
    assert!(program.stderr().contains("permission denied"), "{}", program.stderr());
}
