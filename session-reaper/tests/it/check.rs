//! The `check` command and the preflight checks of each run. An unsafe target is reported with the
//! statement that fixes it, and a run skips it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use serde_json::Value;
use testkit::{Database, Program, Reaped, binary, expired_sessions, reaped, start_reaper};

/// The target `t`, with the columns id and due.
const T: &str =
    "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due', keep = '1d' }]\n";

/// Twenty thousand rows, a tenth of them due.
const ROWS: &str =
    "INSERT INTO t (id, due) SELECT n, now() + (n - 2000) * interval '1 hour' - interval '1 day'
                    FROM generate_series(1, 20000) AS n";

/// Creates a database with the table `t`, and executes the statements in `sql`, which are separated
/// by `;;`.
async fn with_t(columns: &str, sql: &str) -> Database {
    let database = Database::empty().await;
    database
        .execute(&format!("CREATE TABLE t (id bigint PRIMARY KEY, due timestamptz {columns})"))
        .await;
    // The statements are executed one at a time, because some of them cannot run in a transaction.
    let client = database.client().await;
    for statement in sql.split(";;") {
        client
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    database
}

async fn check_with(url: &str, config: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let mut all = vec!["check"];
    all.extend_from_slice(args);
    let env = [("DATABASE_URL", url), ("REAPER_CONFIG", file.path().to_str().unwrap())];
    let (code, program) = Program::run(binary("session-reaper"), &all, &env).await;
    (code, program.stdout(), program.stderr())
}

/// Returns the exit code and the report on the first target.
async fn check_as(url: &str, config: &str) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = check_with(url, config, &["--output", "json"]).await;
    let found: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
    assert_eq!(found["safe"] == true, code == Some(0), "{found}");
    (code, found["targets"][0].clone())
}

async fn check(database: &Database, config: &str) -> (Option<i32>, Value) {
    check_as(&database.url(), config).await
}

/// Returns all findings of one level, as `code: what → remedy`.
fn findings_at(target: &Value, level: &str) -> Vec<String> {
    let findings =
        target["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == level);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings
        .map(|finding| {
            format!(
                "{}: {} → {}",
                text(&finding["code"]),
                text(&finding["what"]),
                text(&finding["remedy"])
            )
        })
        .collect()
}

/// Asserts that there are exactly the expected unsafe findings. Each expected finding is a list of
/// texts, all of which the finding must contain.
async fn is_unsafe(database: &Database, config: &str, expected: &[&[&str]]) {
    let (code, target) = check(database, config).await;
    assert_eq!(code, Some(65), "{target}");
    let found = findings_at(&target, "unsafe");
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, parts) in found.iter().zip(expected) {
        for part in *parts {
            assert!(found.contains(part), "{part}\n{found}");
        }
    }
}

async fn is_safe(database: &Database, config: &str) -> Value {
    let (code, target) = check(database, config).await;
    assert_eq!((code, findings_at(&target, "unsafe")), (Some(0), Vec::new()), "{target}");
    target
}

async fn run_with(database: &Database, config: &str, args: &[&str]) -> Reaped {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, mut all) = (database.url(), vec!["run", "--output", "json"]);
    all.extend_from_slice(args);
    let env = [("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", file.path().to_str().unwrap())];
    reaped(start_reaper(database, &all, &env)).await
}

#[tokio::test]
async fn auth_api_tables_are_safe_for_the_session_reaper_role() {
    let database = Database::create().await;
    expired_sessions(&database, 20_000).await;
    database.execute("ANALYZE").await;
    let url = database.url_as("session_reaper");
    let (code, stdout, stderr) =
        check_with(&url, "preset = 'auth-api'", &["--output", "json"]).await;
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    let found: Value = serde_json::from_str(&stdout).unwrap();
    let names: Vec<&Value> =
        found["targets"].as_array().unwrap().iter().map(|target| &target["target"]).collect();
    assert_eq!(names, ["sessions", "consumed_challenges", "reaper_runs"]);
    assert_eq!(found["server"]["safe"], true);
    for target in found["targets"].as_array().unwrap() {
        assert!(findings_at(target, "warning").is_empty(), "{target}");
    }
    // The only note is about the table to which deletions cascade. There is no note about excess
    // privileges.
    let notes = findings_at(&found["targets"][0], "note");
    assert!(notes.len() == 1 && notes[0].starts_with("cascade: "), "{notes:?}");
    assert!(notes[0].contains("public.token_families"), "{notes:?}");
}

#[tokio::test]
async fn json_report_has_members_in_documented_order() {
    let database = with_t("", "CREATE INDEX ON t (due)").await;
    let (code, stdout, _) = check_with(&database.url(), T, &["--output", "json"]).await;
    assert_eq!(code, Some(0), "{stdout}");
    let head = r#"{"safe":true,"server":{"safe":true,"findings":[]},"targets":[{"target":"t","table":"t","safe":true,"findings":[{"level":"note","code":"spare-privilege","what":""#;
    assert!(stdout.starts_with(head), "{stdout}");
    assert!(stdout.contains(r#""remedy":"use a role of its own: GRANT USAGE ON SCHEMA public TO session_reaper; GRANT SELECT (ctid, tableoid, due, id), DELETE, UPDATE (due) ON public.t TO session_reaper"}]}"#), "{stdout}");
}

#[tokio::test]
async fn text_report_contains_the_fix() {
    let database = with_t("", "").await;
    let (code, stdout, _) = check_with(&database.url(), T, &[]).await;
    assert_eq!(code, Some(65));
    let head = "t: unsafe\n  UNSAFE   no-index: public.t has no index that begins with due: each chunk would read the whole table\n           → CREATE INDEX CONCURRENTLY ON public.t (due, id)\n";
    assert!(stdout.starts_with(head), "{stdout}");
    assert!(stdout.ends_with("\nunsafe: 1 of 1 targets would be skipped\n"), "{stdout}");
}

#[tokio::test]
async fn invalid_target_is_unsafe_and_suggests_the_nearest_name() {
    let database = with_t(
        ", note text, small integer",
        "CREATE INDEX ON t (due);; CREATE VIEW seen AS TABLE t",
    )
    .await;
    for (config, parts) in [
        (T.replace("'t'", "'tt'"), ["there is no table", "did you mean public.t?"]),
        (T.replace("'due'", "'deu'"), ["unfit: ", "did you mean due?"]),
        (T.replace("'due'", "'note'"), ["unfit: ", "note is text: a due column is"]),
        (T.replace("'t'", "'seen'"), ["unfit: ", "seen is a view"]),
        // The time of the run minus the retention does not fit in the column.
        (
            T.replace("'due',", "'small', unit = 'ms',"),
            ["unfit: ", "small is integer, which has no room for such a time"],
        ),
        (format!("{T}where = 't.nothing'"), ["condition-refused: ", "nothing"]),
        (format!("{T}where = '1 / 0 = t.id'"), ["condition-refused: ", "division by zero"]),
        (format!("{T}where = 'EXISTS (SELECT FROM nowhere)'"), ["condition-refused: ", "nowhere"]),
    ] {
        is_unsafe(&database, &config, &[&parts]).await;
    }
}

#[tokio::test]
async fn due_column_needs_an_index_at_any_table_size() {
    let database = with_t("", "CREATE INDEX mine ON t (due, id)").await;
    is_safe(&database, T).await;
    database.execute("DROP INDEX mine").await;
    let create = "CREATE INDEX CONCURRENTLY ON public.t (due, id)";
    is_unsafe(&database, T, &[&["no-index: public.t has no index that begins with due", create]])
        .await;
    for (index, why) in [
        ("ON t (id, due)", "in public.mine it is not the first column"),
        ("ON t USING brin (due)", "public.mine is of the kind brin"),
        ("ON t USING hash (due)", "public.mine is of the kind hash"),
        // ORDER BY due puts nulls last, so the rows would have to be sorted.
        ("ON t (due NULLS FIRST)", "public.mine has nulls where ORDER BY has not"),
        ("ON t (due DESC NULLS LAST)", "public.mine has nulls where ORDER BY has not"),
    ] {
        database.execute(&format!("CREATE INDEX mine {index}")).await;
        is_unsafe(&database, T, &[&["no-index: ", why, create]]).await;
        database.execute("DROP INDEX mine").await;
    }
}

#[tokio::test]
async fn descending_and_not_null_indexes_are_accepted() {
    for index in ["(due DESC)", "(due DESC NULLS FIRST, id)", "(due) WHERE due IS NOT NULL"] {
        let database = with_t("", &format!("CREATE INDEX ON t {index};; {ROWS};; ANALYZE t")).await;
        is_safe(&database, T).await;
        // A run confirms the result.
        let run = run_with(&database, T, &[]).await;
        assert_eq!(
            (run.code, &run.target("t")["deleted"]["old"]),
            (Some(0), &2000.into()),
            "{}",
            run.stderr
        );
    }
}

#[tokio::test]
async fn partial_index_that_misses_due_rows_is_unsafe() {
    let database = with_t(", kind text", "CREATE INDEX mine ON t (due) WHERE kind = 'a'").await;
    let expected = [
        "partial-index: the index public.mine on public.t (due) is partial",
        "kind = 'a'",
        "CREATE INDEX CONCURRENTLY ON public.t (due, id)",
    ];
    is_unsafe(&database, T, &[&expected]).await;
    // The target's `where` does not help: key ranges are determined without it, so the due column
    // alone must imply the predicate of the index.
    is_unsafe(&database, &format!("{T}where = \"t.kind = 'a'\""), &[&expected]).await;
    database
        .execute("DROP INDEX mine; CREATE INDEX mine ON t (due) WHERE due > '2020-01-01'")
        .await;
    is_unsafe(&database, T, &[&["partial-index: "]]).await;
    // Until 2100, this index contains every due row, and PostgreSQL can prove that.
    database
        .execute("DROP INDEX mine; CREATE INDEX mine ON t (due) WHERE due < '2100-01-01'")
        .await;
    is_safe(&database, T).await;
}

#[tokio::test]
async fn invalid_index_is_reported_with_the_fix() {
    let database = with_t("", "INSERT INTO t VALUES (1, '2020-01-01'), (2, '2020-01-01')").await;
    let client = database.client().await;
    client.batch_execute("CREATE UNIQUE INDEX CONCURRENTLY mine ON t (due)").await.unwrap_err();
    let expected = [
        "invalid-index: the index public.mine on public.t (due) is invalid",
        "DROP INDEX CONCURRENTLY public.mine; CREATE INDEX CONCURRENTLY ON public.t (due, id)",
    ];
    is_unsafe(&database, T, &[&expected]).await;
    let remedy = expected[1];
    for statement in remedy.split("; ") {
        client.batch_execute(statement).await.unwrap();
    }
    is_safe(&database, T).await;
}

#[tokio::test]
async fn group_column_needs_its_own_index() {
    let config = format!("{T}group = 'fam'");
    let database = with_t(", fam text", "CREATE INDEX ON t (due, id)").await;
    let create = "CREATE INDEX CONCURRENTLY ON public.t (fam)";
    is_unsafe(
        &database,
        &config,
        &[&["group-not-indexed: public.t has no index that begins with fam", create]],
    )
    .await;
    database.execute("CREATE INDEX mine ON t (fam) WHERE fam <> ''").await;
    is_unsafe(&database, &config, &[&["group-not-indexed: "]]).await;
    database.execute("DROP INDEX mine; CREATE INDEX mine ON t (fam) WHERE fam IS NOT NULL").await;
    is_safe(&database, &config).await;
}

#[tokio::test]
async fn referencing_foreign_key_needs_an_index() {
    let database = with_t(
        "",
        "CREATE INDEX ON t (due, id);;
         CREATE TABLE \"Child\" (id int PRIMARY KEY, t_id bigint CONSTRAINT mine REFERENCES t ON DELETE CASCADE)",
    )
    .await;
    let expected = [
        "foreign-key-not-indexed: the foreign key mine of public.\"Child\" points at public.t",
        "CREATE INDEX CONCURRENTLY ON public.\"Child\" (t_id)",
    ];
    // Both tables are empty: the index is required at any size.
    is_unsafe(&database, T, &[&expected]).await;
    for (index, good) in [
        ("(id, t_id)", false),
        ("(t_id) WHERE id > 0", false),
        ("(t_id) WHERE t_id IS NOT NULL", true),
        ("USING hash (t_id)", true),
        ("(t_id DESC, id)", true),
    ] {
        database.execute(&format!("CREATE INDEX other ON \"Child\" {index}")).await;
        if good {
            let target = is_safe(&database, T).await;
            let notes = findings_at(&target, "note");
            assert!(
                notes
                    .iter()
                    .any(|note| note.starts_with("cascade: ") && note.contains("public.\"Child\"")),
                "{target}"
            );
        } else {
            is_unsafe(&database, T, &[&expected]).await;
        }
        database.execute("DROP INDEX other").await;
    }
    // An invalid index does not count.
    database
        .execute("INSERT INTO t VALUES (1, now()); INSERT INTO \"Child\" VALUES (1, 1), (2, 1)")
        .await;
    let client = database.client().await;
    client
        .batch_execute("CREATE UNIQUE INDEX CONCURRENTLY other ON \"Child\" (t_id)")
        .await
        .unwrap_err();
    is_unsafe(
        &database,
        T,
        &[&["public.other is invalid", "DROP INDEX CONCURRENTLY public.other; CREATE INDEX"]],
    )
    .await;
}

#[tokio::test]
async fn cascades_and_self_references_are_followed() {
    let database = with_t(
        ", parent bigint REFERENCES t ON DELETE SET NULL",
        "CREATE INDEX ON t (due, id);;
         CREATE TABLE a (id int PRIMARY KEY, t_id bigint REFERENCES t ON DELETE CASCADE);; CREATE INDEX ON a (t_id);;
         CREATE TABLE b (a_id int REFERENCES a);;
         CREATE TABLE c (x int, y int, UNIQUE (x, y));;
         CREATE TABLE d (id bigint, due timestamptz)",
    )
    .await;
    let own =
        ["the foreign key t_parent_fkey of public.t points at public.t", "ON public.t (parent)"];
    let further =
        ["the foreign key b_a_id_fkey of public.b points at public.a", "ON public.b (a_id)"];
    is_unsafe(&database, T, &[&further, &own]).await;
    database.execute("CREATE INDEX ON t (parent); CREATE INDEX ON b (a_id)").await;
    let target = is_safe(&database, T).await;
    let warnings = findings_at(&target, "warning");
    assert!(
        warnings.len() == 1
            && warnings[0].starts_with("foreign-key-holds: public.b (a_id) refers to public.a"),
        "{warnings:?}"
    );
    assert_eq!(
        findings_at(&target, "note").iter().filter(|note| note.starts_with("cascade: ")).count(),
        2,
        "{target}"
    );
}

#[tokio::test]
async fn multicolumn_foreign_key_needs_all_columns_first_in_index() {
    let database = with_t(
        ", tenant int, UNIQUE (tenant, id)",
        "CREATE INDEX ON t (due, id);;
         CREATE TABLE a (tenant int, t_id bigint, FOREIGN KEY (tenant, t_id) REFERENCES t (tenant, id) ON DELETE CASCADE);;
         CREATE INDEX ON a (tenant)",
    )
    .await;
    is_unsafe(
        &database,
        T,
        &[&[
            "foreign-key-not-indexed: ",
            "no index begins with its tenant, t_id",
            "ON public.a (tenant, t_id)",
        ]],
    )
    .await;
    database.execute("CREATE INDEX ON a (t_id, tenant)").await;
    is_safe(&database, T).await;
}

#[tokio::test]
async fn foreign_key_of_a_partitioned_table_needs_a_full_index() {
    let database = with_t(
        "",
        "CREATE INDEX ON t (due, id);;
         CREATE TABLE a (t_id bigint REFERENCES t ON DELETE CASCADE) PARTITION BY RANGE (t_id);;
         CREATE TABLE a1 PARTITION OF a DEFAULT;; CREATE INDEX ON a1 (t_id)",
    )
    .await;
    is_unsafe(
        &database,
        T,
        &[&[
            "the foreign key a_t_id_fkey of public.a points at",
            "CREATE INDEX ON public.a (t_id)",
        ]],
    )
    .await;
    database.execute("CREATE INDEX ON a (t_id)").await;
    is_safe(&database, T).await;
}

#[tokio::test]
async fn large_cascade_is_a_warning() {
    let database = with_t(
        "",
        "CREATE INDEX ON t (due, id);; INSERT INTO t VALUES (1, now()), (2, now());;
         CREATE TABLE a (t_id bigint REFERENCES t ON DELETE CASCADE);; CREATE INDEX ON a (t_id);;
         INSERT INTO a SELECT 1 + n % 2 FROM generate_series(1, 1000) AS n;; ANALYZE t, a",
    )
    .await;
    let warnings = findings_at(&is_safe(&database, T).await, "warning");
    assert!(
        warnings.len() == 1
            && warnings[0]
                .starts_with("large-cascade: public.a has about 500 rows for each row of public.t"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].ends_with("children = [{ table = 'public.a', column = 't_id' }]"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn missing_privilege_is_reported_with_the_grant() {
    let database = Database::create().await;
    let client = database.client().await;
    client
        .batch_execute(
            "CREATE SCHEMA app; CREATE TABLE app.t (id bigint PRIMARY KEY, due timestamptz, other bigint); CREATE INDEX ON app.t (due, id);
             CREATE TABLE app.more (id bigint PRIMARY KEY)",
        )
        .await
        .unwrap();
    let config = T.replace("'t'", "'app.t'");
    let url = database.url_as("session_reaper");
    // Each step grants exactly what the finding names.
    for grant in [
        "GRANT USAGE ON SCHEMA app TO session_reaper",
        "GRANT SELECT (ctid, tableoid, due, id), DELETE, UPDATE (due) ON app.t TO session_reaper",
    ] {
        let (code, target) = check_as(&url, &config).await;
        let found = findings_at(&target, "unsafe");
        assert!(
            code == Some(65) && found.len() == 1 && found[0].starts_with("privilege-missing: "),
            "{found:?}"
        );
        assert!(found[0].ends_with(&format!(" → {grant}")), "{found:?}");
        client.batch_execute(grant).await.unwrap();
    }
    let (code, target) = check_as(&url, &config).await;
    assert_eq!((code, target["findings"].as_array().map(Vec::len)), (Some(0), Some(0)), "{target}");
    // Revoke one privilege at a time.
    for (revoke, grant) in [
        ("SELECT", "GRANT SELECT (ctid, tableoid, due, id) ON app.t TO session_reaper"),
        ("SELECT (id)", "GRANT SELECT (id) ON app.t TO session_reaper"),
        ("SELECT (ctid)", "GRANT SELECT (ctid) ON app.t TO session_reaper"),
        ("DELETE", "GRANT DELETE ON app.t TO session_reaper"),
        ("UPDATE (due)", "GRANT UPDATE (due) ON app.t TO session_reaper"),
    ] {
        client
            .batch_execute(&format!("REVOKE {revoke} ON app.t FROM session_reaper"))
            .await
            .unwrap();
        let found = findings_at(&check_as(&url, &config).await.1, "unsafe");
        assert!(found.len() == 1 && found[0].ends_with(&format!(" → {grant}")), "{found:?}");
        client.batch_execute(grant).await.unwrap();
    }
    // `where` reads another column and another table.
    let reads =
        format!("{config}where = 'EXISTS (SELECT FROM app.more m WHERE m.id = t.other OFFSET 0)'");
    let found = findings_at(&check_as(&url, &reads).await.1, "unsafe");
    let grant = "GRANT SELECT (other, xmax) ON app.t TO session_reaper; GRANT SELECT (id) ON app.more TO session_reaper";
    assert!(found.len() == 1 && found[0].ends_with(&format!(" → {grant}")), "{found:?}");
    client.batch_execute(grant).await.unwrap();
    assert_eq!(findings_at(&check_as(&url, &reads).await.1, "unsafe"), Vec::<String>::new());
    // A note reports excess privileges.
    client
        .batch_execute("GRANT INSERT, TRUNCATE, UPDATE ON app.t TO session_reaper")
        .await
        .unwrap();
    let notes = findings_at(&check_as(&url, &config).await.1, "note");
    assert!(
        notes.len() == 1
            && notes[0].contains("REVOKE INSERT, UPDATE, TRUNCATE ON app.t FROM session_reaper"),
        "{notes:?}"
    );
}

#[tokio::test]
async fn row_level_security_that_may_hide_rows_is_unsafe() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
             GRANT SELECT, DELETE, UPDATE (due) ON t TO session_reaper;
             ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON t USING (id < 100)",
        )
        .await;
    let url = database.url_as("session_reaper");
    let policy = "CREATE POLICY session_reaper ON public.t TO session_reaper USING (true)";
    let found = findings_at(&check_as(&url, T).await.1, "unsafe");
    assert!(
        found.len() == 1 && found[0].starts_with("row-security: ") && found[0].contains(policy),
        "{found:?}"
    );
    // The role can see all rows but can delete only some of them.
    database.execute(&policy.replace("session_reaper ON public.t", "reads ON t FOR SELECT")).await;
    assert_eq!(check_as(&url, T).await.0, Some(65));
    database.execute(policy).await;
    assert_eq!(check_as(&url, T).await.0, Some(0));
    database.execute("CREATE POLICY never ON t AS RESTRICTIVE USING (id > 5)").await;
    let found = findings_at(&check_as(&url, T).await.1, "unsafe");
    assert!(
        found.len() == 1 && found[0].contains("BYPASSRLS") && found[0].contains("never"),
        "{found:?}"
    );
    // A role that bypasses row-level security is safe.
    is_safe(&database, T).await;
}

#[tokio::test]
async fn delete_trigger_and_disabled_autovacuum_are_warnings() {
    let database = with_t(
        "",
        "CREATE INDEX ON t (due, id);;
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';;
         CREATE TRIGGER audit AFTER DELETE ON t FOR EACH ROW EXECUTE FUNCTION f();;
         CREATE TRIGGER off BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION f();; ALTER TABLE t DISABLE TRIGGER off;;
         CREATE TRIGGER other AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();;
         ALTER TABLE t SET (autovacuum_enabled = false)",
    )
    .await;
    let warnings = findings_at(&is_safe(&database, T).await, "warning");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("delete-trigger: triggers of public.t fire on delete: audit → "),
        "{warnings:?}"
    );
    assert!(
        warnings[1].ends_with("ALTER TABLE public.t RESET (autovacuum_enabled)"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn equal_due_times_without_a_key_in_the_index_warn() {
    let database = with_t(
        "",
        "CREATE INDEX mine ON t (due);;
         INSERT INTO t SELECT n, '2020-01-01'::timestamptz FROM generate_series(1, 20000) AS n;; ANALYZE t",
    )
    .await;
    let warnings = findings_at(&is_safe(&database, T).await, "warning");
    assert!(
        warnings.len() == 1 && warnings[0].starts_with("index-without-key: about 20000 rows"),
        "{warnings:?}"
    );
    database.execute("DROP INDEX mine; CREATE INDEX ON t (due, id)").await;
    assert_eq!(findings_at(&is_safe(&database, T).await, "warning"), Vec::<String>::new());
    database
        .execute("ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ALTER id DROP NOT NULL")
        .await;
    let warnings = findings_at(&is_safe(&database, T).await, "warning");
    assert!(warnings.len() == 1 && warnings[0].starts_with("no-key: "), "{warnings:?}");
}

#[tokio::test]
async fn condition_that_scans_a_large_table_is_unsafe() {
    let database = with_t(
        ", other bigint",
        &format!(
            "CREATE INDEX ON t (due, id);; {ROWS};; CREATE TABLE big (id bigint PRIMARY KEY, kind text);;
             INSERT INTO big SELECT n, 'x' FROM generate_series(1, 20000) AS n;; ANALYZE t, big"
        ),
    )
    .await;
    let config = |condition: &str| format!("{T}where = \"{condition}\"");
    let scan = config("EXISTS (SELECT FROM big b WHERE b.kind = 'y' OFFSET 0)");
    is_unsafe(&database, &scan, &[&["would read public.big, about 20000 rows", "OFFSET 0"]]).await;
    is_safe(&database, &config("NOT EXISTS (SELECT FROM big b WHERE b.id = t.other OFFSET 0)"))
        .await;
    // The same condition is safe if --max-scan-rows allows that many rows.
    let (code, stdout, _) = check_with(&database.url(), &scan, &["--max-scan-rows", "20000"]).await;
    assert_eq!(code, Some(0), "{stdout}");
    database
        .execute("TRUNCATE big; INSERT INTO big SELECT n, 'x' FROM generate_series(1, 5000) AS n")
        .await;
    is_safe(&database, &scan).await;
}

#[tokio::test]
async fn run_skips_an_unsafe_target_and_processes_the_others() {
    let database = with_t("", ROWS).await;
    database.execute("CREATE TABLE u (id bigint PRIMARY KEY, due timestamptz); CREATE INDEX ON u (due, id); INSERT INTO u TABLE t").await;
    let both = format!("{T}{}", T.replace("'t'", "'u'"));
    let run = run_with(&database, &both, &[]).await;
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert_eq!(run.report["outcome"], "partial");
    let (t, u) = (run.target("t"), run.target("u"));
    assert_eq!(
        (&t["outcome"], &t["deleted"]["old"], &t["chunks"]),
        (&"failed".into(), &0.into(), &0.into())
    );
    assert!(
        t["why"].as_str().unwrap().ends_with(": CREATE INDEX CONCURRENTLY ON public.t (due, id)"),
        "{t}"
    );
    assert_eq!((&u["outcome"], &u["deleted"]["old"]), (&"success".into(), &2000.into()));
    assert!(t.get("forced").is_none() && u.get("forced").is_none());
    assert!(run.stderr.contains(r#""code":"no-index""#), "{}", run.stderr);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM t").await, 20_000);

    let alone = run_with(&database, T, &[]).await;
    assert_eq!(
        (alone.code, &alone.report["outcome"]),
        (Some(65), &"failed".into()),
        "{}",
        alone.stderr
    );
}

#[tokio::test]
async fn forced_finding_is_overridden_and_recorded() {
    let database = Database::create().await;
    database
        .execute(&format!("CREATE TABLE t (id bigint PRIMARY KEY, due timestamptz); {ROWS}"))
        .await;
    let run = run_with(&database, T, &["--force-unsafe"]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let t = run.target("t");
    assert_eq!(
        (&t["deleted"]["old"], &t["forced"]),
        (&2000.into(), &serde_json::json!(["no-index"]))
    );
    assert!(run.target("reaper_runs").get("forced").is_none());
    assert!(run.stderr.contains("finding_forced"), "{}", run.stderr);
    let recorded = database
        .one::<String>("SELECT report -> 'targets' -> 0 ->> 'forced' FROM reaper_runs")
        .await;
    assert_eq!(recorded, r#"["no-index"]"#);

    // A finding that makes deletion impossible cannot be overridden.
    let run = run_with(&database, &T.replace("'due'", "'id'"), &["--force-unsafe"]).await;
    assert_eq!(
        (run.code, &run.target("t")["deleted"]["old"]),
        (Some(65), &0.into()),
        "{}",
        run.stderr
    );
}

#[tokio::test]
async fn read_only_server_is_unsafe_for_every_target() {
    let database = Database::create().await;
    let url =
        format!("{}%20-c%20default_transaction_read_only%3Don", database.url_as("session_reaper"));
    let (code, stdout, _) = check_with(&url, "preset = 'auth-api'", &["--output", "json"]).await;
    let found: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &found["server"]["safe"]), (Some(65), &false.into()), "{found}");
    assert_eq!(found["server"]["findings"][0]["code"], "read-only");
    let run = testkit::reap(&database, &[("DATABASE_URL", &url)]).await;
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert!(
        run.report["why"].as_str().unwrap().contains("default_transaction_read_only"),
        "{}",
        run.report
    );
}

#[tokio::test]
async fn mostly_null_column_needs_only_a_partial_index() {
    let database =
        with_t("", "INSERT INTO t SELECT n FROM generate_series(1, 1000) AS n;; ANALYZE t").await;
    let create = "CREATE INDEX CONCURRENTLY ON public.t (due, id) WHERE due IS NOT NULL";
    is_unsafe(&database, T, &[&["no-index: ", create]]).await;
    database.execute(&create.replace(" CONCURRENTLY", "")).await;
    is_safe(&database, T).await;
}

/// Returns how many blocks of `t` and its indexes were read by connections that have ended.
async fn blocks_read(database: &Database) -> i64 {
    let sql = "SELECT (heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit, 0) + coalesce(idx_blks_read, 0))::bigint
               FROM pg_statio_user_tables WHERE relname = 't'";
    // The server counts the reads of a connection when the connection ends.
    let at_work = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'session-reaper'";
    testkit::eventually("the connection of the last check has ended", async || {
        database.one::<i64>(at_work).await == 0
    })
    .await;
    database.one(sql).await
}

#[tokio::test]
async fn checking_two_million_rows_reads_few_blocks() {
    let database = with_t(
        ", kind text",
        "INSERT INTO t (id, due, kind) SELECT n, now() - n * interval '1 s', 'x' FROM generate_series(1, 2000000) AS n;;
         CREATE INDEX ON t (due, id);; CREATE INDEX ON t (kind);; ANALYZE t",
    )
    .await;
    let blocks: i64 = database.one("SELECT pg_relation_size('t') / 8192").await;
    let config = format!("{T}group = 'kind'\nwhere = \"t.kind <> 'y'\"");
    let before = blocks_read(&database).await;
    is_safe(&database, &config).await;
    let read = blocks_read(&database).await - before;
    assert!(read < blocks / 50, "{read} of {blocks} blocks were read");
    database.execute("DROP INDEX t_due_id_idx").await;
    let before = blocks_read(&database).await;
    is_unsafe(&database, &config, &[&["no-index: "]]).await;
    let read = blocks_read(&database).await - before;
    assert!(read < blocks / 50, "{read} of {blocks} blocks were read");
}

#[tokio::test]
async fn every_preset_is_safe_with_the_indexes_on_its_page() {
    let folder = |path: &str| format!("{}/{path}", env!("CARGO_MANIFEST_DIR"));
    let mut presets: Vec<String> = std::fs::read_dir(folder("tests/presets"))
        .unwrap()
        .filter_map(|entry| {
            Some(entry.unwrap().file_name().to_str()?.strip_suffix(".sql")?.to_owned())
        })
        .collect();
    presets.sort();
    assert_eq!(presets.len(), 23);
    let mut missing = 0;
    for preset in presets {
        let database = Database::empty().await;
        let client = database.client().await;
        let tables =
            std::fs::read_to_string(folder(&format!("tests/presets/{preset}.sql"))).unwrap();
        client.batch_execute(&tables).await.unwrap();
        let page =
            std::fs::read_to_string(folder(&format!("../docs/presets/{preset}.md"))).unwrap();
        let config = format!("preset = '{preset}'");
        let url = database.url();

        let (_, stdout, stderr) = check_with(&url, &config, &["--output", "json"]).await;
        let found: Value =
            serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{stdout}{stderr}"));
        let mut remedies: Vec<String> = Vec::new();
        for finding in found["targets"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|t| t["findings"].as_array().unwrap())
        {
            if finding["level"] == "unsafe" {
                remedies.push(finding["remedy"].as_str().unwrap().to_owned());
            }
        }
        remedies.sort();
        remedies.dedup();
        for remedy in &remedies {
            let (_, on) = remedy.split_once(" ON ").unwrap();
            let on = on.trim_start_matches("public.");
            assert!(page.contains(on), "{preset}: its page does not contain {remedy}");
            client
                .batch_execute(remedy)
                .await
                .unwrap_or_else(|error| panic!("{preset}: {remedy}: {error:?}"));
        }
        missing += remedies.len();
        let (code, stdout, _) = check_with(&url, &config, &[]).await;
        assert_eq!(code, Some(0), "{preset}: {stdout}");
    }
    assert!(missing > 10, "only {missing} indexes were missing");
}

#[tokio::test]
async fn each_partition_needs_its_index_and_privileges() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE p (id bigint, due timestamptz) PARTITION BY RANGE (due);
             CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
             CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);
             CREATE INDEX ON p1 (due, id);
             GRANT SELECT, DELETE, UPDATE (due) ON p, p1, p2 TO session_reaper",
        )
        .await;
    let (config, url) = (T.replace("'t'", "'p'"), database.url_as("session_reaper"));
    let found = |target: &Value| findings_at(target, "unsafe");
    let (_, target) = check_as(&url, &config).await;
    assert!(
        found(&target).len() == 1 && found(&target)[0].ends_with("ON public.p2 (due)"),
        "{target}"
    );
    database.execute("CREATE INDEX ON p (due, id)").await;
    assert_eq!(check_as(&url, &config).await.0, Some(0));
    database.execute("REVOKE DELETE ON p1 FROM session_reaper").await;
    let (_, target) = check_as(&url, &config).await;
    assert!(
        found(&target).len() == 1
            && found(&target)[0].ends_with("GRANT DELETE ON public.p1 TO session_reaper"),
        "{target}"
    );
    // A foreign key to the partitioned table refers to each partition, but is reported only once.
    database
        .execute(
            "GRANT DELETE ON p1 TO session_reaper; ALTER TABLE p ADD PRIMARY KEY (id, due);
             CREATE TABLE c (id bigint, due timestamptz, FOREIGN KEY (id, due) REFERENCES p ON DELETE CASCADE)",
        )
        .await;
    let (_, target) = check_as(&url, &config).await;
    let all = found(&target);
    assert!(
        all.len() == 1 && all[0].ends_with("CREATE INDEX CONCURRENTLY ON public.c (id, due)"),
        "{all:?}"
    );
}

#[tokio::test]
async fn run_error_lists_five_findings_and_counts_the_rest() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE t (id bigint, due timestamptz) PARTITION BY HASH (id);
             DO $$ BEGIN FOR i IN 0..19 LOOP
                 EXECUTE format('CREATE TABLE t%s PARTITION OF t FOR VALUES WITH (MODULUS 20, REMAINDER %s)', i, i);
             END LOOP; END $$",
        )
        .await;
    let run = run_with(&database, T, &[]).await;
    let why = run.target("t")["why"].as_str().unwrap();
    assert_eq!(
        (run.code, why.matches("CREATE INDEX CONCURRENTLY ON public.t").count()),
        (Some(65), 5),
        "{why}"
    );
    assert!(why.ends_with("; and 15 more, which `session-reaper check` tells"), "{why}");
    assert_eq!(findings_at(&check(&database, T).await.1, "unsafe").len(), 20);
}

#[tokio::test]
async fn child_tables_need_their_own_index_and_privileges() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, due timestamptz); CREATE INDEX ON t (due, id);
             CREATE TABLE c (id bigint PRIMARY KEY, t_id bigint REFERENCES t); CREATE TABLE free (t_id bigint);
             GRANT SELECT, DELETE, UPDATE (due) ON t TO session_reaper",
        )
        .await;
    let url = database.url_as("session_reaper");
    let config = format!(
        "{T}children = [{{ table = 'c', column = 't_id' }}, {{ table = 'free', column = 't_id' }}]"
    );
    let (code, target) = check_as(&url, &config).await;
    let found = findings_at(&target, "unsafe");
    assert!(code == Some(65) && found.len() == 3, "{found:#?}");
    assert!(
        found[0].starts_with("foreign-key-not-indexed: ")
            && found[0].ends_with("ON public.c (t_id)"),
        "{found:#?}"
    );
    assert!(
        found[1].starts_with("child-not-indexed: ") && found[1].ends_with("ON public.free (t_id)"),
        "{found:#?}"
    );
    let grant = "GRANT SELECT (ctid, tableoid, t_id), DELETE, UPDATE (t_id) ON public.c TO session_reaper; \
                 GRANT SELECT (ctid, tableoid, t_id), DELETE, UPDATE (t_id) ON public.free TO session_reaper";
    assert!(found[2].ends_with(&format!(" → {grant}")), "{found:#?}");
    database
        .execute(&format!("CREATE INDEX ON c (t_id); CREATE INDEX ON free (t_id); {grant}"))
        .await;
    let (code, target) = check_as(&url, &config).await;
    // The foreign key of `c` does not block the parents, because rows of `c` are deleted first.
    assert_eq!((code, target["findings"].as_array().map(Vec::len)), (Some(0), Some(0)), "{target}");
}

#[tokio::test]
async fn locked_table_is_reported_by_check_and_fails_a_run() {
    let database = with_t("", &format!("CREATE INDEX ON t (due, id);; {ROWS}")).await;
    let config = format!("{T}where = 't.id > 0'");
    let holder = database.client().await;
    holder.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    is_unsafe(
        &database,
        &config,
        &[&["locked: t, or what refers to it, could not be looked at: LOCK_TIMEOUT reached"]],
    )
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &config).unwrap();
    let env = [
        ("DATABASE_URL", database.url()),
        ("REAPER_CONFIG", file.path().to_str().unwrap().to_owned()),
    ];
    let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (code, program) = Program::run(binary("session-reaper"), &["run"], &env).await;
    assert_eq!(code, Some(1), "{}", program.stderr());
    holder.batch_execute("COMMIT; BEGIN; LOCK TABLE t IN SHARE MODE").await.unwrap();
    // A lock that permits reads permits nearly all checks.
    let target = is_safe(&database, &config).await;
    assert!(findings_at(&target, "warning")[0].starts_with("plan-unseen: "), "{target}");
}
