//! The recipes of docs/recipes.md: the SQL and the targets on the page are executed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, reap_by};

/// Returns the code blocks in `language` of the section with the heading `heading`.
fn blocks(heading: &str, language: &str) -> Vec<String> {
    const PAGE: &str = include_str!("../../../docs/recipes.md");
    let section = PAGE.split("\n## ").find(|section| section.starts_with(heading)).unwrap();
    let fence = format!("```{language}\n");
    section.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Creates the tables of the page, executes the SQL of a recipe, and then `rows`.
async fn with(heading: &str, rows: &str) -> (Database, String) {
    let database = Database::empty().await;
    for sql in blocks("# Recipes", "sql").iter().chain(&blocks(heading, "sql")) {
        database.execute(sql).await;
    }
    database.execute(rows).await;
    (database, blocks(heading, "toml").concat())
}

#[tokio::test]
async fn newest_rows_of_each_user_are_kept() {
    // User n has n sessions, of which the first ones are older than an hour.
    let (database, config) = with(
        "Keep the newest rows",
        "INSERT INTO sessions SELECT u * 100 + n, u, now() - interval '2 hours' + n * interval '1 minute', now()
         FROM generate_series(1, 40) AS u, generate_series(1, u) AS n;
         INSERT INTO sessions SELECT 10000 + n, 30, now() + n * interval '1 second', now() FROM generate_series(1, 3) AS n;",
    )
    .await;
    let reaped = reap_by(&database, &config, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let of = |user: i64| {
        format!("SELECT array_agg(id ORDER BY id) FROM sessions WHERE user_id = {user}")
    };
    for user in [1, 10, 11, 40] {
        let kept: Vec<i64> = database.one(&of(user)).await;
        let expected: Vec<i64> = ((user - 9).max(1)..=user).map(|n| user * 100 + n).collect();
        assert_eq!(kept, expected, "user {user}");
    }
    let kept: Vec<i64> = database.one(&of(30)).await;
    let expected: Vec<i64> = (24..=30).map(|n| 3000 + n).chain(10001..=10003).collect();
    assert_eq!(kept, expected);
}

#[tokio::test]
async fn deleted_rows_are_archived() {
    let (database, config) = with(
        "Archive rows",
        "INSERT INTO sessions SELECT n, n % 7, now() - interval '9 days', now() + (n % 10 - 5) * interval '1 day'
         FROM generate_series(1, 2000) AS n;
         CREATE TABLE before AS SELECT * FROM sessions;",
    )
    .await;
    let reaped = reap_by(&database, &config, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    let archived: i64 = database.one("SELECT count(*) FROM sessions_archive").await;
    assert_eq!(reaped.target("sessions")["deleted"]["expired"], archived, "{}", reaped.stderr);
    assert!(archived > 500, "{archived}");
    let both = "(SELECT * FROM sessions UNION ALL SELECT * FROM sessions_archive)";
    let lost = format!(
        "SELECT count(*) FROM (SELECT * FROM before EXCEPT ALL SELECT * FROM {both} AS b) AS lost"
    );
    assert_eq!(database.one::<i64>(&lost).await, 0);
    // If the archive cannot be written, no row is deleted.
    database
        .execute("ALTER TABLE sessions_archive ADD CHECK (id < 0) NOT VALID; UPDATE sessions SET expires_at = now() - interval '9 days'")
        .await;
    let left: i64 = database.one("SELECT count(*) FROM sessions").await;
    let reaped = reap_by(&database, &config, &[]).await;
    assert_ne!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM sessions").await, left);
}

#[tokio::test]
async fn rows_without_a_parent_are_deleted() {
    let (database, config) = with(
        "Delete rows without a parent",
        "INSERT INTO sessions SELECT n, 1, now(), now() FROM generate_series(1, 50) AS n;
         INSERT INTO tokens SELECT n, n % 100, now() - (n % 3) * interval '1 day' - interval '1 minute'
         FROM generate_series(1, 1000) AS n;",
    )
    .await;
    let orphans = "SELECT count(*) FROM tokens WHERE session_id NOT IN (SELECT id FROM sessions)";
    let due: i64 =
        database.one(&format!("{orphans} AND created_at < now() - interval '1 day'")).await;
    let reaped = reap_by(&database, &config, &[]).await;
    assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
    assert_eq!(reaped.target("tokens")["deleted"]["orphaned"], due, "{}", reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM tokens").await, 1000 - due);
    assert_eq!(
        database.one::<i64>(&format!("{orphans} AND created_at < now() - interval '1 day'")).await,
        0
    );
}
