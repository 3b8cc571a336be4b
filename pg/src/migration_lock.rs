//! The lock that a process holds while it applies migrations, and the reasons why migrations were
//! not applied. The migrations of auth-api and of session-reaper share the lock and the versions
//! table (the table of applied migrations). Both sets can therefore be applied to one database in
//! any order and by any number of processes at the same time.

use std::time::Duration;

use tokio_postgres::Client;

use crate::connect::{ConnectError, ConnectOptions};
use crate::error_text::chain;
use crate::owners;
use crate::trusted_tables::{self, ForeignTable};

/// The reason why migrations were not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The connection to the database failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another process was still applying migrations after [`LOCK_TIMEOUT`].
    #[error("another process is still applying migrations after {} s; try again when it has finished", LOCK_TIMEOUT.as_secs())]
    Busy,
    /// The database reported an error. A failed migration is rolled back, unless it builds an index
    /// concurrently: such a migration may leave an invalid index, which the next attempt reports.
    #[error("migrations: {0}")]
    Failed(String),
    /// An untrusted role owns the versions table or a trigger on it. See [`crate::owners`] for
    /// which roles are trusted.
    #[error(
        "no migration was applied: {0}; drop the table if it is not needed, or change its owner to a trusted role"
    )]
    Foreign(ForeignTable),
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(chain(&error))
    }
}

/// The table that contains the versions of the applied migrations. Diesel CLI uses the same table.
pub const VERSIONS: &str = "__diesel_schema_migrations";

/// How long to wait for another process that applies migrations. The migrations of a release take
/// seconds.
pub const LOCK_TIMEOUT: Duration = Duration::from_mins(2);

/// The interval between two attempts to get the lock. The lock is not taken with a statement that
/// waits for it, because such a wait could deadlock with `CREATE INDEX CONCURRENTLY`: that command
/// waits for all older transactions, including the one that waits for the lock.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// The key of the advisory lock for migrations: the letters `SRmg`. Diesel itself takes no lock for
/// migrations, so two concurrent migrations would conflict without this lock.
const LOCK_KEY: i64 = 0x5352_6d67;

/// The migration lock, which is held until this value is dropped. It has its own connection, so
/// that a migration cannot release it by changing or closing the connection that the migration
/// uses.
#[must_use]
pub struct MigrationLock {
    _client: Client,
}

impl MigrationLock {
    /// Waits for the lock, and verifies that no untrusted role owns the versions table or a trigger
    /// on it.
    pub async fn acquire(connect: &ConnectOptions) -> Result<Self, MigrateError> {
        let client = connect.connect().await?;
        tokio::time::timeout(LOCK_TIMEOUT, wait(&client))
            .await
            .map_err(|_| MigrateError::Busy)??;
        refuse_foreign(&client).await?;
        Ok(Self { _client: client })
    }
}

async fn wait(client: &Client) -> Result<(), MigrateError> {
    const TRY: &str = "SELECT pg_catalog.pg_try_advisory_lock($1)";
    loop {
        if client.query_one(TRY, &[&LOCK_KEY]).await?.try_get(0)? {
            return Ok(());
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}

/// Returns an error if an untrusted role owns the versions table or a trigger on it. A trigger on
/// the table would run with the privileges of the role that applies migrations. That role often has
/// more privileges than any other role of the application.
async fn refuse_foreign(client: &Client) -> Result<(), MigrateError> {
    let created =
        format!("SELECT pg_catalog.format('%I.%I', pg_catalog.current_schema(), '{VERSIONS}')");
    let created: String = client.query_one(&created, &[]).await?.try_get(0)?;
    let trusted = owners::read_trusted(client, &[]).await?;
    let found = trusted_tables::find(client, &[VERSIONS, &created], &trusted).await?;
    found
        .into_iter()
        .find_map(|(_, table)| table.err())
        .map_or(Ok(()), |foreign| Err(MigrateError::Foreign(foreign)))
}
