//! The key `where`: PostgreSQL parses each condition once, and statements contain only the parsed
//! form.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, Reaped, binary, reap_by};

/// Creates `t` with 20 due rows, half of them of the kind `go`, and 80 live rows.
async fn with_t() -> Database {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, due timestamptz, kind varchar(10), tags text[]); CREATE INDEX ON t (due, id);
             INSERT INTO t SELECT n, now() + (n - 20) * interval '2 days', CASE WHEN n % 2 = 0 THEN 'go' ELSE 'stay' END, '{a}'
             FROM generate_series(0, 99) AS n",
        )
        .await;
    database
}

fn config(condition: &str) -> String {
    format!(
        "[[target]]\ntable = 't'\nwhere = '''{condition}'''\ndue = [{{ reason = 'old', column = 'due', keep = '1d' }}]\n"
    )
}

async fn check(url: &str, config: &str, args: &[&str]) -> Value {
    command(url, config, &[&["check"], args].concat()).await
}

/// Runs a command and returns its output.
async fn command(url: &str, config: &str, args: &[&str]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let args = [args, &["--output", "json"]].concat();
    let env = [("DATABASE_URL", url), ("REAPER_CONFIG", file.path().to_str().unwrap())];
    let (_, program) = Program::run(binary("session-reaper"), &args, &env).await;
    serde_json::from_str(&program.stdout()).unwrap_or_else(|_| panic!("{}", program.stderr()))
}

/// Returns the finding with this code on the first target.
fn finding<'a>(checked: &'a Value, code: &str) -> Option<&'a Value> {
    checked["targets"][0]["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == code)
}

/// Returns the codes of the unsafe findings on the first target.
fn unsafe_codes(checked: &Value) -> Vec<&str> {
    let findings = checked["targets"][0]["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["level"] == "unsafe")
        .map(|finding| finding["code"].as_str().unwrap())
        .collect()
}

fn deleted(reaped: &Reaped) -> Option<u64> {
    reaped.report["targets"][0]["deleted"]["old"].as_u64()
}

#[tokio::test]
async fn condition_cannot_escape_its_parentheses() {
    let database = with_t().await;
    for condition in [
        "true) THEN true ELSE true END OR CASE WHEN (true",
        "true)) OR ((true",
        "true), (false",
        "true) GROUP BY (t.id",
        "true) UNION SELECT (true",
        "true) LIMIT (1",
        "true); DELETE FROM t WHERE (true",
        "true /* and",
        "true) /*",
        "true) --",
        "count(*) > 0",
        "$1",
        "t.id",
    ] {
        let checked = check(&database.url(), &config(condition), &[]).await;
        assert_eq!(unsafe_codes(&checked), ["condition-refused"], "{condition}: {checked}");
        let reaped = reap_by(&database, &config(condition), &[("MAX_CHUNK", "10")]).await;
        assert_eq!(
            (reaped.code, deleted(&reaped)),
            (Some(65), Some(0)),
            "{condition}: {}",
            reaped.stderr
        );
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 100);
}

#[tokio::test]
async fn valid_conditions_keep_their_meaning() {
    // A condition that closes a parenthesis and opens another is still one expression with its
    // usual meaning.
    for (condition, left) in [
        ("t.kind = 'go' -- and null is not", 90),
        ("t.kind = 'go' /* or 'stay' */", 90),
        ("t.kind = 'go') OR (t.kind = 'stay'", 80),
        ("kind = 'go' AND NOT EXISTS (SELECT FROM t AS t WHERE t.id = 4 OFFSET 0)", 100),
        ("t.kind IS DISTINCT FROM 'stay' AND NULLIF(t.id, 0) IN (SELECT 2 UNION SELECT 4)", 98),
        ("CASE t.kind WHEN 'go' THEN true END AND t.tags @> '{a}' AND t.id BETWEEN 2 AND 5", 98),
        ("(t.id, t.kind) >= (18, 'a') AND t.* IS NOT NULL AND t.ctid IS NOT NULL", 98),
        ("t.kind IN ('go', 'gone')", 90),
        ("t.kind NOT IN ('go', 'gone')", 90),
        ("CASE t.kind WHEN 'go' THEN true ELSE false END", 90),
        (
            "t.due < now() - interval '1 day' AND 'a' = ANY (t.tags) AND position('o' in t.kind) > 0",
            90,
        ),
    ] {
        let database = with_t().await;
        let checked = check(&database.url(), &config(condition), &[]).await;
        assert_eq!(unsafe_codes(&checked), Vec::<&str>::new(), "{condition}: {checked}");
        let note = finding(&checked, "condition").unwrap();
        assert_eq!(note["level"], "note");
        let reaped = reap_by(&database, &config(condition), &[]).await;
        assert_eq!(reaped.code, Some(0), "{condition}: {}", reaped.stderr);
        assert_eq!(
            database.one::<i64>("SELECT count(*) FROM t").await,
            left,
            "{condition}: {note}"
        );
    }
}

/// Conditions to which PostgreSQL, when it parses them, adds casts or operators that depend on the
/// type of `c`.
const TYPED: [&str; 9] = [
    "c IN ('a', 'b')",
    "c NOT IN ('a', 'b')",
    "c IN ('a', NULL)",
    "c = ANY ('{a,b}')",
    "c BETWEEN 'a' AND 'b'",
    "c::text LIKE 'a%'",
    "c::text NOT IN ('a', 'b')",
    "c::varchar(5) IN ('a', 'b')",
    "coalesce(c, 'c') NOT IN ('a', 'b') OR c <> 'd'",
];

const TYPES: [&str; 7] =
    ["text", "varchar(10)", "char(3)", "name", "word", "public.citext", "letter"];

#[tokio::test]
async fn conditions_on_every_text_type_keep_their_meaning() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE EXTENSION citext; CREATE DOMAIN word AS varchar(10); CREATE TYPE letter AS ENUM ('a', 'b', 'c', 'd')",
        )
        .await;
    for (table, name) in TYPES.iter().enumerate() {
        database
            .execute(&format!(
                "CREATE TABLE t{table} (id bigint PRIMARY KEY, due timestamptz, c {name}); CREATE INDEX ON t{table} (due, id);
                 INSERT INTO t{table} SELECT n, now() - interval '2 days', (ARRAY['a', 'b', 'c', 'd', NULL])[1 + n % 5]::{name}
                 FROM generate_series(1, 40) AS n"
            ))
            .await;
    }
    for condition in TYPED {
        let targets = (0..TYPES.len())
            .map(|table| config(condition).replace("table = 't'", &format!("table = 't{table}'")));
        let planned = command(&database.url(), &targets.collect::<String>(), &["plan"]).await;
        for (table, name) in TYPES.iter().enumerate() {
            let due = format!("SELECT count(*) FROM t{table} WHERE {condition}");
            let (due, target) = (database.one::<i64>(&due).await, &planned["targets"][table]);
            assert_eq!(target["due"][0]["rows"], due, "{condition} on {name}: {target}");
        }
    }
}

#[tokio::test]
async fn objects_of_untrusted_owners_are_not_used() {
    let database = with_t().await;
    // The classic attack: pg_catalog has no operator that compares two varchars, so the planted
    // operator matches best.
    database
        .execute(
            "CREATE TABLE called (what text); GRANT INSERT, SELECT ON called TO PUBLIC; GRANT CREATE ON SCHEMA public TO auth_api;
             SET ROLE auth_api;
             CREATE FUNCTION alike(a varchar, b varchar) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
                 $$ BEGIN INSERT INTO called VALUES (current_user); RETURN true; END $$;
             CREATE OPERATOR public.= (leftarg = varchar, rightarg = varchar, function = alike);
             CREATE OPERATOR public.<> (leftarg = varchar, rightarg = varchar, function = alike);
             CREATE FUNCTION always() RETURNS boolean LANGUAGE sql AS 'SELECT true';
             CREATE VIEW vip AS SELECT 1 AS id;
             CREATE DOMAIN odd AS bigint CHECK (VALUE > 0);
             RESET ROLE",
        )
        .await;
    for condition in [
        "t.kind = 'go'",
        "t.kind IN ('go', 'gone')",
        "t.kind NOT IN ('stay', 'stayed')",
        "public.always()",
        "NOT EXISTS (SELECT FROM vip WHERE vip.id = t.id OFFSET 0)",
        "t.id::odd IS NOT NULL",
    ] {
        let checked = check(&database.url(), &config(condition), &[]).await;
        assert_eq!(unsafe_codes(&checked), ["foreign-condition"], "{condition}: {checked}");
        let reaped = reap_by(&database, &config(condition), &[]).await;
        assert_eq!(
            (reaped.code, deleted(&reaped)),
            (Some(65), Some(0)),
            "{condition}: {}",
            reaped.stderr
        );
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM called").await, 0);
    // With exact types, PostgreSQL's own operator matches.
    let exact = config("t.kind::text = 'go'");
    assert_eq!(unsafe_codes(&check(&database.url(), &exact, &[]).await), Vec::<&str>::new());
    assert_eq!(deleted(&reap_by(&database, &exact, &[]).await), Some(10));
    assert_eq!(database.one::<i64>("SELECT count(*) FROM called").await, 0);
    // Functions of the table's owner are allowed: the owner can run code on the table anyway.
    let client = database.client().await;
    client.batch_execute("ALTER TABLE t OWNER TO auth_api").await.unwrap();
    assert_eq!(deleted(&reap_by(&database, &config("public.always()"), &[]).await), Some(10));
}

#[tokio::test]
async fn functions_resolve_names_on_the_search_path_of_the_role() {
    let database = with_t().await;
    let name = database.name();
    database
        .execute(&format!(
            "CREATE SCHEMA app; SET search_path = app, public; CREATE TABLE app.kinds (kind text PRIMARY KEY, free boolean); CREATE TABLE app.audit (id bigint);
             INSERT INTO app.kinds VALUES ('go', true), ('stay', false);
             CREATE FUNCTION app.is_free(kind text) RETURNS boolean LANGUAGE sql STABLE AS
                 'SELECT k.free FROM kinds k WHERE k.kind = $1';
             CREATE FUNCTION app.is_free_too(kind text) RETURNS boolean LANGUAGE plpgsql STABLE AS
                 $$ BEGIN RETURN (SELECT k.free FROM kinds k WHERE k.kind = $1); END $$;
             CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN INSERT INTO audit VALUES (OLD.id); RETURN OLD; END $$;
             CREATE TRIGGER note AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION app.note();
             ALTER DATABASE {name} SET search_path = app, public"
        ))
        .await;
    let condition = "is_free(t.kind) AND is_free_too(kind)";
    let checked = check(&database.url(), &config(condition), &[]).await;
    assert_eq!(unsafe_codes(&checked), Vec::<&str>::new(), "{checked}");
    let reaped = reap_by(&database, &config(condition), &[]).await;
    assert_eq!((reaped.code, deleted(&reaped)), (Some(0), Some(10)), "{}", reaped.stderr);
    assert_eq!(reaped.report["targets"][0]["remaining"], 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM app.audit").await, 10);
}

#[tokio::test]
async fn condition_needs_temporary_privilege_and_write_access() {
    let database = with_t().await;
    let name = database.name();
    database
        .execute(&format!(
            "REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC; GRANT SELECT, DELETE, UPDATE (due) ON t TO session_reaper"
        ))
        .await;
    let checked = check(&database.url_as("session_reaper"), &config("t.kind = 'go'"), &[]).await;
    assert_eq!(unsafe_codes(&checked), ["condition-refused"], "{checked}");
    let remedy = finding(&checked, "condition-refused").unwrap()["remedy"].as_str().unwrap();
    assert_eq!(remedy, format!("GRANT TEMPORARY ON DATABASE {name} TO session_reaper"));
    // A target without a condition does not need the privilege.
    let plain = config("").replace("where = ''''''\n", "");
    assert_eq!(
        unsafe_codes(&check(&database.url_as("session_reaper"), &plain, &[]).await),
        Vec::<&str>::new()
    );

    database
        .execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .await;
    let checked = check(&database.url(), &config("t.kind = 'go'"), &[]).await;
    assert_eq!(unsafe_codes(&checked), ["condition-refused"], "{checked}");
}

#[tokio::test]
async fn inheritance_children_and_their_columns_are_reaped() {
    let database = with_t().await;
    // The child has its columns in a different order, a dropped column, and a column of its own
    // with the same name as a column in the subquery.
    database
        .execute(
            "CREATE TABLE kept (of bigint, note text); INSERT INTO kept VALUES (1002, 'x');
             CREATE TABLE child (gone int, note text, kind varchar(10), tags text[], due timestamptz, id bigint PRIMARY KEY);
             ALTER TABLE child DROP COLUMN gone; ALTER TABLE child INHERIT t; CREATE INDEX ON child (due, id);
             INSERT INTO child SELECT 'y', 'go', '{a}', now() - interval '2 days', n FROM generate_series(1000, 1009) AS n; ANALYZE",
        )
        .await;
    let condition =
        "kind = 'go' AND NOT EXISTS (SELECT FROM kept WHERE of = id AND note = 'x' OFFSET 0)";
    let reaped = reap_by(&database, &config(condition), &[]).await;
    assert_eq!((reaped.code, deleted(&reaped)), (Some(0), Some(19)), "{}", reaped.stderr);
    assert_eq!(database.one::<Vec<i64>>("SELECT array_agg(id) FROM child").await, [1002]);
}
