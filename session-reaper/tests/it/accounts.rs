//! The target `accounts`, which is disabled by default and deletes accounts that are no longer
//! used.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use testkit::{Database, Reaped, reap, reap_by};

/// The setting that makes deploy/postgres/roles.sql grant the privileges for this target.
const KEEP_ACCOUNTS: &str = "SET session_reaper.keep_accounts = 'on'";

/// Inserts accounts, given as (name, days since the last login, has a session, is disabled).
async fn accounts(database: &Database, accounts: &[(&str, i64, bool, bool)]) {
    for (name, days, session, disabled) in accounts {
        let disabled = if *disabled { "now()" } else { "NULL" };
        database
            .execute(&format!(
                "INSERT INTO accounts (id, issuer, subject, created_at, last_login_at, disabled_at)
                 VALUES (gen_random_uuid(), 'stellar:testnet', '{name}', now() - interval '{days} days',
                         now() - interval '{days} days', {disabled})"
            ))
            .await;
        if *session {
            database
                .execute(&format!(
                    "INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                     SELECT gen_random_uuid(), id, now() + interval '1 day', now() + interval '1 day'
                     FROM accounts WHERE subject = '{name}'"
                ))
                .await;
        }
    }
}

async fn left(database: &Database) -> String {
    database
        .one("SELECT coalesce(string_agg(subject, ' ' ORDER BY subject), '') FROM accounts")
        .await
}

fn has_target(reaped: &Reaped) -> bool {
    reaped.report["targets"].as_array().unwrap().iter().any(|target| target["target"] == "accounts")
}

const ALL: [(&str, i64, bool, bool); 4] = [
    ("unused", 31, false, false),
    ("recent", 29, false, false),
    ("live", 31, true, false),
    ("disabled", 31, false, true),
];

#[tokio::test]
async fn accounts_are_kept_by_default() {
    let database = Database::create().await;
    accounts(&database, &ALL).await;
    let reaped = reap(&database, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert!(!has_target(&reaped), "{}", reaped.report);
    assert_eq!(left(&database).await, "disabled live recent unused");
}

#[tokio::test]
async fn unused_accounts_are_deleted_and_disabled_ones_kept() {
    let database = Database::create().await;
    database.apply_roles(KEEP_ACCOUNTS).await;
    accounts(&database, &ALL).await;
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 1, "{}", reaped.report);
    assert_eq!(reaped.target("accounts")["remaining"], 0, "accounts that are kept are not due");
    assert_eq!(left(&database).await, "disabled live recent");

    // An account whose session has expired is deleted too: the same run deletes the session first.
    database.execute("UPDATE sessions SET expires_at = now() - interval '2 days'").await;
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 1, "{}", reaped.report);
    assert_eq!(left(&database).await, "disabled recent");
}

#[tokio::test]
async fn preset_keeps_disabled_accounts() {
    let database = Database::create().await;
    accounts(&database, &ALL).await;
    let enabled = "preset = 'auth-api'\n[[target]]\ntable = 'accounts'\nenabled = true\n\
                   due = [{ reason = 'unused', column = 'last_login_at', keep = '30d' }]";
    let reaped = reap_by(&database, enabled, &[]).await;
    assert_eq!(
        reaped.target("accounts")["deleted"]["unused"],
        1,
        "{}{}",
        reaped.report,
        reaped.stderr
    );
    assert_eq!(left(&database).await, "disabled live recent");
}

#[tokio::test]
async fn account_with_a_concurrent_login_is_kept() {
    let database = Database::create().await;
    database.apply_roles(KEEP_ACCOUNTS).await;
    accounts(&database, &[("returning", 31, false, false), ("unused", 31, false, false)]).await;
    let mut login = database.client().await;
    let login = login.transaction().await.unwrap();
    login
        .batch_execute("UPDATE accounts SET last_login_at = now() WHERE subject = 'returning'")
        .await
        .unwrap();
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.target("accounts")["skipped_locked"], 1, "{}", reaped.report);
    login.commit().await.unwrap();
    assert_eq!(left(&database).await, "returning");
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 0, "{}", reaped.report);
    assert_eq!(left(&database).await, "returning");
}

#[tokio::test]
async fn missing_privilege_fails_with_the_grant_to_run() {
    let database = Database::create().await;
    accounts(&database, &ALL).await;
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.code, Some(3), "{}", reaped.report);
    let why = reaped.target("accounts")["why"].as_str().unwrap();
    assert!(why.contains("GRANT"), "{why}");
    assert_eq!(reaped.target("sessions")["outcome"], "success");
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "59m")]).await;
    assert_eq!(reaped.code, Some(78));
    assert!(reaped.stderr.contains("KEEP_ACCOUNTS"), "{}", reaped.stderr);
}

#[tokio::test]
async fn each_account_costs_one_index_lookup_in_sessions() {
    let database = Database::create().await;
    database.apply_roles(KEEP_ACCOUNTS).await;
    database
        .execute(
            "INSERT INTO accounts (id, issuer, subject, last_login_at)
                 SELECT gen_random_uuid(), 'stellar:testnet', n::text, now() - interval '31 days'
                 FROM generate_series(1, 22000) AS n;
             INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                 SELECT gen_random_uuid(), id, now() + interval '1 day', now() + interval '1 day'
                 FROM accounts WHERE subject::int > 2000;
             ANALYZE",
        )
        .await;
    // If PostgreSQL could hash this NOT EXISTS, it would read all of `sessions` for each chunk.
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d"), ("MAX_CHUNK", "5000")]).await;
    assert_eq!(reaped.code, Some(0), "{}{}", reaped.report, reaped.stderr);
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 2000, "{}", reaped.report);
}
