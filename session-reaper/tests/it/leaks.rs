//! No value of a row leaves the database, and text from the database cannot control a terminal.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use testkit::{Database, Program, binary, start_reaper};

const CONFIG: &str =
    "[[target]]\ntable = 'session'\ndue = [{ reason = 'old', column = 'due', keep = '1d' }]\n";

/// Creates a due row whose key is a secret.
async fn with_session() -> Database {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE session (sid text PRIMARY KEY, due timestamptz); CREATE INDEX ON session (due, sid);
             INSERT INTO session VALUES ('s3cr3t', now() - interval '2 days')",
        )
        .await;
    database
}

#[tokio::test]
async fn row_values_never_appear_in_reports_logs_or_pages() {
    let database = with_session().await;
    for (name, made) in [
        (
            "a foreign key",
            "CREATE TABLE held (sid text REFERENCES session); CREATE INDEX ON held (sid); INSERT INTO held VALUES ('s3cr3t')",
        ),
        (
            "a cast",
            "DROP TABLE held; CREATE FUNCTION cast_it() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN PERFORM OLD.sid::int; RETURN OLD; END';
             CREATE TRIGGER cast_it BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION cast_it()",
        ),
        (
            "a detail, a hint and a context",
            "DROP TRIGGER cast_it ON session; CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN EXECUTE format('SELECT %L, 1 / 0', OLD.sid);
                    EXCEPTION WHEN division_by_zero THEN RAISE EXCEPTION 'no' USING DETAIL = OLD.sid, HINT = OLD.sid; END $$;
             CREATE TRIGGER told BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION told()",
        ),
        (
            "a notice",
            "CREATE OR REPLACE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE WARNING 'kept: %', OLD.sid; RAISE EXCEPTION 'no'; END $$",
        ),
    ] {
        database.execute(made).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), CONFIG).unwrap();
        let url = database.url();
        let env = [
            ("DATABASE_URL", url.as_str()),
            ("REAPER_CONFIG", file.path().to_str().unwrap()),
            ("SCHEDULE", "* * * * * *"),
            ("RUST_LOG", "trace,hyper=off,mio=off,h2=off"),
        ];
        let mut daemon = start_reaper(&database, &["daemon"], &env);
        let address = daemon.log_event("listening").await["ops"].as_str().unwrap().to_owned();
        let ended = daemon.log_event("run_ended").await;
        // The row is left, and its error is logged.
        assert_eq!(ended["outcome"], "success", "{name}: {ended}");
        let page = reqwest::get(format!("http://{address}/status.json")).await.unwrap().text().await.unwrap();
        daemon.signal("TERM");
        daemon.wait().await;
        let reports: String = database.one("SELECT coalesce(string_agg(report::text, ' '), '') FROM reaper_runs").await;
        let logs = format!("{}{}", daemon.stdout(), daemon.stderr());
        for (place, text) in [("page", &page), ("report", &reports), ("log", &logs)] {
            assert!(!text.contains("s3cr3t"), "{name}, {place}: {text}");
        }
        assert!(reports.contains("\"held\""), "{name}: {reports}");
        assert!(logs.contains("held"), "{name}: {logs}");
    }
}

#[tokio::test]
async fn server_text_is_escaped_on_a_terminal() {
    let database = with_session().await;
    // The error of a trigger and the reason of a pause contain control characters.
    database
        .execute(
            "CREATE FUNCTION told() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN RAISE EXCEPTION E'\x1b]0;title\x07\nERROR forged \u{202e}'; END $$;
             CREATE TRIGGER told BEFORE DELETE ON session FOR EACH ROW EXECUTE FUNCTION told()",
        )
        .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), CONFIG).unwrap();
    let url = database.url();
    let env = [
        ("DATABASE_URL", url.as_str()),
        ("REAPER_CONFIG", file.path().to_str().unwrap()),
        ("LOG_FORMAT", "text"),
        ("RUST_LOG", "debug"),
    ];
    let (code, run) = Program::run(binary("session-reaper"), &["run"], &env).await;
    assert_eq!(code, Some(0), "{}", run.stderr());
    let (code, status) = Program::run(binary("session-reaper"), &["status"], &env).await;
    assert_eq!(code, Some(0), "{}", status.stderr());
    database
        .execute(
            r#"INSERT INTO reaper_state (key, value) VALUES ('pause', jsonb_build_object(
                  'until', to_char(now() AT TIME ZONE 'UTC' + interval '1 hour', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                  'why', E'\x1b]0;title\x07\nERROR forged \u202e', 'by', E'ada\x1b]0;title\x07\nERROR forged'))"#,
        )
        .await;
    let throttled = [env.as_slice(), &[("MAX_THROTTLE", "1s")]].concat();
    let (_, waiting) = Program::run(binary("session-reaper"), &["run"], &throttled).await;
    let (code, paused) = Program::run(binary("session-reaper"), &["status"], &env).await;
    assert_eq!(code, Some(0), "{}", paused.stderr());
    let outputs = [run, status, waiting, paused];
    for text in outputs.iter().flat_map(|program| [program.stdout(), program.stderr()]) {
        assert!(!text.contains(['\x1b', '\x07', '\u{202e}']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("ERROR forged")), "{text:?}");
    }
    // The error of the row is logged, with its control characters escaped.
    assert!(outputs[0].stderr().contains(r"\u{1b}"), "{}", outputs[0].stderr());
}
