//! Rows of the run history that session-reaper cannot read.

use serde_json::Value;
use testkit::{Database, Program, binary, expired_sessions, reap};

/// Inserts rows that only another program could have written. Each of the three times is infinite
/// in at least one of these rows.
async fn odd_rows(database: &Database) {
    database
        .execute(
            "ALTER TABLE reaper_runs DROP CONSTRAINT reaper_runs_finite_times;
             INSERT INTO reaper_runs (id, instance, version, started_at, heartbeat_at, finished_at, trigger, outcome, report)
             SELECT gen_random_uuid(), 'odd', '9', a, b, c, 'manual', CASE WHEN c IS NULL THEN NULL ELSE 'success' END, report
             FROM (VALUES
                 (now(), '-infinity'::timestamptz, NULL::timestamptz, '{}'::jsonb),
                 (now(), 'infinity', now(), '[]'),
                 ('infinity', now(), now(), '{\"targets\": 5}'),
                 ('-infinity', now(), NULL, 'null'),
                 (now(), now(), 'infinity', '{\"targets\": [{\"deleted\": 7, \"chunks\": \"x\"}]}'),
                 ('290000-01-01', '290000-01-01', '290000-01-01', '{\"elapsed_ms\": -1}'),
                 ('4000-01-01 BC', '4000-01-01 BC', NULL, '{\"started_at\": \"soon\"}')
             ) AS odd (a, b, c, report)",
        )
        .await;
    database
        .execute(
            "INSERT INTO reaper_state (key, value, updated_at) VALUES
                 ('daemon:odd', '{\"next_at\": \"+262142-12-31T00:00:00Z\", \"schedule\": \"* * * * *\", \"timezone\": \"UTC\"}', now()),
                 ('daemon:older', '{\"next_at\": 5}', '-infinity')",
        )
        .await;
}

#[tokio::test]
async fn unreadable_rows_of_the_history_do_not_stop_a_command() {
    let database = Database::create().await;
    expired_sessions(&database, 20).await;
    odd_rows(&database).await;
    let run = reap(&database, &[("MAX_FRACTION", "1")]).await;
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.target("sessions")["deleted"]["expired"], 20, "{}", run.report);
    let url = database.url_as("session_reaper");
    let env = [("DATABASE_URL", url.as_str()), ("OUTPUT", "json")];
    for args in [["status", "--last", "50"].as_slice(), &["plan"], &["check"]] {
        let (code, program) = Program::run(binary("session-reaper"), args, &env).await;
        assert_eq!(code, Some(0), "{args:?}: {}", program.stderr());
        assert!(!program.stderr().contains("panicked"), "{}", program.stderr());
        if args[0] == "status" {
            let status: Value = serde_json::from_str(&program.stdout()).unwrap();
            assert_eq!(status["history"], true, "{status}");
            let runs = status["runs"].as_array().unwrap();
            assert!(runs.iter().any(|known| known["run_id"] == run.report["run_id"]), "{status}");
        }
    }
}

#[tokio::test]
async fn times_of_the_history_are_finite() {
    let database = Database::create().await;
    let client = database.client().await;
    for column in ["started_at", "heartbeat_at", "finished_at"] {
        let sql = format!(
            "INSERT INTO reaper_runs (id, instance, version, trigger, outcome, finished_at) VALUES (gen_random_uuid(), 'a', '1', 'manual', 'success', now());
             UPDATE reaper_runs SET {column} = '-infinity'"
        );
        let error = client.batch_execute(&sql).await.unwrap_err();
        let constraint = error.as_db_error().unwrap().constraint();
        assert_eq!(constraint, Some("reaper_runs_finite_times"), "{column}");
    }
}
