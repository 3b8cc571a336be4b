//! The embedded migrations: two sets in one database, applied in any order, by any number of
//! processes at once.

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

/// Which tables to make.
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

    /// The versions of this set, as they stand in `__diesel_schema_migrations` once they are
    /// applied.
    pub fn versions(self) -> Result<Vec<String>, MigrateError> {
        Ok(self.migrations()?.iter().map(|m| m.name().version().to_string()).collect())
    }
}

/// Why migrations were not applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The database was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Another migration was still at work when [`LOCK_TIMEOUT`] had passed.
    #[error("another migration has been at work for {} s; try again when it has ended", LOCK_TIMEOUT.as_secs())]
    Busy,
    /// The database refused something. A migration that failed left nothing behind, but for one
    /// that makes an index beside traffic: of that an invalid one may be left, and the next try
    /// says so.
    #[error("migrations: {0}")]
    Failed(String),
    /// The table that keeps the versions is a stranger's.
    #[error(
        "nothing was migrated: {0}; drop it if nobody knows it, or give it to a role that is trusted"
    )]
    Foreign(ForeignTable),
}

/// How long to wait for another process that migrates. Migrations of a released version take
/// seconds.
pub const LOCK_TIMEOUT: Duration = Duration::from_mins(2);

/// Between two tries for the lock. A *blocking* advisory lock would deadlock with `CREATE INDEX
/// CONCURRENTLY`, which waits for every older transaction, the one that waits for the lock among
/// them.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// "SRmg": the advisory lock that migrations take. Diesel itself takes none, so two at once would
/// collide.
const LOCK_KEY: i64 = 0x5352_6d67;

/// Applies what is missing of `set` and returns the names of what was applied; nothing is missing
/// the second time.
///
/// Must run on a multi-threaded runtime (Diesel's harness blocks in place).
pub async fn run(connect: &ConnectOptions, set: MigrationSet) -> Result<Vec<String>, MigrateError> {
    with_lock(connect, |harness| {
        harness
            .run_pending_migrations(set.source())
            .map(|versions| versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// The versions of `set` that the database has not got yet. A database that never saw a migration
/// lacks them all.
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

/// Reverts the `count` newest migrations of `set`, newest first, with the data that their tables
/// contain. For tests and for going back a version by hand; no command offers it.
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
    // Held by a connection of its own, so that whatever a migration does to its connection, the
    // lock stays until the end.
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

/// A trigger on the table that keeps the versions would run as whoever migrates, often the most
/// powerful role of all.
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
