//! SIGHUP: the settings in `[pace]` and `[throttle]` apply from the next chunk (transaction), and
//! the targets from the next run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::path::PathBuf;

use tempfile::TempDir;
use testkit::{Database, ParkAt, Parking, Program, eventually, reaped, start_reaper};

const T: &str =
    "[[target]]\ntable = 't'\ndue = [{ reason = 'old', column = 'due_at', keep = '1d' }]\n";
const U: &str =
    "[[target]]\ntable = 'u'\ndue = [{ reason = 'old', column = 'due_at', keep = '1d' }]\n";

/// A database with two tables of 1,000 due rows each, and a configuration file.
struct Bench {
    database: Database,
    _directory: TempDir,
    file: PathBuf,
}

impl Bench {
    async fn create(config: &str) -> Self {
        let database = Database::create().await;
        for table in ["t", "u"] {
            database
                .execute(&format!(
                    "CREATE TABLE {table} (id bigint PRIMARY KEY, due_at timestamptz);
                     CREATE INDEX ON {table} (due_at, id);
                     INSERT INTO {table} SELECT i, now() - interval '2 days' FROM generate_series(1, 1000) i"
                ))
                .await;
        }
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("reaper.toml");
        let bench = Self { database, _directory: directory, file };
        bench.write(config);
        bench
    }

    fn write(&self, config: &str) {
        std::fs::write(&self.file, config).unwrap();
    }

    fn start(&self, args: &[&str], env: &[(&str, &str)]) -> Program {
        let (url, file) = (self.database.url(), self.file.to_str().unwrap());
        let own = [
            ("DATABASE_URL", url.as_str()),
            ("REAPER_CONFIG", file),
            ("MAX_FRACTION", "1"),
            ("RUST_LOG", "info,reaper=debug"),
            // An empty variable counts as unset.
            ("MAX_CHUNK", ""),
        ];
        start_reaper(&self.database, args, &[&own, env].concat())
    }

    async fn wait_until_empty(&self, table: &str) {
        eventually("the rows are deleted", async || {
            self.database.one::<i64>(&format!("SELECT count(*) FROM {table}")).await == 0
        })
        .await;
    }
}

fn rows(program: &Program) -> Vec<u64> {
    let chunks = program.log_events("chunk_committed");
    let of_t = chunks.iter().filter(|chunk| chunk["target_table"] == "t");
    of_t.map(|chunk| chunk["rows"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pace_applies_from_the_next_chunk_of_an_active_run() {
    let bench = Bench::create(&format!("[pace]\nmax_chunk = 100\n{T}")).await;
    let parking = Parking::on(&bench.database, "t", ParkAt::Deleted { rows_left: 800 }).await;
    let mut program = bench.start(&["run", "--yes", "--output", "json"], &[]);
    parking.wait_for_arrival().await;
    bench.write(&format!("[pace]\nmax_chunk = 50\n{T}"));
    program.signal("HUP");
    program.log_event("configuration_reloaded").await;
    parking.open().await;
    assert!(program.wait().await.success(), "{}", program.stderr());
    let rows = rows(&program);
    assert_eq!(rows[..2], [100, 100], "{rows:?}");
    assert!(rows[2..].iter().all(|rows| *rows <= 50) && rows.len() == 18, "{rows:?}");
    let run = reaped(program).await;
    assert_eq!(run.target("t")["deleted"]["old"], 1_000);
}

#[tokio::test]
async fn targets_apply_from_the_next_run_of_a_daemon() {
    let bench = Bench::create(T).await;
    let mut program = bench.start(&["daemon"], &[("SCHEDULE", "* * * * * *")]);
    let started = program.log_event("daemon_started").await;
    assert_eq!(started["targets"], 2, "the table and the history: {started}");
    bench.wait_until_empty("t").await;
    assert_eq!(bench.database.one::<i64>("SELECT count(*) FROM u").await, 1_000);

    // An invalid file changes nothing, and the daemon continues.
    bench.write("[[target]]\ntable = 'u'\n");
    program.signal("HUP");
    program.log_event("configuration_reload_failed").await;
    bench.database.execute("INSERT INTO t VALUES (1, now() - interval '2 days')").await;
    bench.wait_until_empty("t").await;

    bench.write(&format!("{T}{U}"));
    program.signal("HUP");
    program.log_event("configuration_reloaded").await;
    bench.wait_until_empty("u").await;
    // Later runs begin with the latest limits. Only a run that was active at the reload, which
    // there may be, changes its limits.
    for _ in 0..2 {
        bench.database.execute("INSERT INTO t VALUES (1, now() - interval '2 days')").await;
        bench.wait_until_empty("t").await;
    }
    let changes = program.log_events("limits_changed");
    assert!(changes.len() <= 1, "{changes:?}");
    assert!(!program.has_ended(), "{}", program.stderr());
}

#[tokio::test]
async fn environment_takes_precedence_over_the_file() {
    let bench = Bench::create(&format!("[pace]\nmax_chunk = 200\n{T}")).await;
    let mut program = bench.start(&["run", "--yes", "--output", "json"], &[("MAX_CHUNK", "100")]);
    assert!(program.wait().await.success(), "{}", program.stderr());
    assert_eq!(rows(&program)[..2], [100, 100]);
    let overridden = program.log_events("setting_overridden");
    assert_eq!(overridden[0]["name"], "MAX_CHUNK", "{overridden:?}");
}

#[tokio::test]
async fn invalid_setting_in_the_file_is_reported_with_its_location() {
    let bench =
        Bench::create(&format!("[pace]\nmax_chunk = 0\n[throttle]\nreplicaz = 'a'\n{T}")).await;
    let mut program = bench.start(&["run"], &[]);
    assert_eq!(program.wait().await.code(), Some(78));
    let stderr = program.stderr();
    assert!(stderr.contains("reaper.toml:2:13") && stderr.contains("reaper.toml:4:1"), "{stderr}");
}
