//! Migrations, and the file that is generated from them.

use std::fmt::Write as _;
use std::sync::Arc;

use diesel_async::{AsyncConnection as _, AsyncMigrationHarness, AsyncPgConnection};
use diesel_migrations::{FileBasedMigrations, MigrationHarness as _};
use pg::connect::ConnectOptions;
use reaper::store::migrate::MIGRATIONS;
use schema::migrate;
use testkit::Database;

fn options(database: &Database) -> ConnectOptions {
    ConnectOptions::new(&database.url(), "test").unwrap()
}

/// Returns tables, columns, indexes and constraints as text.
async fn shape(database: &Database) -> String {
    database
        .one(
            "SELECT coalesce(string_agg(line, E'\\n' ORDER BY line), '') FROM (
                 SELECT format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default) AS line
                   FROM information_schema.columns WHERE table_schema = 'public'
                 UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
                 UNION ALL SELECT conrelid::regclass || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
                   WHERE connamespace = 'public'::regnamespace
             ) AS lines WHERE line NOT LIKE '%__diesel_schema_migrations%'",
        )
        .await
}

/// A set of migrations.
#[derive(Clone, Copy)]
enum Set {
    Auth,
    Reaper,
}

impl Set {
    const BOTH: [Self; 2] = [Self::Auth, Self::Reaper];

    async fn apply(self, database: &Database) -> Vec<String> {
        let options = options(database);
        match self {
            Self::Auth => migrate::run(&options).await.unwrap(),
            Self::Reaper => reaper::store::migrate::run(&options).await.unwrap(),
        }
    }

    async fn revert_all(self, database: &Database) {
        let options = options(database);
        match self {
            Self::Auth => migrate::revert(&options, usize::MAX).await.unwrap(),
            Self::Reaper => {
                reaper::store::migrate::revert(&options, MIGRATIONS, usize::MAX).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_sets_apply_in_any_order_and_only_once() {
    let (one, other) = (Database::empty().await, Database::empty().await);
    for (database, order) in [(&one, Set::BOTH), (&other, [Set::Reaper, Set::Auth])] {
        for set in order {
            assert!(!set.apply(database).await.is_empty());
            assert_eq!(set.apply(database).await, Vec::<String>::new());
        }
    }
    let shape_of_one = shape(&one).await;
    assert!(shape_of_one.contains("sessions.revoked_at"), "{shape_of_one}");
    assert_eq!(shape_of_one, shape(&other).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_migrators_apply_each_migration_once() {
    let database = Arc::new(Database::empty().await);
    let migrators: Vec<_> = [Set::BOTH, Set::BOTH]
        .concat()
        .into_iter()
        .map(|set| {
            let database = Arc::clone(&database);
            tokio::spawn(async move { set.apply(&database).await.len() })
        })
        .collect();
    let mut applied = 0;
    for migrator in migrators {
        applied += migrator.await.unwrap();
    }
    assert_eq!(applied, migrate::versions().unwrap().len() + MIGRATIONS.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn down_migrations_revert_all_changes() {
    let database = Database::empty().await;
    for set in Set::BOTH {
        set.apply(&database).await;
    }
    let before = shape(&database).await;
    for set in [Set::Reaper, Set::Auth] {
        set.revert_all(&database).await;
    }
    assert_eq!(shape(&database).await, "");
    for set in Set::BOTH {
        set.apply(&database).await;
    }
    assert_eq!(shape(&database).await, before);
}

/// Applies the reaper's migrations with Diesel, as session-reaper did before it had its own
/// migration runner.
async fn apply_with_diesel(database: &Database) -> usize {
    let connection = AsyncPgConnection::establish(&database.url()).await.unwrap();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations/reaper");
    let migrations = FileBasedMigrations::from_path(folder).unwrap();
    let mut harness = AsyncMigrationHarness::new(connection);
    harness.run_pending_migrations(migrations).unwrap().len()
}

/// Returns the definition of the versions table, and the versions in it.
async fn versions(database: &Database) -> String {
    database
        .one(
            "SELECT string_agg(format('%s %s %s %s %s', column_name, data_type, character_maximum_length, is_nullable, column_default), ',')
                 || (SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '__diesel_schema_migrations'::regclass)
                 || (SELECT string_agg(version, ',') FROM __diesel_schema_migrations)
             FROM information_schema.columns WHERE table_name = '__diesel_schema_migrations'",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn reaper_migrations_are_compatible_with_diesel() {
    let (old_first, new_first) = (Database::empty().await, Database::empty().await);
    assert_eq!(apply_with_diesel(&old_first).await, MIGRATIONS.len());
    assert_eq!(Set::Reaper.apply(&old_first).await, Vec::<String>::new());
    assert_eq!(Set::Reaper.apply(&new_first).await.len(), MIGRATIONS.len());
    assert_eq!(apply_with_diesel(&new_first).await, 0);
    assert_eq!(versions(&old_first).await, versions(&new_first).await);
    assert_eq!(shape(&old_first).await, shape(&new_first).await);
}

/// Reverts the last migration and applies it again, then reverts and applies the last two
/// migrations, and so on. If all migrations were reverted at once, an error in one `down.sql` could
/// be hidden by another `down.sql` that drops the whole table.
#[tokio::test(flavor = "multi_thread")]
async fn each_down_reverts_its_own_up() {
    let database = Database::empty().await;
    let count = migrate::run(&options(&database)).await.unwrap().len();
    let whole = shape(&database).await;
    for steps in 1..=count {
        migrate::revert(&options(&database), steps).await.unwrap();
        migrate::run(&options(&database)).await.unwrap();
        assert_eq!(shape(&database).await, whole, "after reverting the last {steps}");
    }
}

#[tokio::test]
async fn every_index_has_a_comment() {
    let database = Database::create().await;
    let undocumented: Option<String> = database
        .one(
            "SELECT string_agg(indexrelid::regclass::text, ', ') FROM pg_index
             JOIN pg_class ON pg_class.oid = indrelid
             WHERE relnamespace = 'public'::regnamespace AND relname <> '__diesel_schema_migrations'
               AND obj_description(indexrelid, 'pg_class') IS NULL",
        )
        .await;
    assert_eq!(undocumented, None);
}

#[tokio::test]
async fn tables_reject_invalid_rows() {
    let database = Database::create().await;
    let client = database.client().await;
    let account = "INSERT INTO accounts (id, issuer, subject)
                   VALUES ('00000000-0000-7000-8000-000000000001', 'stellar:testnet', 'G')";
    client.batch_execute(account).await.unwrap();
    let session = |set: &str| {
        format!(
            "WITH s AS (INSERT INTO sessions (id, account_id, expires_at, absolute_expires_at)
                 VALUES (gen_random_uuid(), '00000000-0000-7000-8000-000000000001', now(), now()) RETURNING id)
             SELECT 1 FROM s; UPDATE sessions SET {set}"
        )
    };
    let family = |generation: &str, hash: &str| {
        format!(
            "INSERT INTO token_families (session_id, generation, token_hash)
             SELECT id, {generation}, {hash} FROM sessions LIMIT 1"
        )
    };
    client.batch_execute(&session("expires_at = now() - interval '1 day'")).await.unwrap();
    for (bad, constraint) in [
        (session("expires_at = now() + interval '1 day'"), "sessions_expires_before_absolute"),
        (session("revoked_at = now(), revoked_reason = 'mood'"), "sessions_revoked_reason_check"),
        (session("revoked_reason = 'logout'"), "sessions_reason_only_when_revoked"),
        (session("token_hash = '\\x00'"), "sessions_token_hash_check"),
        (family("-1", "sha256('')"), "token_families_generation_check"),
        (family("0", "'\\x00'"), "token_families_token_hash_check"),
        (
            "INSERT INTO consumed_challenges VALUES ('\\x00', now())".into(),
            "consumed_challenges_nonce_hash_check",
        ),
        (account.replace("01'", "02'"), "accounts_issuer_subject_key"),
    ] {
        let error = client.batch_execute(&bad).await.expect_err(&bad);
        assert_eq!(error.as_db_error().unwrap().constraint(), Some(constraint), "{bad}");
    }
}

/// Returns `schema/src/tables.rs` as `diesel print-schema` would write it for this database. The
/// output was identical to that of Diesel CLI 2.3.14 when this test was written.
async fn print_schema(database: &Database) -> String {
    let client = database.client().await;
    let columns = client
        .query(
            "SELECT c.relname::text, a.attname::text, t.typname::text, NOT a.attnotnull, coalesce(a.attnum = ANY (pk.conkey), false)
             FROM pg_class AS c
             JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             JOIN pg_type AS t ON t.oid = a.atttypid
             LEFT JOIN pg_constraint AS pk ON pk.conrelid = c.oid AND pk.contype = 'p'
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
               AND c.relname <> '__diesel_schema_migrations'
             ORDER BY c.relname, a.attnum",
            &[],
        )
        .await
        .unwrap();
    let mut text = String::from("// @generated automatically by Diesel CLI.\n");
    let mut tables: Vec<String> = Vec::new();
    for row in &columns {
        let (table, column, udt, nullable): (String, String, String, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if tables.last() != Some(&table) {
            let keys: Vec<String> = columns
                .iter()
                .filter(|row| row.get::<_, String>(0) == table && row.get(4))
                .map(|row| row.get(1))
                .collect();
            if !tables.is_empty() {
                text.push_str("    }\n}\n");
            }
            write!(text, "\ndiesel::table! {{\n    {table} ({}) {{\n", keys.join(", ")).unwrap();
            tables.push(table);
        }
        let name = format!("{}{}", udt[..1].to_uppercase(), &udt[1..]);
        let ty = if nullable { format!("Nullable<{name}>") } else { name };
        writeln!(text, "        {column} -> {ty},").unwrap();
    }
    text.push_str("    }\n}\n\n");
    let foreign_keys = client
        .query(
            "SELECT conrelid::regclass::text, confrelid::regclass::text, attname::text FROM pg_constraint
             JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
             WHERE contype = 'f' ORDER BY 1, 2",
            &[],
        )
        .await
        .unwrap();
    for row in foreign_keys {
        let (child, parent, column): (String, String, String) =
            (row.get(0), row.get(1), row.get(2));
        writeln!(text, "diesel::joinable!({child} -> {parent} ({column}));").unwrap();
    }
    text.push_str("\ndiesel::allow_tables_to_appear_in_same_query!(\n");
    for table in tables {
        writeln!(text, "    {table},").unwrap();
    }
    text.push_str(");\n");
    text
}

#[tokio::test]
async fn tables_rs_matches_the_migrations() {
    let database = Database::create().await;
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tables.rs")).unwrap();
    assert_eq!(
        file,
        print_schema(&database).await,
        "schema/src/tables.rs is out of date: run `diesel print-schema > schema/src/tables.rs`"
    );
}
