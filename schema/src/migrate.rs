//! The embedded migrations of auth-api's tables, applied with Diesel.

use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use pg::connect::ConnectOptions;
use pg::error_text::chain;
pub use pg::migration_lock::MigrateError;
use pg::migration_lock::MigrationLock;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../migrations/auth");

fn migrations() -> Result<Vec<Box<dyn Migration<Pg>>>, MigrateError> {
    MIGRATIONS.migrations().map_err(|e| MigrateError::Failed(e.to_string()))
}

/// Returns the versions of all migrations, in the format of the table `__diesel_schema_migrations`,
/// which contains the versions of the applied migrations.
pub fn versions() -> Result<Vec<String>, MigrateError> {
    Ok(migrations()?.iter().map(|m| m.name().version().to_string()).collect())
}

/// Applies the pending migrations and returns their versions. If none are pending, returns an empty
/// list.
///
/// Must be called on a multi-threaded runtime, because Diesel's harness blocks in place.
pub async fn run(connect: &ConnectOptions) -> Result<Vec<String>, MigrateError> {
    with_lock(connect, |harness| {
        harness
            .run_pending_migrations(MIGRATIONS)
            .map(|versions| versions.iter().map(ToString::to_string).collect())
    })
    .await
}

/// Returns the versions of the migrations that are not applied. If no migration is applied, returns
/// all versions.
pub async fn pending(conn: &mut AsyncPgConnection) -> Result<Vec<String>, MigrateError> {
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
    Ok(versions()?.into_iter().filter(|version| !applied.contains(version)).collect())
}

/// Reverts the `count` newest migrations, newest first, and deletes the data in their tables. This
/// function is for tests and for manual downgrades. No command calls it.
pub async fn revert(connect: &ConnectOptions, count: usize) -> Result<(), MigrateError> {
    let migrations = migrations()?;
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
    let _lock = MigrationLock::acquire(connect).await?;
    let (client, connection) = connect.open().await?;
    let connection = AsyncPgConnection::try_from_client_and_connection(client, connection)
        .await
        .map_err(|e| MigrateError::Failed(chain(&e)))?;
    let mut harness = AsyncMigrationHarness::new(connection);
    work(&mut harness).map_err(|e| MigrateError::Failed(chain(e.as_ref())))
}
