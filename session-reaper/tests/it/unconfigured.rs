//! Runs without a configuration: auth-api's database is recognized by its structure, and nothing is
//! deleted in any other database.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, expired_sessions, reap, reaped, start_reaper};

/// A table as in many applications, with only expired rows.
const OTHER_APPLICATION: &str =
    "CREATE TABLE sessions (id bigint PRIMARY KEY, expires_at timestamptz, revoked_at timestamptz);
    CREATE INDEX ON sessions (expires_at, id);
    CREATE INDEX ON sessions (revoked_at, id);
    INSERT INTO sessions SELECT n, now() - interval '90 days' FROM generate_series(1, 500) AS n";

/// Runs a command to completion, as the owner of the database.
async fn end_of(
    database: &Database,
    args: &[&str],
    env: &[(&str, &str)],
) -> (Option<i32>, Program) {
    let url = database.url();
    let mut program =
        start_reaper(database, args, &[&[("DATABASE_URL", url.as_str())], env].concat());
    (program.wait().await.code(), program)
}

fn has_event(program: &Program, event: &str) -> bool {
    let stderr = program.stderr();
    let lines = stderr.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().any(|line| line["fields"]["event"] == event)
}

/// Asserts that every command that would delete rows, or show rows to delete, exits 78.
async fn is_refused(database: &Database, env: &[(&str, &str)], what: &str) {
    for args in [&["run", "--yes", "--force-unsafe"][..], &["daemon"], &["plan"], &["check"]] {
        let (code, program) = end_of(database, args, env).await;
        assert_eq!(code, Some(78), "{what}: {args:?}\n{}{}", program.stdout(), program.stderr());
        assert!(has_event(&program, "not_configured"), "{what}: {args:?}\n{}", program.stderr());
        assert_eq!(program.stdout(), "", "{what}: {args:?}");
    }
}

async fn rows(database: &Database, table: &str) -> i64 {
    database.one(&format!("SELECT count(*) FROM {table}")).await
}

#[tokio::test]
async fn sessions_of_another_application_are_not_deleted() {
    let database = Database::empty().await;
    database.execute(OTHER_APPLICATION).await;
    is_refused(&database, &[], "a table of the same name").await;
    assert_eq!(rows(&database, "sessions").await, 500);

    // Even if the reaper's own tables exist, nothing is deleted or recorded.
    assert_eq!(end_of(&database, &["migrate"], &[]).await.0, Some(0));
    is_refused(&database, &[], "a table of the same name, and a history").await;
    assert_eq!((rows(&database, "sessions").await, rows(&database, "reaper_runs").await), (500, 0));
}

#[tokio::test]
async fn reaper_tables_alone_do_not_identify_auth_api() {
    let database = Database::empty().await;
    assert_eq!(end_of(&database, &["migrate"], &[]).await.0, Some(0));
    database.execute("INSERT INTO reaper_runs (id, instance, version, started_at, trigger) VALUES (gen_random_uuid(), 'i', 'v', now() - interval '1 year', 'manual')").await;
    is_refused(&database, &[], "the reaper's tables alone").await;
    assert_eq!(rows(&database, "reaper_runs").await, 1);
}

#[tokio::test]
async fn incomplete_auth_api_structure_is_refused() {
    for change in [
        "ALTER TABLE sessions DROP CONSTRAINT sessions_account_id_fkey",
        "ALTER TABLE token_families DROP CONSTRAINT token_families_session_id_fkey",
        "ALTER TABLE sessions ALTER expires_at TYPE timestamp, ALTER absolute_expires_at TYPE timestamp",
        "ALTER TABLE sessions RENAME revoked_at TO ended_at",
        "ALTER TABLE consumed_challenges DROP CONSTRAINT consumed_challenges_pkey",
        "ALTER TABLE consumed_challenges ALTER expires_at TYPE timestamp",
        "CREATE SCHEMA elsewhere; ALTER TABLE consumed_challenges SET SCHEMA elsewhere",
        "ALTER TABLE accounts DROP COLUMN disabled_at",
        "DROP TABLE token_families",
        // After the rename, the foreign keys refer to the renamed table, and not to the table with
        // the expected name.
        "ALTER TABLE accounts RENAME TO people; CREATE TABLE accounts (LIKE people INCLUDING ALL)",
        "ALTER TABLE sessions RENAME TO logins; CREATE TABLE sessions (LIKE logins INCLUDING ALL)",
    ] {
        let database = Database::create().await;
        expired_sessions(&database, 5).await;
        database.execute(change).await;
        let path = [(
            "DATABASE_URL",
            &*format!("{}?options=-c%20search_path%3Dpublic,elsewhere", database.url()),
        )];
        is_refused(&database, &path, change).await;
    }
}

#[tokio::test]
async fn newer_auth_api_is_recognized() {
    let database = Database::create().await;
    expired_sessions(&database, 5).await;
    database
        .execute(
            "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999');
             ALTER TABLE sessions ADD COLUMN device text NOT NULL DEFAULT '', DROP COLUMN ip;
             ALTER TABLE accounts ALTER id DROP DEFAULT;
             CREATE TABLE devices (id uuid PRIMARY KEY, session_id uuid REFERENCES sessions ON DELETE CASCADE);
             CREATE INDEX ON devices (session_id)",
        )
        .await;
    let reaped = reap(&database, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("sessions")["deleted"]["expired"], 5, "{}", reaped.report);
}

#[tokio::test]
async fn search_path_determines_the_tables() {
    let database = Database::create().await;
    expired_sessions(&database, 5).await;
    database
        .execute(
            "CREATE SCHEMA auth;
             ALTER TABLE accounts SET SCHEMA auth; ALTER TABLE sessions SET SCHEMA auth;
             ALTER TABLE token_families SET SCHEMA auth; ALTER TABLE consumed_challenges SET SCHEMA auth;
             ALTER TABLE reaper_runs SET SCHEMA auth; ALTER TABLE reaper_state SET SCHEMA auth",
        )
        .await;
    is_refused(&database, &[], "a schema that is not on the path").await;
    let url = format!("{}?options=-c%20search_path%3Dpublic,auth", database.url());
    let path = [("DATABASE_URL", url.as_str())];
    let found = reap(&database, &path).await;
    assert_eq!(
        (found.code, &found.target("sessions")["deleted"]["expired"]),
        (Some(0), &Value::from(5)),
        "{}",
        found.stderr
    );

    // The table of another application comes first on the path.
    database.execute(OTHER_APPLICATION).await;
    is_refused(&database, &path, "another table first on the path").await;
    assert_eq!(rows(&database, "public.sessions").await, 500);
}

#[tokio::test]
async fn first_run_guard_applies_to_built_in_targets() {
    let database = Database::create().await;
    expired_sessions(&database, 2_000).await;
    database
        .execute(
            "INSERT INTO consumed_challenges (nonce_hash, expires_at)
             SELECT sha256(n::text::bytea), now() - interval '1 day' FROM generate_series(1, 2000) AS n",
        )
        .await;
    let refused = reaped(start_reaper(&database, &["run", "--output", "json"], &[])).await;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert_eq!(refused.target("sessions")["deleted"]["expired"], 0, "{}", refused.report);
    // The guard does not apply to used challenges, because nearly all of them are always due.
    assert_eq!(
        refused.target("consumed_challenges")["deleted"]["expired"],
        2_000,
        "{}",
        refused.report
    );
    assert_eq!(rows(&database, "sessions").await, 2_000);

    let plan = reaped(start_reaper(&database, &["plan", "--output", "json"], &[])).await;
    assert_eq!(plan.code, Some(65), "{}", plan.report);
    assert_eq!(plan.target("sessions")["refused"][0]["code"], "nearly-all", "{}", plan.report);

    let confirmed = reap(&database, &[]).await;
    assert_eq!(confirmed.target("sessions")["deleted"]["expired"], 2_000, "{}", confirmed.report);
}

#[tokio::test]
async fn status_shows_the_history_without_a_configuration() {
    let database = Database::empty().await;
    database.execute(OTHER_APPLICATION).await;
    assert_eq!(end_of(&database, &["migrate"], &[]).await.0, Some(0));
    let (code, program) = end_of(&database, &["status", "--output", "json"], &[]).await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    let status: Value = serde_json::from_str(&program.stdout()).unwrap();
    assert_eq!(
        (&status["history"], &status["targets"]),
        (&Value::Bool(true), &Value::Array(Vec::new())),
        "{status}"
    );
    assert_eq!(status["notes"].as_array().map(Vec::len), Some(1), "{status}");
}

#[tokio::test]
async fn configured_preset_skips_the_structure_check() {
    let database = Database::empty().await;
    database.execute(OTHER_APPLICATION).await;
    let reaped = testkit::reap_by(&database, "preset = 'auth-api'", &[]).await;
    assert_eq!(reaped.target("sessions")["deleted"]["expired"], 500, "{}", reaped.report);
}
