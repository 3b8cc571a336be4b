//! Tables for which `discover` must not be certain, because its proposal might delete rows that are
//! still needed.

use serde_json::{Value, json};
use testkit::Database;

use super::{config, discover, judged, live, presets, reap_by, with_preset};

/// Creates `sessions` with these columns, executes `more`, and runs `discover`.
async fn with_sessions(columns: &str, more: &str) -> Value {
    let database = Database::empty().await;
    database
        .execute(&format!("CREATE TABLE sessions (id int PRIMARY KEY, {columns}); {more}"))
        .await;
    discover(&database.url()).await
}

#[tokio::test]
async fn flag_next_to_the_expiry_is_respected() {
    let database = Database::empty().await;
    let mut expected = Vec::new();
    for (n, (flag, keeps)) in [
        ("expiring", false),
        ("\"isExpiring\"", false),
        ("can_expire", false),
        ("never_expires", true),
        ("permanent", true),
        ("is_permanent", true),
        ("\"noExpiry\"", true),
        ("does_not_expire", true),
        ("legal_hold", true),
    ]
    .into_iter()
    .enumerate()
    {
        database
            .execute(&format!(
                "CREATE SCHEMA s{n};
                 CREATE TABLE s{n}.sessions (id int PRIMARY KEY, expires_at timestamptz, {flag} boolean);
                 INSERT INTO s{n}.sessions SELECT n, now() + (40 - n) * interval '1 day', {keeps} FROM generate_series(1, 90) n;
                 INSERT INTO s{n}.sessions SELECT n, now() - n * interval '1 day', NOT {keeps} FROM generate_series(91, 99) n;
                 INSERT INTO s{n}.sessions VALUES (100, now() - interval '99 days', NULL)"
            ))
            .await;
        expected.push((format!("s{n}.sessions"), keeps));
    }
    let found = discover(&database.url()).await;
    let tables: Vec<&str> = expected.iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(live(&found), tables, "{}", config(&found));
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    for (table, keeps) in &expected {
        // A null flag counts as false, so row 100 is deleted if false means that a row expires.
        let deleted = if *keeps { 10 } else { 9 };
        assert_eq!(reaped.target(table)["deleted"]["expired"], deleted, "{table}");
        assert_eq!(
            database.one::<i64>(&format!("SELECT count(*) FROM {table} WHERE id <= 90")).await,
            90,
            "{table}"
        );
    }
}

#[tokio::test]
async fn columns_that_may_override_the_expiry_lower_certainty() {
    for column in [
        "remember_me boolean",
        "active boolean",
        "trusted boolean",
        "never_expires smallint",
        "permanent text",
        "status text",
        "state int",
        "ttl int",
        "expires_in int",
        "refresh_expires_at timestamptz",
        "absolute_expires_at timestamptz",
        "google_refresh_token text",
        "extended_at timestamptz",
        "\"extendedUntil\" timestamptz",
        "locked_until timestamptz",
        "grace_period interval",
        "retention_class text",
        "replaced_by uuid",
        "accepted_at timestamptz",
    ] {
        let found = with_sessions(&format!("expires_at timestamptz, {column}"), "").await;
        let (live, columns) = judged(&found, "public.sessions").unwrap();
        assert!(!live, "{column}: {}", config(&found));
        assert!(columns.iter().any(|(name, _)| name == "expires_at"), "{column}");
    }
    for column in
        ["used boolean", "is_revoked boolean", "http_only boolean", "data jsonb", "user_agent text"]
    {
        let found = with_sessions(&format!("expires_at timestamptz, {column}"), "").await;
        assert_eq!(live(&found), ["public.sessions"], "{column}: {}", config(&found));
    }
}

#[tokio::test]
async fn condition_applies_only_to_its_own_reasons() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE sessions (id int PRIMARY KEY, expires_at bigint, revoked_at timestamptz, permanent boolean);
             INSERT INTO sessions SELECT n, extract(epoch FROM now()) + n * 1000, NULL, false FROM generate_series(1, 500) n;
             INSERT INTO sessions VALUES (1001, NULL, now() - interval '99 days', false),
                 (1002, 0, now() - interval '99 days', true), (1003, 1700000000, NULL, true), (1004, 1700000000, NULL, false)",
        )
        .await;
    let found = discover(&database.url()).await;
    let filters: Vec<(&Value, &Value, &Value)> = found["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| (&target["columns"][0]["column"], &target["where"], &target["live"]))
        .collect();
    assert_eq!(
        filters,
        [
            (&json!("expires_at"), &json!("t.permanent IS NOT TRUE"), &json!(true)),
            (&json!("revoked_at"), &Value::Null, &json!(false)),
        ],
        "{}",
        config(&found)
    );
    // If both targets are used, revoked rows are deleted even if they are permanent or have no
    // expiry.
    let reaped = reap_by(&database, &super::uncommented(config(&found))).await;
    assert_eq!(reaped.code, Some(0), "{}{}", super::uncommented(config(&found)), reaped.stderr);
    let left: String = database
        .one("SELECT string_agg(id::text, ',' ORDER BY id) FROM sessions WHERE id > 1000")
        .await;
    assert_eq!(left, "1003");
}

#[tokio::test]
async fn column_that_may_refer_to_a_row_lowers_certainty() {
    for (table, column) in [
        ("orders", "session_id int"),
        ("orders", "\"lastSessionId\" int"),
        ("orders", "session_key text"),
        ("orders", "session int"),
        ("audit", "sessionid bigint"),
    ] {
        let found = with_sessions(
            "expires_at timestamptz",
            &format!("CREATE TABLE {table} (id int, {column})"),
        )
        .await;
        assert!(!judged(&found, "public.sessions").unwrap().0, "{column}: {}", config(&found));
    }
    for more in [
        // A text column of that name, the table's own key, and columns with similar names.
        "CREATE TABLE orders (id int, session text)",
        "ALTER TABLE sessions ADD session_id uuid",
        "CREATE TABLE orders (id int, session_count int, sessions int)",
        // Each schema has its own `sessions`.
        "CREATE SCHEMA b; CREATE TABLE b.sessions (id int, expires_at text); CREATE TABLE b.orders (session_id int)",
        // The column refers to the other `sessions`.
        "ALTER TABLE sessions RENAME TO user_sessions; CREATE TABLE sessions (id int); CREATE TABLE orders (session_id int)",
    ] {
        let found = with_sessions("expires_at timestamptz", more).await;
        assert_eq!(live(&found).len(), 1, "{more}: {}", config(&found));
    }
    // A column in the application's schema may refer to sessions in another schema.
    let more = "CREATE SCHEMA auth; ALTER TABLE sessions SET SCHEMA auth; CREATE TABLE orders (session_id int)";
    let found = with_sessions("expires_at timestamptz", more).await;
    assert!(!judged(&found, "auth.sessions").unwrap().0, "{}", config(&found));
}

#[tokio::test]
async fn side_effects_of_a_delete_lower_certainty() {
    let function = "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM users; RETURN OLD; END'";
    for (more, certain) in [
        (
            format!(
                "{function}; CREATE TRIGGER t AFTER DELETE ON sessions FOR EACH ROW EXECUTE FUNCTION f()"
            ),
            false,
        ),
        (
            format!("{function}; CREATE TRIGGER t AFTER DELETE ON sessions EXECUTE FUNCTION f()"),
            false,
        ),
        (
            format!(
                "{function}; CREATE TRIGGER t BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION f()"
            ),
            true,
        ),
        ("CREATE RULE r AS ON DELETE TO sessions DO ALSO DELETE FROM pg_class".to_owned(), false),
        ("CREATE TABLE orders (id int) INHERITS (sessions)".to_owned(), false),
    ] {
        let found = with_sessions("expires_at timestamptz", &more).await;
        assert_eq!(
            judged(&found, "public.sessions").unwrap().0,
            certain,
            "{more}: {}",
            config(&found)
        );
    }
}

#[tokio::test]
async fn ambiguous_name_is_not_certain() {
    let database = Database::empty().await;
    for (table, column) in [
        ("parking_sessions", "expires_at"),
        ("wine_tasting_sessions", "expires_at"),
        ("codes", "expires_at"),
        ("sessions_2024", "expires_at"),
        ("session_store", "expires_at"),
        // The column is the expiry of the user, or of the session to which the token belongs, and
        // not of the row.
        ("user_sessions", "user_expires_at"),
        ("session_tokens", "session_expires_at"),
    ] {
        database
            .execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY, {column} timestamptz)"))
            .await;
    }
    database
        .execute("CREATE SCHEMA archive; CREATE TABLE archive.sessions (id int PRIMARY KEY, expires_at timestamptz)")
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(live(&found), Vec::<&str>::new(), "{}", config(&found));
    assert_eq!(found["targets"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn other_names_of_time_columns_are_recognized() {
    for (column, reason) in [
        ("finished_at", "ended"),
        ("ended_at", "ended"),
        ("rotated_at", "rotated"),
        ("last_use", "unused"),
        ("\"lastUse\"", "unused"),
        ("deadline", "expired"),
        ("updated_at", "unchanged"),
    ] {
        let found = with_sessions(&format!("{column} timestamptz"), "").await;
        assert_eq!(
            found["targets"][0]["columns"][0]["reason"],
            reason,
            "{column}: {}",
            config(&found)
        );
        assert_eq!(live(&found), Vec::<&str>::new(), "{column}");
    }
}

#[tokio::test]
async fn table_without_a_recognized_column_is_listed() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE web_sessions (sid text PRIMARY KEY, data jsonb);
             CREATE TABLE login_tokens (id int PRIMARY KEY, expires_at text, born timestamptz);
             CREATE TABLE people (id int, name text)",
        )
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(
        found["unrecognised"],
        json!([
            { "table": "public.login_tokens", "rows": null, "unusable": ["expires_at text"] },
            { "table": "public.web_sessions", "rows": null, "unusable": [] },
        ])
    );
    for table in ["web_sessions", "login_tokens"] {
        let listed = format!("# public.{table}: ");
        assert_eq!(
            config(&found).lines().filter(|line| line.starts_with(&listed)).count(),
            1,
            "{}",
            config(&found)
        );
    }
}

#[tokio::test]
async fn table_with_only_the_name_of_a_preset_is_not_recognized() {
    for sql in [
        "CREATE TABLE session (id int PRIMARY KEY, expire timestamptz, data text)",
        "CREATE TABLE session (id int PRIMARY KEY, expiry_date timestamptz, kind text)",
        "CREATE TABLE sessions (id int PRIMARY KEY, expires timestamptz); CREATE TABLE verification_token (expires timestamptz)",
    ] {
        let database = Database::empty().await;
        database.execute(sql).await;
        let found = discover(&database.url()).await;
        assert_eq!(presets(&found), [], "{sql}");
    }
}

#[tokio::test]
async fn preset_table_with_unknown_additions_is_turned_off() {
    for (preset, more, how, off) in [
        (
            "django",
            "CREATE TABLE carts (s text REFERENCES django_session ON DELETE CASCADE)",
            "perhaps",
            None,
        ),
        ("connect-pg-simple", "ALTER TABLE session ADD user_agent text", "certain", None),
        ("authjs", "CREATE TABLE carts (id int, session_id int)", "certain", Some("sessions")),
        (
            "authjs",
            "CREATE TABLE carts (s int REFERENCES sessions ON DELETE CASCADE)",
            "certain",
            Some("sessions"),
        ),
        (
            "authjs",
            "CREATE RULE r AS ON DELETE TO sessions DO ALSO DELETE FROM pg_class",
            "certain",
            Some("sessions"),
        ),
        ("authjs", "ALTER TABLE sessions ADD permanent boolean", "certain", Some("sessions")),
    ] {
        let database = with_preset(preset).await;
        database.execute(more).await;
        let found = discover(&database.url()).await;
        assert_eq!(presets(&found)[0].1, how, "{more}: {}", config(&found));
        assert_eq!(live(&found), Vec::<&str>::new(), "{more}");
        if how == "certain" {
            let reaped = reap_by(&database, config(&found)).await;
            let targets = reaped.report["targets"].as_array().unwrap();
            assert!(
                targets.iter().all(|target| Some(target["target"].as_str().unwrap()) != off),
                "{more}: {targets:?}"
            );
        }
    }
}

#[tokio::test]
async fn flag_next_to_the_expiry_of_a_preset_is_respected() {
    let database = with_preset("connect-pg-simple").await;
    database
        .execute(
            "ALTER TABLE session ADD never_expires boolean;
             INSERT INTO session SELECT n, '{}', now() - n * interval '1 day', n % 2 = 0 FROM generate_series(-99, 99) n",
        )
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(presets(&found)[0].1, "perhaps", "{}", config(&found));
    assert_eq!(found["targets"][0]["where"], "t.never_expires IS NOT TRUE");
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM session WHERE never_expires").await, 99);
}

#[tokio::test]
async fn ancient_times_in_a_preset_table_are_kept() {
    let database = with_preset("connect-pg-simple").await;
    database
        .execute(
            "INSERT INTO session SELECT n, '{}', now() - n * interval '1 day' FROM generate_series(-50, 49) n;
             INSERT INTO session VALUES ('never', '{}', '-infinity')",
        )
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(found["presets"][0]["tables"][0]["ancient"], "keep", "{}", config(&found));
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM session WHERE sid = 'never'").await, 1);
}
