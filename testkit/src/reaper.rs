use serde_json::Value;
use tokio_postgres::Client;

use crate::{Database, Program, binary, eventually};

/// A finished run of session-reaper.
pub struct Reaped {
    /// Exit code.
    pub code: Option<i32>,
    /// The report that it printed as JSON, or null if it printed none.
    pub report: Value,
    /// Standard error output, which contains the logs.
    pub stderr: String,
}

impl Reaped {
    /// Returns the report of one target.
    #[must_use]
    pub fn target(&self, name: &str) -> &Value {
        let targets = self.report["targets"]
            .as_array()
            .unwrap_or_else(|| panic!("{}{}", self.report, self.stderr));
        targets
            .iter()
            .find(|target| target["target"] == name)
            .unwrap_or_else(|| panic!("no {name}: {}", self.report))
    }
}

/// Starts session-reaper with only the privileges of its role, JSON logs, chunks (transactions) of
/// 100 rows, and no idle time between them. `env` overrides these settings.
#[must_use]
pub fn start_reaper(database: &Database, args: &[&str], env: &[(&str, &str)]) -> Program {
    let url = database.url_as("session_reaper");
    let mut all = vec![
        ("DATABASE_URL", url.as_str()),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info"),
        ("DUTY_CYCLE", "1"),
        ("MAX_CHUNK", "100"),
        // With these settings, the chunk size stays constant even if a chunk takes a long time, and
        // a statement that `Parking` stops is not canceled.
        ("CHUNK_TIME", "30m"),
        ("LOCK_TIMEOUT", "1m"),
        ("STATEMENT_TIMEOUT", "1h"),
        ("OPS_BIND", "127.0.0.1:0"),
    ];
    all.extend_from_slice(env);
    Program::start(binary("session-reaper"), args, &all)
}

/// Waits until a `session-reaper run --output json` has exited, and returns its results.
pub async fn reaped(mut program: Program) -> Reaped {
    let code = program.wait().await.code();
    let report = serde_json::from_str(&program.stdout()).unwrap_or(Value::Null);
    Reaped { code, report, stderr: program.stderr() }
}

/// Runs `session-reaper run --yes --output json` to completion. `--yes` is required because nearly
/// all rows of a test table may be due.
pub async fn reap(database: &Database, env: &[(&str, &str)]) -> Reaped {
    reaped(start_reaper(database, &["run", "--yes", "--output", "json"], env)).await
}

/// Runs [`reap`] with a `reaper.toml` that contains `config`, and with the privileges of the owner.
pub async fn reap_by(database: &Database, config: &str, env: &[(&str, &str)]) -> Reaped {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap());
    reap(database, &[&[("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path)], env].concat())
        .await
}

/// The point at which a [`Parking`] stops a delete statement.
#[derive(Clone, Copy, Debug)]
pub enum ParkAt {
    /// The statement has its snapshot and has not read a row yet. Only deletes that see at most
    /// `rows_left` rows stop here.
    Statement {
        /// Maximum number of rows in the table.
        rows_left: i64,
    },
    /// The statement has deleted all rows before the row whose `user_agent` is `park`, and is about
    /// to delete that row.
    ///
    /// The row-level trigger for this point could prevent the deletion of a row, so the reaper
    /// locks rows before it deletes them. To test deletes without such locks, use another point.
    Row,
    /// The statement has deleted its rows and has not committed. Only deletes that see at most
    /// `rows_left` rows stop here.
    Deleted {
        /// Maximum number of rows in the table.
        rows_left: i64,
    },
}

/// A barrier that stops every delete from a table at one point. The barrier is an advisory lock,
/// for which a trigger waits at this point. The wait has no time limit, because the trigger
/// disables `lock_timeout`.
pub struct Parking {
    holder: Client,
}

/// Key of the advisory lock. Any number works.
const PARKING: i64 = 0x7061_726b;

impl Parking {
    /// Creates the trigger on `sessions` and closes the barrier.
    pub async fn at(database: &Database, place: ParkAt) -> Self {
        Self::on(database, "sessions", place).await
    }

    /// Creates the trigger on a table and closes the barrier.
    pub async fn on(database: &Database, table: &str, place: ParkAt) -> Self {
        let few = |rows_left| format!("(SELECT count(*) FROM {table}) <= {rows_left}");
        let (when, level, condition, wanted) = match place {
            ParkAt::Statement { rows_left } => ("BEFORE", "STATEMENT", "", few(rows_left)),
            ParkAt::Row => ("BEFORE", "ROW", "WHEN (OLD.user_agent = 'park')", "true".to_owned()),
            ParkAt::Deleted { rows_left } => ("AFTER", "STATEMENT", "", few(rows_left)),
        };
        let holder = database.client().await;
        holder
            .batch_execute(&format!(
                "CREATE FUNCTION park() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS $$
                 BEGIN
                     IF {wanted} THEN PERFORM pg_advisory_xact_lock_shared({PARKING}); END IF;
                     RETURN OLD;
                 END $$;
                 CREATE TRIGGER park {when} DELETE ON {table} FOR EACH {level} {condition} EXECUTE FUNCTION park();
                 SELECT pg_advisory_lock({PARKING})"
            ))
            .await
            .unwrap();
        Self { holder }
    }

    /// Waits until a delete reaches the barrier.
    pub async fn wait_for_arrival(&self) {
        eventually("a delete is parked", async || {
            let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
            self.holder.query_one(waiting, &[]).await.unwrap().get(0)
        })
        .await;
    }

    /// Opens the barrier permanently.
    pub async fn open(self) {
        self.holder.batch_execute(&format!("SELECT pg_advisory_unlock({PARKING})")).await.unwrap();
    }
}

/// Inserts token sessions of one account, each with its token family. They expired ten days ago,
/// one millisecond apart. `user_agent` is the session's position in the order of expiry, starting
/// at 1.
pub async fn expired_sessions(database: &Database, count: i64) {
    database
        .execute(&format!(
            "INSERT INTO accounts (id, issuer, subject) VALUES (gen_random_uuid(), 'stellar:testnet', 'G');
             WITH added AS (
                 INSERT INTO sessions (id, account_id, user_agent, expires_at, absolute_expires_at)
                 SELECT gen_random_uuid(), (SELECT id FROM accounts), n::text, expiry, expiry
                 FROM generate_series(1, {count}) AS n, LATERAL (SELECT now() - interval '10 days' + n * interval '1 ms') AS e (expiry)
                 RETURNING id)
             INSERT INTO token_families (session_id, generation, token_hash)
             SELECT id, 0, decode(repeat('00', 32), 'hex') FROM added"
        ))
        .await;
}
