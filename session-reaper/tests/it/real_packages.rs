//! Presets on tables and sessions that the real packages from `npm`, `PyPI` and `crates.io` create:
//! see `tests/packages/`. `deploy/local/real-packages` installs the packages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use crate::preset_tables as tables;

use std::path::PathBuf;

use serde_json::{Map, Value};
use tables::{Case, as_written, deletes_exactly_the_due_rows, indexed, reap_by};
use testkit::{Database, Program, binary};

/// A program in `tests/packages/` that uses the package as an application does.
struct Package {
    program: PathBuf,
    args: Vec<String>,
    env: Vec<(&'static str, String)>,
}

/// Returns the path at which `deploy/local/real-packages` has installed a package.
fn installed(path: &str) -> PathBuf {
    let directory =
        std::env::var("REAL_PACKAGES").expect("REAL_PACKAGES is not set: run `make test`");
    PathBuf::from(directory).join(path)
}

fn source(path: &str) -> String {
    format!("{}/tests/packages/{path}", env!("CARGO_MANIFEST_DIR"))
}

impl Package {
    fn connect_pg_simple() -> Self {
        let modules = installed("connect-pg-simple/node_modules");
        Self {
            program: "node".into(),
            args: vec![source("connect-pg-simple/sessions.js")],
            env: vec![("NODE_PATH", modules.to_str().unwrap().to_owned())],
        }
    }

    fn django() -> Self {
        let program = installed("django/venv/bin/python");
        Self { program, args: vec![source("django/sessions.py")], env: Vec::new() }
    }

    fn tower_sessions() -> Self {
        let program = installed("tower-sessions/debug/tower-sessions-for-tests");
        Self { program, args: Vec::new(), env: Vec::new() }
    }

    async fn run(&self, database: &Database, command: &str, words: &[&str]) -> Map<String, Value> {
        let url = database.url();
        let mut args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        args.push(command);
        args.extend(words);
        let mut env = vec![("DATABASE_URL", url.as_str())];
        env.extend(self.env.iter().map(|(name, value)| (*name, value.as_str())));
        let (code, program) = Program::run(&self.program, &args, &env).await;
        assert_eq!(code, Some(0), "{}", program.stderr());
        serde_json::from_str(&program.stdout()).unwrap()
    }
}

/// Returns a description of a table's columns and indexes.
async fn described(database: &Database, schema: &str, table: &str) -> String {
    let sql = format!(
        "SELECT (SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
                                             (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef
                                              WHERE adrelid = attrelid AND adnum = attnum)), E'\n' ORDER BY attnum)
                 FROM pg_attribute WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped)
             || E'\n' || (SELECT string_agg(pg_get_indexdef(indexrelid), E'\n' ORDER BY indexrelid::regclass::text)
                          FROM pg_index WHERE indrelid = t.oid)
         FROM (SELECT '{schema}.{table}'::regclass AS oid) AS t"
    );
    database.one(&sql).await
}

/// Lets the package create its tables and four sessions, inserts 50,000 more rows with SQL, and
/// runs the preset. The tables must equal the tables in `tests/presets/`. Asserts that exactly the
/// due rows are deleted, and that the package can read the same sessions as without the reaper.
async fn package_keeps_every_readable_session(package: Package, case: Case, key: &str) {
    let database = Database::empty().await;
    // Times without a zone are in the server's time zone.
    database.execute(&format!("ALTER DATABASE {} SET TimeZone = 'UTC'", database.name())).await;
    let hours = ["-72", "-2", "2", "72"];
    let made = package.run(&database, "make", &hours).await;
    let ids = hours.map(|hours| made[hours].as_str().unwrap());
    let (schema, table) = case.tables[0];
    let written = as_written(case.preset).await;
    assert_eq!(described(&database, schema, table).await, described(&written, schema, table).await);
    indexed(&database, case.preset).await;
    let list = ids.map(|id| format!("'{id}'")).join(", ");
    let there = format!("SELECT count(*) FROM {schema}.{table} WHERE {key}::text IN ({list})");
    assert_eq!(database.one::<i64>(&there).await, 4);

    deletes_exactly_the_due_rows(&database, case).await;

    let known = package.run(&database, "read", &ids).await;
    assert_eq!(ids.map(|id| known[id].as_str()), [None, None, Some("2"), Some("72")]);
    assert_eq!(
        database.one::<i64>(&there).await,
        3,
        "the session that expired two hours ago is kept for a day"
    );
    let newest = package.run(&database, "make", &["1"]).await;
    let newest = newest["1"].as_str().unwrap();
    assert_eq!(package.run(&database, "read", &[newest]).await[newest], "1");
}

#[tokio::test]
async fn connect_pg_simple_keeps_every_readable_session() {
    let case = Case {
        preset: "connect-pg-simple",
        tables: &[("public", "session")],
        columns: &[],
        due: "DELETE FROM session WHERE expire < :utc - interval '1 day'",
    };
    package_keeps_every_readable_session(Package::connect_pg_simple(), case, "sid").await;
}

#[tokio::test]
async fn django_keeps_every_readable_session() {
    let case = Case {
        preset: "django",
        tables: &[("public", "django_session")],
        columns: &[],
        due: "DELETE FROM django_session WHERE expire_date < :now - interval '1 day'",
    };
    package_keeps_every_readable_session(Package::django(), case, "session_key").await;
}

#[tokio::test]
async fn tower_sessions_keeps_every_readable_session() {
    let case = Case {
        preset: "tower-sessions",
        tables: &[("tower_sessions", "session")],
        columns: &[],
        due: "DELETE FROM session WHERE expiry_date < :now - interval '1 day'",
    };
    package_keeps_every_readable_session(Package::tower_sessions(), case, "id").await;
}

/// Returns the exit code of `check`, and its unsafe findings on the tables that a package created.
async fn checked(database: &Database, preset: &str) -> (Option<i32>, Vec<Value>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("preset = {preset:?}")).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap());
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path)];
    let (code, program) =
        Program::run(binary("session-reaper"), &["check", "--output", "json"], &env).await;
    let found: Value =
        serde_json::from_str(&program.stdout()).unwrap_or_else(|_| panic!("{}", program.stderr()));
    let findings = found["targets"][0]["findings"].as_array().unwrap();
    (code, findings.iter().filter(|finding| finding["level"] == "unsafe").cloned().collect())
}

#[tokio::test]
async fn connect_pg_simple_and_django_tables_are_safe() {
    for (package, preset) in
        [(Package::connect_pg_simple(), "connect-pg-simple"), (Package::django(), "django")]
    {
        let database = Database::empty().await;
        package.run(&database, "make", &["1"]).await;
        assert_eq!(checked(&database, preset).await, (Some(0), Vec::new()), "{preset}");
    }
}

#[tokio::test]
async fn tower_sessions_is_refused_until_its_index_is_created() {
    let database = Database::empty().await;
    Package::tower_sessions().run(&database, "make", &["-72", "1"]).await;
    let (code, found) = checked(&database, "tower-sessions").await;
    assert_eq!((code, found.len()), (Some(65), 1), "{found:?}");
    assert_eq!(found[0]["code"], "no-index");
    let remedy = found[0]["remedy"].as_str().unwrap();

    let preset = "preset = 'tower-sessions'";
    let refused = reap_by(&database, preset).await;
    assert_eq!(refused.code, Some(65), "{}", refused.stderr);
    let why = refused.target("tower_sessions.session")["why"].as_str().unwrap();
    assert!(why.contains(remedy) && remedy.starts_with("CREATE INDEX CONCURRENTLY "), "{why}");
    assert_eq!(database.one::<i64>("SELECT count(*) FROM tower_sessions.session").await, 2);

    database.execute(remedy).await;
    assert_eq!(checked(&database, "tower-sessions").await, (Some(0), Vec::new()));
    let run = reap_by(&database, preset).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("tower_sessions.session")["deleted"]["expired"], 1);
}
