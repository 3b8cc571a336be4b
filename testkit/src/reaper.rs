use serde_json::Value;
use tokio_postgres::Client;

use crate::{Database, Program, binary, eventually};

/// A run of session-reaper that has ended.
pub struct Reaped {
    /// Its exit code.
    pub code: Option<i32>,
    /// The object that it printed; null when it printed none.
    pub report: Value,
    /// Its logs.
    pub stderr: String,
}

impl Reaped {
    /// What was printed for one target.
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

/// session-reaper with just the rights of its role, in chunks of 100 rows without a pause; `env`
/// overrides all of it. Logs are JSON.
#[must_use]
pub fn start_reaper(database: &Database, args: &[&str], env: &[(&str, &str)]) -> Program {
    let url = database.url_as("session_reaper");
    let mut all = vec![
        ("DATABASE_URL", url.as_str()),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "info"),
        ("DUTY_CYCLE", "1"),
        ("MAX_CHUNK", "100"),
        // The size of a chunk stays the same however long one takes, and a parked statement is not
        // cancelled.
        ("CHUNK_TIME", "30m"),
        ("LOCK_TIMEOUT", "1m"),
        ("STATEMENT_TIMEOUT", "1h"),
        ("OPS_BIND", "127.0.0.1:0"),
    ];
    all.extend_from_slice(env);
    Program::start(binary("session-reaper"), args, &all)
}

/// Waits until a `run --output json` has ended.
pub async fn reaped(mut program: Program) -> Reaped {
    let code = program.wait().await.code();
    let report = serde_json::from_str(&program.stdout()).unwrap_or(Value::Null);
    Reaped { code, report, stderr: program.stderr() }
}

/// `session-reaper run --yes --output json`, from its start to its end: in a test nearly all of a
/// table may be due.
pub async fn reap(database: &Database, env: &[(&str, &str)]) -> Reaped {
    reaped(start_reaper(database, &["run", "--yes", "--output", "json"], env)).await
}

/// [`reap`] by a `reaper.toml` of this text, with the owner's rights.
pub async fn reap_by(database: &Database, config: &str, env: &[(&str, &str)]) -> Reaped {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), config).unwrap();
    let (url, path) = (database.url(), file.path().to_str().unwrap());
    reap(database, &[&[("DATABASE_URL", url.as_str()), ("REAPER_CONFIG", path)], env].concat())
        .await
}

/// Where a [`Parking`] stops a delete.
#[derive(Clone, Copy, Debug)]
pub enum ParkAt {
    /// The statement has its snapshot and has not looked at a row; only once so few rows are left
    /// (as it sees them).
    Statement {
        /// Rows in the table.
        rows_left: i64,
    },
    /// The statement is about to delete the row whose `user_agent` is `park`, and has deleted those
    /// before it.
    ///
    /// A trigger that might keep a row makes the reaper lock rows before it deletes them: use
    /// another place to see what it does without.
    Row,
    /// The statement has deleted its rows, and nothing is committed; only once so few rows are left
    /// (as it sees them).
    Deleted {
        /// Rows in the table.
        rows_left: i64,
    },
}

/// Holds every delete from a table at a place, by a trigger that waits for a lock for as long as it
/// takes: `lock_timeout` does not apply there.
pub struct Parking {
    holder: Client,
}

/// Any number.
const PARKING: i64 = 0x7061_726b;

impl Parking {
    /// Puts the trigger on `sessions` and closes the barrier.
    pub async fn at(database: &Database, place: ParkAt) -> Self {
        Self::on(database, "sessions", place).await
    }

    /// Puts the trigger on a table and closes the barrier.
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

    /// Waits until somebody stands at the barrier.
    pub async fn wait_for_arrival(&self) {
        eventually("a delete is parked", async || {
            let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))";
            self.holder.query_one(waiting, &[]).await.unwrap().get(0)
        })
        .await;
    }

    /// Opens the barrier for good.
    pub async fn open(self) {
        self.holder.batch_execute(&format!("SELECT pg_advisory_unlock({PARKING})")).await.unwrap();
    }
}

/// Inserts token sessions of one account, each with its family, that expired ten days ago at the
/// same distance from each other; `user_agent` is their place in that order, from 1.
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
