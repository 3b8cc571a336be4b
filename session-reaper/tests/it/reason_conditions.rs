//! The key `where` of a reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, reap_by};

/// Tokens of three kinds. Some are used, and some are revoked.
const TOKENS: &str = "
    CREATE TABLE t (id int PRIMARY KEY, kind text, family int, expires_at timestamptz, used_at timestamptz);
    CREATE INDEX ON t (expires_at, id); CREATE INDEX ON t (used_at, id); CREATE INDEX ON t (family);
    INSERT INTO t SELECT n, (array['access', 'refresh', 'offline'])[1 + n % 3], n / 4,
        now() - (n % 7 - 2) * interval '1 day', CASE WHEN n % 5 = 0 THEN now() - interval '3 days' END
    FROM generate_series(1, 3000) AS n;";

/// Expired tokens are due unless they are offline tokens; used tokens are due if they are refresh
/// or offline tokens.
const DUE: &str = r#"
due = [
    { reason = "expired", column = "expires_at", keep = "1d", where = "kind <> 'offline'" },
    { reason = "used", column = "used_at", keep = "2d", where = "kind IN ('refresh', 'offline')" },
]
"#;

const EXPIRED: &str = "expires_at < now() - interval '1 day' AND kind <> 'offline'";
const USED: &str = "used_at IS NOT NULL AND kind <> 'access'";

async fn with(sql: &str) -> Database {
    let database = Database::empty().await;
    database.execute(sql).await;
    database
}

async fn count(database: &Database, condition: &str) -> i64 {
    database.one(&format!("SELECT count(*) FROM t WHERE {condition}")).await
}

#[tokio::test]
async fn each_reason_has_its_own_condition() {
    for (order, filter) in [
        ("order = 'index'", "true"),
        ("order = 'heap'", "true"),
        ("order = 'index'\nwhere = 'id > 1000'", "id > 1000"),
    ] {
        let database = with(TOKENS).await;
        let due = format!("(({EXPIRED}) OR ({USED}))");
        let expired = count(&database, &format!("{EXPIRED} AND {filter}")).await;
        let used = count(&database, &format!("{USED} AND NOT ({EXPIRED}) AND {filter}")).await;
        let kept = count(&database, &format!("({due} AND {filter}) IS NOT TRUE")).await;
        assert!(expired > 100 && used > 100 && kept > 100);
        let reaped =
            reap_by(&database, &format!("[[target]]\ntable = 't'{DUE}{order}\n"), &[]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        let result = reaped.target("t");
        assert_eq!(result["deleted"]["expired"], expired, "{}", reaped.stderr);
        assert_eq!(result["deleted"]["used"], used, "{}", reaped.stderr);
        assert_eq!(result["remaining"], 0, "{}", reaped.stderr);
        assert_eq!(count(&database, "true").await, kept, "{order}");
        assert_eq!(count(&database, &format!("{due} AND {filter}")).await, 0, "{order}");
    }
}

#[tokio::test]
async fn group_may_be_due_for_several_reasons_with_conditions() {
    for order in ["index", "heap"] {
        let database = with(TOKENS).await;
        let due = format!("(({EXPIRED}) OR ({USED})) IS TRUE");
        let whole = format!("SELECT family FROM t GROUP BY family HAVING bool_and({due})");
        database
            .execute(&format!("CREATE TABLE gone AS SELECT id FROM t WHERE family IN ({whole})"))
            .await;
        let gone: i64 = database.one("SELECT count(*) FROM gone").await;
        assert!(gone > 20, "{gone}");
        let config = format!("[[target]]\ntable = 't'{DUE}group = 'family'\norder = '{order}'\n");
        let reaped = reap_by(&database, &config, &[]).await;
        assert_eq!(reaped.code, Some(0), "{}", reaped.stderr);
        let deleted = &reaped.target("t")["deleted"];
        let both = deleted["expired"].as_i64().unwrap() + deleted["used"].as_i64().unwrap();
        assert_eq!(both, gone, "{}", reaped.stderr);
        assert_eq!(count(&database, "id IN (SELECT id FROM gone)").await, 0);
        assert_eq!(count(&database, "true").await, 3000 - gone);
    }
}

#[tokio::test]
async fn condition_of_a_reason_that_the_server_rejects_is_reported() {
    let database = with(TOKENS).await;
    let due = DUE.replace("kind <> 'offline'", "knd <> 'offline'");
    let reaped = reap_by(&database, &format!("[[target]]\ntable = 't'{due}"), &[]).await;
    assert_eq!(reaped.code, Some(65), "{}", reaped.stderr);
    assert!(reaped.stderr.contains(r#""code":"condition-refused""#), "{}", reaped.stderr);
    assert_eq!(count(&database, "true").await, 3000);
}
