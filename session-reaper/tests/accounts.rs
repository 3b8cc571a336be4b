//! The target that is off unless it is asked for: accounts that nobody logs in to any more.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use testkit::{Database, Reaped, reap, reap_by};

/// What deploy/postgres/roles.sql is told.
const KEEP_ACCOUNTS: &str = "SET session_reaper.keep_accounts = 'on'";

/// Accounts by name: last login so many days ago; whether it has a session; whether it is disabled.
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
async fn unless_asked_for_every_account_stays() {
    let database = Database::create().await;
    accounts(&database, &ALL).await;
    let reaped = reap(&database, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert!(!has_target(&reaped), "{}", reaped.report);
    assert_eq!(left(&database).await, "disabled live recent unused");
}

#[tokio::test]
async fn accounts_without_sessions_go_after_their_last_login_and_disabled_ones_stay() {
    let database = Database::create().await;
    database.apply_roles(KEEP_ACCOUNTS).await;
    accounts(&database, &ALL).await;
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 1, "{}", reaped.report);
    assert_eq!(reaped.target("accounts")["remaining"], 0, "kept ones are not due");
    assert_eq!(left(&database).await, "disabled live recent");

    // What had a session goes once that is gone: the same run deletes it first.
    database.execute("UPDATE sessions SET expires_at = now() - interval '2 days'").await;
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 1, "{}", reaped.report);
    assert_eq!(left(&database).await, "disabled recent");
}

#[tokio::test]
async fn the_preset_keeps_disabled_accounts_too() {
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
async fn an_account_that_is_logged_in_to_meanwhile_stays() {
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
async fn without_the_right_it_is_refused_with_what_to_grant() {
    let database = Database::create().await;
    accounts(&database, &ALL).await;
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d")]).await;
    assert_eq!(reaped.code, Some(65), "{}", reaped.report);
    let why = reaped.target("accounts")["why"].as_str().unwrap();
    assert!(why.contains("GRANT"), "{why}");
    assert_eq!(reaped.target("sessions")["outcome"], "success");
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "59m")]).await;
    assert_eq!(reaped.code, Some(78));
    assert!(reaped.stderr.contains("KEEP_ACCOUNTS"), "{}", reaped.stderr);
}

#[tokio::test]
async fn with_many_sessions_each_account_is_one_look_into_their_index() {
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
    // Such a NOT EXISTS is hashed where it can be: all of sessions, for each chunk.
    let reaped = reap(&database, &[("KEEP_ACCOUNTS", "30d"), ("MAX_CHUNK", "5000")]).await;
    assert_eq!(reaped.code, Some(0), "{}{}", reaped.report, reaped.stderr);
    assert_eq!(reaped.target("accounts")["deleted"]["unused"], 2000, "{}", reaped.report);
}
