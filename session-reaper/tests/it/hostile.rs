//! A role that may create objects in a schema on the search path cannot run code as the reaper.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::{Database, Program, Proxy, binary, start_reaper};
use tokio_postgres::Client;

const EVERY_SECOND: (&str, &str) = ("SCHEDULE", "* * * * * *");

/// Creates `app.t` and `app.h` with the same 20 due rows and 80 live rows, and a child of each row
/// of `app.h`. The role `session_reaper` may delete the rows of all three tables.
async fn with_tables() -> Database {
    let database = Database::create().await;
    database
        .execute(
            "CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO session_reaper;
             CREATE TABLE app.t (id bigint PRIMARY KEY, due timestamptz, ended bigint, kind varchar(10), family int, tags text[]);
             CREATE INDEX ON app.t (due, id); CREATE INDEX ON app.t (ended, id); CREATE INDEX ON app.t (family);
             INSERT INTO app.t SELECT n, now() + (n - 20) * interval '2 days', NULL,
                 CASE WHEN n % 2 = 0 THEN 'go' ELSE 'stay' END, n, '{a}' FROM generate_series(0, 99) AS n;
             CREATE TABLE app.h (id text PRIMARY KEY, due timestamp); CREATE INDEX ON app.h (due, id);
             INSERT INTO app.h SELECT id, due AT TIME ZONE 'UTC' FROM app.t;
             CREATE TABLE app.child (id bigint PRIMARY KEY, of text REFERENCES app.h ON DELETE CASCADE);
             CREATE INDEX ON app.child (of); INSERT INTO app.child SELECT n, n FROM generate_series(0, 99) AS n;
             GRANT SELECT, DELETE, UPDATE ON app.t, app.h, app.child TO session_reaper",
        )
        .await;
    database
}

/// A configuration that uses every kind of statement: a condition, a group, children, both scan
/// orders, and two reasons of different types.
const CONFIG: &str = r#"
preset = "auth-api"
[[target]]
table = "app.t"
where = "t.kind::text <> 'never' AND t.kind NOT IN ('never', 'always') AND 'a' = ANY (t.tags) AND NOT EXISTS (SELECT FROM app.child c WHERE c.id = t.id + 1000 OFFSET 0)"
group = "family"
order = "index"
chunk = 5
due = [{ reason = "old", column = "due", keep = "1d" }, { reason = "ended", column = "ended", keep = "1d", unit = "s" }]
[[target]]
table = "app.h"
order = "heap"
children = [{ table = "app.child", column = "of" }]
due = [{ reason = "old", column = "due", keep = "1d", zone = "UTC" }]
"#;

async fn command(url: &str, args: &[&str]) -> (Option<i32>, Program) {
    command_with(url, CONFIG, args).await
}

async fn command_with(url: &str, config: &str, args: &[&str]) -> (Option<i32>, Program) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let env = [
        ("DATABASE_URL", url),
        ("REAPER_CONFIG", file.path().to_str().unwrap()),
        // Without the privilege to see other sessions, a run would throttle.
        ("MAX_ACTIVE_BACKENDS", if url.contains("role") { "" } else { "1000" }),
        ("WAIT_FOR_VACUUM", "on"),
        ("THROTTLE_QUERY", "SELECT OPERATOR(pg_catalog.-) 1"),
    ];
    Program::run(binary("session-reaper"), args, &env).await
}

/// Runs every command that connects to the database, and a daemon with its status page.
async fn all_commands(database: &Database, url: &str, config: &str) {
    for args in [
        &["check"] as &[&str],
        &["plan", "--sql"],
        &["pause", "--for", "1m"],
        &["status"],
        &["resume"],
        &["run", "--output", "json"],
        &["run"],
        &["status", "--output", "json"],
    ] {
        let (code, program) = command_with(url, config, args).await;
        assert_eq!(code, Some(0), "{args:?}: {}{}", program.stdout(), program.stderr());
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let env =
        [("DATABASE_URL", url), ("REAPER_CONFIG", file.path().to_str().unwrap()), EVERY_SECOND];
    let mut daemon = start_reaper(database, &["daemon"], &env);
    let address = daemon.log_event("listening").await["ops"].as_str().unwrap().to_owned();
    daemon.log_event("run_ended").await;
    let shown: Value =
        reqwest::get(format!("http://{address}/status.json")).await.unwrap().json().await.unwrap();
    assert_eq!(shown["database"]["reachable"], true, "{shown}");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().await.code(), Some(0), "{}", daemon.stderr());
}

#[tokio::test]
async fn planted_operator_is_never_called() {
    let database = with_tables().await;
    // As in CVE-2018-1058: pg_catalog has no operator for exactly these types, so the planted one
    // would be the best match.
    database
        .execute(
            "CREATE TABLE public.called (who text, what text); GRANT INSERT ON public.called TO PUBLIC;
             GRANT CREATE ON SCHEMA public TO auth_api; SET ROLE auth_api;
             CREATE FUNCTION public.pwn(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN
                 IF current_user = 'session_reaper' THEN DELETE FROM app.t; END IF;
                 INSERT INTO public.called VALUES (current_user, 'oid = regclass'); RETURN $1 OPERATOR(pg_catalog.=) $2::oid; END $f$;
             CREATE OPERATOR public.= (leftarg = oid, rightarg = regclass, function = public.pwn);
             CREATE FUNCTION public.pwn(oid, integer) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN
                 INSERT INTO public.called VALUES (current_user, 'oid = int'); RETURN $1 OPERATOR(pg_catalog.=) $2::oid; END $f$;
             CREATE OPERATOR public.= (leftarg = oid, rightarg = integer, function = public.pwn);
             CREATE FUNCTION public.unnest(int2[]) RETURNS SETOF int2 LANGUAGE plpgsql AS $f$ BEGIN
                 INSERT INTO public.called VALUES (current_user, 'unnest'); END $f$;
             RESET ROLE",
        )
        .await;
    all_commands(&database, &database.url_as("session_reaper"), CONFIG).await;
    let called: Vec<String> =
        database.one("SELECT coalesce(array_agg(DISTINCT what), '{}') FROM public.called").await;
    assert_eq!(called, Vec::<String>::new());
    assert_eq!(database.one::<i64>("SELECT count(*) FROM app.t").await, 80, "live rows are kept");
}

#[tokio::test]
async fn history_table_of_another_owner_is_not_used() {
    let database = with_tables().await;
    let name = database.name();
    database
        .execute(&format!(
            "CREATE TABLE public.called (who text); GRANT INSERT ON public.called TO PUBLIC;
             CREATE TABLE app.reaper_runs (LIKE public.reaper_runs INCLUDING ALL);
             GRANT USAGE, CREATE ON SCHEMA app TO auth_api; ALTER TABLE app.reaper_runs OWNER TO auth_api; SET ROLE auth_api;
             CREATE TABLE app.__diesel_schema_migrations (version text PRIMARY KEY, run_on timestamp DEFAULT now());
             GRANT ALL ON app.reaper_runs, app.__diesel_schema_migrations TO PUBLIC;
             CREATE FUNCTION app.pwn() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
                 INSERT INTO public.called VALUES (current_user); RETURN NEW; END $f$;
             CREATE TRIGGER pwn BEFORE INSERT OR UPDATE ON app.reaper_runs FOR EACH ROW EXECUTE FUNCTION app.pwn();
             CREATE TRIGGER pwn BEFORE INSERT ON app.__diesel_schema_migrations FOR EACH ROW EXECUTE FUNCTION app.pwn();
             RESET ROLE; ALTER DATABASE {name} SET search_path = app, public"
        ))
        .await;
    let url = database.url();
    for (args, expected) in [
        (&["check", "--output", "json"] as &[&str], 65),
        (&["run", "--output", "json"], 65),
        (&["pause"], 65),
        (&["resume"], 65),
        (&["plan"], 65),
        (&["status"], 0),
        (&["migrate"], 1),
    ] {
        let (code, program) = command(&url, args).await;
        assert_eq!(code, Some(expected), "{args:?}: {}{}", program.stdout(), program.stderr());
        if args[0] == "check" {
            let checked: Value = serde_json::from_str(&program.stdout()).unwrap();
            let codes = |level: &str| -> Vec<String> {
                let findings = checked["server"]["findings"].as_array().unwrap().iter();
                let of_level = findings.filter(|finding| finding["level"] == level);
                of_level.map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
            };
            assert_eq!(codes("unsafe"), ["foreign-history"], "{checked}");
            assert_eq!(codes("warning"), ["open-schema"], "{checked}");
        }
    }
    assert_eq!(database.one::<i64>("SELECT count(*) FROM public.called").await, 0);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM app.t").await, 100, "nothing was deleted");

    // The owner of a target can run triggers with the reaper's privileges in any case, so this role
    // may also own the run history.
    database
        .execute("DROP TRIGGER pwn ON app.reaper_runs; ALTER TABLE app.t OWNER TO auth_api")
        .await;
    let (code, program) = command(&url, &["run", "--output", "json"]).await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    assert_eq!(database.one::<i64>("SELECT count(*) FROM app.reaper_runs").await, 1);
}

#[tokio::test]
async fn foreign_trigger_and_open_schema_are_warnings() {
    let database = with_tables().await;
    database
        .execute(
            "GRANT CREATE ON SCHEMA public TO auth_api, PUBLIC; GRANT TRIGGER ON app.t TO auth_api; GRANT USAGE ON SCHEMA app TO auth_api;
             SET ROLE auth_api;
             CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
             CREATE TRIGGER note AFTER DELETE ON app.t FOR EACH ROW EXECUTE FUNCTION public.note();
             RESET ROLE",
        )
        .await;
    let (code, program) = command(&database.url(), &["check", "--output", "json"]).await;
    assert_eq!(code, Some(0), "{}", program.stdout());
    let checked: Value = serde_json::from_str(&program.stdout()).unwrap();
    let server = &checked["server"]["findings"][0];
    assert_eq!(
        (&server["level"], &server["code"]),
        (&"warning".into(), &"open-schema".into()),
        "{checked}"
    );
    assert_eq!(server["remedy"], "REVOKE CREATE ON SCHEMA public FROM PUBLIC, auth_api");
    let target = checked["targets"]
        .as_array()
        .unwrap()
        .iter()
        .find(|target| target["target"] == "app.t")
        .unwrap();
    let found = target["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["code"] == "foreign-trigger");
    assert_eq!(found.unwrap()["level"], "warning", "{target}");
}

/// A schema with a copy of every function, operator, type and relation of `pg_catalog`, and of
/// every table in `public`. If a search path starts with this schema, each unqualified name refers
/// to a copy.
const PLANTED: &str = include_str!("../hostile/planted.sql");

#[tokio::test]
async fn every_statement_qualifies_all_names() {
    let database = with_tables().await;
    let (proxy, url) = Proxy::before(&database.url()).await;
    assert_eq!(command(&url, &["migrate"]).await.0, Some(0));
    all_commands(&database, &url, CONFIG).await;
    let client = database.client().await;
    client.batch_execute(PLANTED).await.unwrap();
    // The check detects unqualified names.
    let left =
        "SELECT now(), nullif(1, 2), 'x'::text FROM pg_class c WHERE c.relname IN ('a', 'b')";
    let left = unqualified_names(&client, left, &[]).await;
    assert_eq!(left.len(), 5, "{left:?}");
    let mut found = BTreeSet::new();
    let mut statements = 0;
    for statement in proxy.statements() {
        for sql in split(&statement.text) {
            let Some(sql) = analyzed(&sql) else { continue };
            statements += 1;
            for name in unqualified_names(&client, sql, &statement.types).await {
                found.insert(format!("{name}\n    in {sql}"));
            }
        }
    }
    assert!(statements > 60, "{statements}");
    assert!(
        found.is_empty(),
        "{} unqualified names in {statements} statements\n{}",
        found.len(),
        found.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[tokio::test]
async fn planted_objects_are_never_called() {
    let database = with_tables().await;
    database.execute(PLANTED).await;
    let name = database.name();
    // Unqualified tables in a configuration are looked up on the search path, so the planted views
    // with the names of these tables are dropped.
    let tables = "DO $$ DECLARE r record; BEGIN
        FOR r IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') LOOP
            EXECUTE format('DROP VIEW planted.%I', r.relname);
        END LOOP; END $$";
    database.execute(tables).await;
    database
        .execute(&format!(
            "ALTER DATABASE {name} SET search_path = planted, pg_catalog, public, app"
        ))
        .await;
    // A condition is resolved on the search path, so it would call planted objects.
    let without_condition: Vec<&str> =
        CONFIG.lines().filter(|line| !line.starts_with("where")).collect();
    all_commands(&database, &database.url(), &without_condition.join("\n")).await;
    assert_eq!(database.one::<i64>("SELECT pg_catalog.count(*) FROM app.t").await, 80);
}

/// Splits a message into statements. Semicolons in quoted strings and quoted names do not end a
/// statement.
fn split(message: &str) -> Vec<String> {
    let (mut statements, mut quote) = (vec![String::new()], None);
    let without_comments = message.lines().filter(|line| !line.trim_start().starts_with("--"));
    for c in without_comments.flat_map(|line| line.chars().chain(['\n'])) {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == ';' => {
                statements.push(String::new());
                continue;
            }
            _ => {}
        }
        statements.last_mut().unwrap().push(c);
    }
    statements.retain(|statement| !statement.trim().is_empty());
    statements
}

/// Returns the part of a statement to analyze. Returns `None` if the statement contains no
/// expression or is not one of the reaper's own statements.
fn analyzed(sql: &str) -> Option<&str> {
    let sql = sql.trim();
    let sql = sql
        .strip_prefix("EXPLAIN (")
        .and_then(|rest| rest.split_once(") "))
        .map_or(sql, |(_, rest)| rest);
    let sql = sql
        .strip_prefix("PREPARE ")
        .and_then(|rest| rest.split_once(" AS "))
        .map_or(sql, |(_, rest)| rest);
    let first = sql.split_whitespace().next().unwrap_or_default();
    match first {
        "SELECT" | "WITH" | "INSERT" | "UPDATE" | "DELETE" => {}
        // The configured condition, which is resolved on the search path.
        "CREATE" if sql.starts_with("CREATE TEMPORARY VIEW session_reaper_") => return None,
        // Statements of migrations, which write only to tables whose owner was checked before.
        "CREATE" | "COMMENT" | "ALTER" => return None,
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" | "RELEASE" | "SAVEPOINT" | "SET" | "RESET"
        | "DISCARD" | "LOCK" | "EXECUTE" | "DEALLOCATE" => {
            return None;
        }
        _ => panic!("unexpected statement: {sql}"),
    }
    // Statements of Diesel, on a table whose owner was checked.
    (!sql.contains("__diesel_schema_migrations")).then_some(sql)
}

/// Returns the objects that the server found through the search path for a statement. The server
/// records that a function with the statement as its body depends on these objects.
async fn unqualified_names(client: &Client, sql: &str, types: &[u32]) -> Vec<String> {
    const NAMES: &str = "SELECT coalesce(string_agg(format('%I.%I', n.nspname, y.typname), ', ' ORDER BY i), '')
        FROM unnest($1::oid[]) WITH ORDINALITY AS of (oid, i) JOIN pg_type y ON y.oid = of.oid JOIN pg_namespace n ON n.oid = y.typnamespace";
    client.batch_execute("RESET search_path").await.unwrap();
    let types = if types.contains(&0) || types.is_empty() && sql.contains("$1") {
        let prepared = client.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
        prepared.params().iter().map(tokio_postgres::types::Type::oid).collect()
    } else {
        types.to_vec()
    };
    let arguments: String = client.query_one(NAMES, &[&types]).await.unwrap().get(0);
    client.batch_execute("SET search_path = planted, pg_catalog, public, app").await.unwrap();
    let body = format!(
        "CREATE FUNCTION public.statement({arguments}) RETURNS pg_catalog.void LANGUAGE sql BEGIN ATOMIC {sql}; END"
    );
    let created = client.batch_execute(&body).await;
    client.batch_execute("RESET search_path").await.unwrap();
    if let Err(error) = created {
        return vec![format!("cannot be analyzed: {error:?}")];
    }
    let rows = client
        .query(
            "SELECT DISTINCT pg_describe_object(d.refclassid, d.refobjid, 0) FROM pg_depend d
             JOIN pg_proc f ON f.oid = d.objid AND d.classid = 'pg_proc'::regclass AND f.proname = 'statement'
             WHERE EXISTS (SELECT FROM pg_depend p WHERE p.classid = d.refclassid AND p.objid = d.refobjid
                               AND p.refclassid = 'pg_namespace'::regclass AND p.refobjid = 'planted'::regnamespace)
                 OR d.refobjid BETWEEN 1000000000 AND 1000100000",
            &[],
        )
        .await
        .unwrap();
    client.batch_execute("DROP FUNCTION public.statement").await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
