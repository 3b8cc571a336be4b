//! The migrations of the reaper's two tables, which are embedded in the program, and a runner for
//! them.
//!
//! The runner uses the same folders, the same table of applied versions, and the same lock as
//! Diesel and `auth-api migrate`. Therefore, Diesel CLI, `auth-api migrate` and earlier versions of
//! session-reaper work on the same database.

use pg::connect::ConnectOptions;
pub use pg::migration_lock::MigrateError;
use pg::migration_lock::{MigrationLock, VERSIONS};
use tokio_postgres::{Client, Error};

/// A migration: one folder below `migrations/`.
#[derive(Clone, Copy, Debug)]
pub struct Migration<'a> {
    /// The name of the folder. The part before the first `_` is the version.
    pub name: &'a str,
    /// The contents of `up.sql`, which applies the migration.
    pub up: &'a str,
    /// The contents of `down.sql`, which reverts the migration.
    pub down: &'a str,
    /// Whether the statements run in one transaction: `run_in_transaction` in `metadata.toml`. A
    /// migration without a transaction has a single statement, such as `CREATE INDEX CONCURRENTLY`.
    pub in_transaction: bool,
}

macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        &[$(Migration {
            name: $name,
            up: include_str!(concat!("../../../migrations/reaper/", $name, "/up.sql")),
            down: include_str!(concat!("../../../migrations/reaper/", $name, "/down.sql")),
            in_transaction: true,
        }),*]
    };
}

/// The migrations of the reaper's tables, oldest first.
pub const MIGRATIONS: &[Migration<'static>] =
    migrations!["2001_runs_and_state", "2002_finite_times"];

impl Migration<'_> {
    /// Returns the version in the format of the versions table.
    #[must_use]
    pub fn version(&self) -> String {
        let version = self.name.split_once('_').map_or(self.name, |(version, _)| version);
        version.replace('-', "")
    }

    async fn execute(&self, client: &Client, sql: &str, record: &str) -> Result<(), Error> {
        let version = self.version();
        if !self.in_transaction {
            client.batch_execute(sql).await?;
            return client.execute(record, &[&version]).await.map(drop);
        }
        let done = async {
            client.batch_execute("BEGIN").await?;
            client.batch_execute(sql).await?;
            client.execute(record, &[&version]).await?;
            client.batch_execute("COMMIT").await
        };
        let done = done.await;
        if done.is_err() {
            // The server also rolls back when the connection closes.
            let _ = client.batch_execute("ROLLBACK").await;
        }
        done
    }
}

/// Applies the pending migrations of the reaper's tables and returns their versions.
pub async fn run(connect: &ConnectOptions) -> Result<Vec<String>, MigrateError> {
    apply(connect, MIGRATIONS).await
}

/// Applies the migrations of `set` that have not been applied yet, in order, and returns their
/// versions.
pub async fn apply(
    connect: &ConnectOptions,
    set: &[Migration<'_>],
) -> Result<Vec<String>, MigrateError> {
    let _lock = MigrationLock::acquire(connect).await?;
    let client = connect.connect().await?;
    client
        .batch_execute(&format!(
            "CREATE TABLE IF NOT EXISTS {VERSIONS} (
                 version VARCHAR(50) PRIMARY KEY NOT NULL,
                 run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        ))
        .await?;
    let before = client.query(&format!("SELECT version FROM {VERSIONS}"), &[]).await?;
    let before: Vec<String> = before.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let record = format!("INSERT INTO {VERSIONS} (version) VALUES ($1)");
    let mut applied = Vec::new();
    for migration in set {
        let version = migration.version();
        if !before.contains(&version) {
            migration.execute(&client, migration.up, &record).await?;
            applied.push(version);
        }
    }
    Ok(applied)
}

/// Reverts the `count` newest migrations of `set`, newest first, and deletes the data in their
/// tables. Only tests call it; it also serves for manual downgrades.
pub async fn revert(
    connect: &ConnectOptions,
    set: &[Migration<'_>],
    count: usize,
) -> Result<(), MigrateError> {
    let _lock = MigrationLock::acquire(connect).await?;
    let client = connect.connect().await?;
    let forget = format!("DELETE FROM {VERSIONS} WHERE version OPERATOR(pg_catalog.=) $1");
    for migration in set.iter().rev().take(count) {
        migration.execute(&client, migration.down, &forget).await?;
    }
    Ok(())
}
