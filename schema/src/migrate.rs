//! The embedded migrations: two sets for one database, which can be applied in any order and by any
//! number of processes at the same time.

use std::time::Duration;

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use tokio_postgres::Client;

use crate::connect::{ConnectError, ConnectOptions, chain};
use crate::own::{self, ForeignTable};
use crate::owners;

const AUTH: EmbeddedMigrations = embed_migrations!("../migrations/auth");
const REAPER: EmbeddedMigrations = embed_migrations!("../migrations/reaper");

/// A set of migrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationSet {
    /// `migrations/auth`: accounts, sessions, token families, consumed challenges.
    Auth,
    /// `migrations/reaper`: the reaper's history and shared state.
    Reaper,
}

impl MigrationSet {
    fn source(self) -> EmbeddedMigrations {
        match self {
            Self::Auth => AUTH,
            Self::Reaper => REAPER,
        }
    }

    fn migrations(self) -> Result<Vec<Box<dyn Migration<Pg>>>, MigrateError> {
        self.source().migrations().map_err(|e| MigrateError::Failed(e.to_string()))
    }

    /// Returns the versions of this set, as `__diesel_schema_migrations` contains them once they
    /// are applied.
    pub fn versions(self) -> Result<Vec<String>, MigrateError> {
        Ok(self.migrations()?.iter().map(|m| m.name().version().to_string()).collect())
    }
}

/// Why migrations were not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The connection to the database failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another process was still applying migrations after [`LOCK_TIMEOUT`].
    #[error("another process is still applying migrations after {} s; try again when it has finished", LOCK_TIMEOUT.as_secs())]
    Busy,
    /// The database reported an error. A failed migration leaves nothing behind, except one that
    /// builds an index concurrently: it may leave an invalid index, which the next attempt reports.
    #[error("migrations: {0}")]
    Failed(String),
    /// The table that contains the versions has an untrusted owner, or a trigger of one.
    #[error(
        "no migration was applied: {0}; drop the table if it is not needed, or change its owner to a trusted role"
    )]
    Foreign(ForeignTable),
}

/// How long to wait for another process that applies migrations. The migrations of a release take
/// seconds.
pub const LOCK_TIMEOUT: Duration = Duration::from_mins(2);

/// Interval between two attempts to get the lock. A *blocking* advisory lock would deadlock with
/// `CREATE INDEX CONCURRENTLY`, which waits for all older transactions, including the one that
/// waits for the lock.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// "SRmg": key of the advisory lock of migrations. Diesel takes no lock of its own, so two
/// concurrent migrations would conflict.
const LOCK_KEY: i64 = 0x5352_6d67;

/// Applies the pending migrations of `set` and returns their names. If none are pending, returns an
/// empty list.
///
/// Must be called on a multi-threaded runtime, because Diesel's harness blocks in place.
pub async fn run(connect: &ConnectOptions, set: MigrationSet) -> Result<Vec<String>, MigrateError> {
    with_lock(connect, |harness| {
        harness
            .run_pending_migrations(set.source())
            .map(|versions| versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Returns the versions of `set` that are not applied. In a database without migrations, these are
/// all versions.
pub async fn pending(
    conn: &mut AsyncPgConnection,
    set: MigrationSet,
) -> Result<Vec<String>, MigrateError> {
    use diesel::QueryDsl as _;
    use diesel::result::Error;
    use diesel_async::RunQueryDsl;

    diesel::table! {
        __diesel_schema_migrations (version) {
            version -> Text,
        }
    }
    let failed = |error: Error| MigrateError::Failed(chain(&error));
    let known = diesel::dsl::sql::<diesel::sql_types::Bool>(
        "to_regclass('__diesel_schema_migrations') IS NOT NULL",
    );
    let applied: Vec<String> = if diesel::select(known).get_result(conn).await.map_err(failed)? {
        let versions =
            __diesel_schema_migrations::table.select(__diesel_schema_migrations::version);
        versions.load(conn).await.map_err(failed)?
    } else {
        Vec::new()
    };
    Ok(set.versions()?.into_iter().filter(|version| !applied.contains(version)).collect())
}

/// Reverts the `count` newest migrations of `set`, newest first, and deletes the data in their
/// tables. For tests and for manual downgrades; no command calls it.
pub async fn revert(
    connect: &ConnectOptions,
    set: MigrationSet,
    count: usize,
) -> Result<(), MigrateError> {
    let migrations = set.migrations()?;
    with_lock(connect, move |harness| {
        migrations
            .iter()
            .rev()
            .take(count)
            .try_for_each(|migration| harness.revert_migration(migration.as_ref()).map(drop))
    })
    .await
}

async fn with_lock<T>(
    connect: &ConnectOptions,
    work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> diesel::migration::Result<T>,
) -> Result<T, MigrateError> {
    // A separate connection holds the lock, so that it is kept until the end, whatever a migration
    // does to its own connection.
    let lock = connect.connect().await?;
    tokio::time::timeout(LOCK_TIMEOUT, acquire(&lock)).await.map_err(|_| MigrateError::Busy)??;
    refuse_foreign(&lock).await?;

    let (client, connection) = connect.open().await?;
    let connection = AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|e| MigrateError::Failed(chain(&e)))?;
    let mut harness = AsyncMigrationHarness::new(connection);
    work(&mut harness).map_err(|e| MigrateError::Failed(chain(e.as_ref())))
}

/// Returns an error if the table of versions is untrusted. A trigger on it would run with the
/// privileges of the role that migrates, which often has the most.
async fn refuse_foreign(client: &Client) -> Result<(), MigrateError> {
    const CREATED: &str = "SELECT pg_catalog.format('%I.%I', pg_catalog.current_schema(), '__diesel_schema_migrations')";
    let found = async {
        let created: String = client.query_one(CREATED, &[]).await?.try_get(0)?;
        let trusted = owners::read_trusted(client, &[]).await?;
        own::found(client, &["__diesel_schema_migrations", &created], &trusted).await
    };
    let found = found.await.map_err(|error| MigrateError::Failed(chain(&error)))?;
    found
        .into_iter()
        .find_map(|(_, table)| table.err())
        .map_or(Ok(()), |foreign| Err(MigrateError::Foreign(foreign)))
}

async fn acquire(client: &Client) -> Result<(), MigrateError> {
    loop {
        let locked: bool = client
            .query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&LOCK_KEY])
            .await
            .and_then(|row| row.try_get(0))
            .map_err(|e| MigrateError::Failed(chain(&e)))?;
        if locked {
            return Ok(());
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
