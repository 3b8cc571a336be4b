//! What `discover` derives from the values of a column: the unit of integers, values that mean
//! "never", and times that are not expiries.

use serde_json::json;
use testkit::Database;

use super::{config, discover, judged, live, reap_by};

#[tokio::test]
async fn median_value_determines_the_integer_unit() {
    let database = Database::create().await;
    let now = "extract(epoch FROM now())::bigint";
    let all = json!(["s", "ms", "us"]);
    for (values, unit, sure) in [
        (format!("{now} + n"), json!(["s"]), "high"),
        (format!("({now} + n) * 1000"), json!(["ms"]), "high"),
        (format!("({now} + n) * 1000000"), json!(["us"]), "high"),
        // Lifetimes, also mixed with a time and with a value that means "never".
        ("n * 60".to_owned(), all.clone(), "medium"),
        (
            format!("CASE n WHEN 1 THEN {now} WHEN 2 THEN 2147483647 ELSE 3600 END"),
            all.clone(),
            "medium",
        ),
        // Some rows never expire, in the notations of different applications.
        (format!("CASE WHEN n % 3 > 0 THEN 0 ELSE {now} + n END"), json!(["s"]), "high"),
        (format!("CASE WHEN n % 3 > 0 THEN -1 ELSE ({now} + n) * 1000 END"), json!(["ms"]), "high"),
        (
            format!("CASE WHEN n % 3 > 0 THEN 9223372036854775807 ELSE {now} + n END"),
            json!(["s"]),
            "high",
        ),
        (format!("CASE WHEN n % 3 > 0 THEN 253402300799 ELSE {now} + n END"), json!(["s"]), "high"),
        (
            format!("CASE WHEN n % 3 > 0 THEN 253402300799000 ELSE ({now} + n) * 1000 END"),
            json!(["ms"]),
            "high",
        ),
        // Only values that mean "never".
        ("CASE n % 2 WHEN 0 THEN 0 ELSE 9223372036854775807 END".to_owned(), all.clone(), "medium"),
        // Two units in one column.
        (
            format!("CASE WHEN n % 3 > 0 THEN ({now} + n) * 1000 ELSE {now} + n END"),
            json!(["ms"]),
            "medium",
        ),
        ("NULL".to_owned(), all.clone(), "medium"),
    ] {
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS nonces; CREATE TABLE nonces (id int PRIMARY KEY, expires bigint) WITH (autovacuum_enabled = off);
                 INSERT INTO nonces SELECT n, {values} FROM generate_series(1, 500) AS n"
            ))
            .await;
        for analyze in ["", "ANALYZE nonces"] {
            database.execute(analyze).await;
            let found = discover(&database.url()).await;
            let column = &found["targets"][0]["columns"][0];
            assert_eq!(
                (&column["unit"], &column["sureness"]),
                (&unit, &json!(sure)),
                "{values}: {}",
                config(&found)
            );
            // 0 is the usual value for "never", and may be inserted later.
            assert_eq!(found["targets"][0]["ancient"], "keep");
        }
    }
    // A role that may not read the table gets no information about its values.
    database.execute("UPDATE nonces SET expires = 2000000000; ANALYZE nonces").await;
    assert_eq!(live(&discover(&database.url()).await), ["public.nonces"]);
    assert_eq!(live(&discover(&database.url_as("session_reaper")).await), Vec::<&str>::new());
}

#[tokio::test]
async fn statistics_are_used_when_a_table_cannot_be_read() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE nonces (id int PRIMARY KEY, expires bigint);
             INSERT INTO nonces SELECT n, CASE WHEN n % 3 > 0 THEN 0 ELSE extract(epoch FROM now()) * 1000 + 1e8 + n END
             FROM generate_series(1, 500) AS n; ANALYZE nonces;
             CREATE TABLE sessions (id int PRIMARY KEY, expires_at timestamptz);
             INSERT INTO sessions SELECT n, CASE WHEN n % 3 > 0 THEN '-infinity' ELSE now() + interval '1 day' END
             FROM generate_series(1, 500) AS n; ANALYZE sessions",
        )
        .await;
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE nonces, sessions").await.unwrap();
    let found = discover(&database.url()).await;
    assert_eq!(live(&found), ["public.nonces", "public.sessions"], "{}", config(&found));
    assert_eq!(found["targets"][0]["columns"][0]["unit"], json!(["ms"]));
    assert_eq!(found["targets"][1]["ancient"], "keep");
}

#[tokio::test]
async fn proposal_keeps_rows_that_never_expire() {
    let database = Database::empty().await;
    for (name, sql_type, never) in [
        ("t1", "timestamptz", "'0001-01-01 00:00:00Z'"),
        ("t2", "timestamptz", "'-infinity'"),
        ("t3", "timestamp", "'1970-01-01'"),
        ("t4", "date", "'-infinity'"),
        ("t5", "bigint", "0"),
    ] {
        let time = if sql_type == "bigint" { "extract(epoch FROM now() + n)" } else { "now() + n" };
        database
            .execute(&format!(
                "CREATE SCHEMA {name}; CREATE TABLE {name}.sessions (id int PRIMARY KEY, expires_at {sql_type});
                 INSERT INTO {name}.sessions SELECT row_number() OVER (), {time}
                     FROM (SELECT n * interval '1 day' FROM generate_series(-99, 99) AS n) AS days (n);
                 INSERT INTO {name}.sessions SELECT n, {never} FROM generate_series(1001, 1050) AS n"
            ))
            .await;
    }
    // Rare values are found at the start of the index, wherever their rows are in the table.
    database
        .execute(
            "CREATE SCHEMA t6; CREATE TABLE t6.sessions (id int PRIMARY KEY, expires_at timestamptz, filler text);
             INSERT INTO t6.sessions SELECT n, now() + interval '1 day', repeat('x', 1000) FROM generate_series(1, 20000) n;
             UPDATE t6.sessions SET expires_at = '-infinity' WHERE id = 10000;
             CREATE INDEX ON t6.sessions (expires_at, id)",
        )
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(live(&found).len(), 6, "{}", config(&found));
    for target in found["targets"].as_array().unwrap() {
        assert_eq!(target["ancient"], "keep", "{target}");
    }
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    for name in ["t1", "t2", "t3", "t4", "t5"] {
        let kept: i64 =
            database.one(&format!("SELECT count(*) FROM {name}.sessions WHERE id > 1000")).await;
        let deleted =
            reaped.target(&format!("{name}.sessions"))["deleted"]["expired"].as_u64().unwrap();
        assert_eq!(kept, 50, "{name}");
        assert!((68..=70).contains(&deleted), "{name}: {deleted}");
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t6.sessions").await, 20_000);
}

#[tokio::test]
async fn extreme_time_values_are_handled() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE codes (\"user\" int, code int, valid_until date, expires_at timestamp, exp timestamptz, PRIMARY KEY (\"user\", code));
             INSERT INTO codes VALUES (1, 1, '5874897-12-31', '294276-12-31', '294276-12-31'), (2, 2, 'infinity', '-infinity', 'infinity'),
                 (3, 3, '4713-01-01 BC', '4713-01-01 BC', '4713-01-01 BC')",
        )
        .await;
    for analyze in ["", "ANALYZE codes"] {
        database.execute(analyze).await;
        let found = discover(&database.url()).await;
        assert_eq!(judged(&found, "public.codes").unwrap().1.len(), 3, "{}", config(&found));
        assert_eq!(found["targets"][0]["ancient"], "keep");
        // `user` is a reserved word in SQL, so it is quoted.
        assert_eq!(
            found["targets"][0]["columns"][0]["missing_index"],
            "CREATE INDEX CONCURRENTLY ON public.codes (valid_until, \"user\", code)"
        );
    }
}

#[tokio::test]
async fn expiry_that_holds_the_last_use_is_not_certain() {
    let database = Database::empty().await;
    for (column, sql_type, value, rows, certain) in [
        // Gitea's `session` stores the last use in `expiry`.
        ("expiry", "bigint", "extract(epoch FROM now())::bigint - n * 60", 500, false),
        ("expiry", "timestamptz", "now() - n * interval '1 minute'", 500, false),
        // A clock that is slightly fast, and a time zone other than UTC.
        ("expiry", "timestamptz", "now() + interval '10 s' - n * interval '1 minute'", 500, false),
        (
            "expiry",
            "timestamp",
            "now() AT TIME ZONE 'Asia/Tokyo' - n * interval '1 minute'",
            500,
            false,
        ),
        ("expires_at", "timestamptz", "now() - n * interval '1 minute'", 500, false),
        // A value that means "never" does not prove that the column is an expiry.
        (
            "expiry",
            "timestamptz",
            "CASE WHEN n % 2 = 0 THEN 'infinity' ELSE now() - n * interval '1 minute' END",
            500,
            false,
        ),
        (
            "expiry",
            "bigint",
            "CASE WHEN n % 2 = 0 THEN 2147483647 ELSE extract(epoch FROM now())::bigint - n * 60 END",
            500,
            false,
        ),
        ("expiry", "timestamptz", "now()", 0, false),
        ("expiration", "timestamptz", "now() - interval '1 hour'", 3, false),
        ("deadline", "timestamptz", "now()", 0, false),
        ("expires_at", "timestamptz", "now()", 0, true),
        ("expiry", "timestamptz", "now() + interval '1 day' - n * interval '1 hour'", 500, true),
        ("expiry", "bigint", "extract(epoch FROM now())::bigint + n", 500, true),
        ("deadline", "timestamptz", "now() + n * interval '1 minute'", 500, true),
    ] {
        database
            .execute(&format!(
                "DROP TABLE IF EXISTS sessions; CREATE TABLE sessions (id int PRIMARY KEY, {column} {sql_type}) WITH (autovacuum_enabled = off);
                 INSERT INTO sessions SELECT n, {value} FROM generate_series(1, {rows}) AS n"
            ))
            .await;
        for analyze in ["", "ANALYZE sessions"] {
            database.execute(analyze).await;
            let found = discover(&database.url()).await;
            assert_eq!(!live(&found).is_empty(), certain, "{column} {value}: {}", config(&found));
        }
    }
}
