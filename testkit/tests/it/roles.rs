//! Checks deploy/postgres/roles.sql: each role has exactly the privileges that its program needs.

use testkit::Database;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Selects every privilege of the two roles on tables, columns (including system columns) and
/// schemas. Column privileges are listed only if the privilege on the whole table is not granted.
const HELD: &str = "
    WITH roles (role) AS (VALUES ('auth_api'::name), ('session_reaper')),
    tables AS (SELECT c.oid, c.oid::regclass::text AS name FROM pg_class c
               WHERE c.relkind IN ('r', 'p', 'v', 'S') AND c.relnamespace NOT IN
                   (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_%' OR nspname = 'information_schema')),
    whole (role, name, oid, privilege, held) AS (
        SELECT role, name, oid, p, has_table_privilege(role, oid, p) FROM roles, tables,
            unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE,REFERENCES,TRIGGER}'::text[]) AS p)
    SELECT format('%s %s %s', role, name, privilege) FROM whole WHERE held
    UNION ALL
    SELECT format('%s %s %s (%s)', w.role, w.name, w.privilege, string_agg(a.attname, ', ' ORDER BY a.attname))
    FROM whole w JOIN pg_attribute a ON a.attrelid = w.oid AND NOT a.attisdropped
    WHERE w.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND NOT w.held
        AND has_column_privilege(w.role, w.oid, a.attnum, w.privilege)
    GROUP BY w.role, w.name, w.privilege
    UNION ALL
    SELECT format('%s schema %s %s', role, nspname, p) FROM roles, pg_namespace n, unnest('{CREATE}'::text[]) AS p
    WHERE has_schema_privilege(role, n.oid, p)
    ORDER BY 1";

const ALL: [&str; 18] = [
    "auth_api __diesel_schema_migrations SELECT (version)",
    "auth_api accounts INSERT",
    "auth_api accounts SELECT",
    "auth_api accounts UPDATE (disabled_at, last_login_at)",
    "auth_api consumed_challenges INSERT",
    "auth_api consumed_challenges SELECT",
    "auth_api sessions INSERT",
    "auth_api sessions SELECT",
    "auth_api sessions UPDATE (expires_at, last_seen_at, previous_hash, previous_until, revoked_at, revoked_reason, sealed_successor, token_hash)",
    "auth_api token_families INSERT",
    "auth_api token_families SELECT",
    "auth_api token_families UPDATE (attempt_hash, foreign_generation, foreign_generations, generation, last_ipv4, last_ipv6, \
     previous_expires_at, previous_hash, previous_rotated_at, recorded_generation, rotated_at, sealed_successor, token_hash)",
    "session_reaper consumed_challenges DELETE",
    "session_reaper consumed_challenges SELECT (ctid, expires_at, nonce_hash, tableoid)",
    "session_reaper consumed_challenges UPDATE (expires_at)",
    "session_reaper sessions DELETE",
    "session_reaper sessions SELECT (ctid, expires_at, id, revoked_at, tableoid)",
    "session_reaper sessions UPDATE (user_agent)",
];

/// Privileges on the tables of the reaper.
const OWN: [&str; 8] = [
    "session_reaper reaper_runs DELETE",
    "session_reaper reaper_runs INSERT",
    "session_reaper reaper_runs SELECT",
    "session_reaper reaper_runs UPDATE (finished_at, heartbeat_at, outcome, report)",
    "session_reaper reaper_state DELETE",
    "session_reaper reaper_state INSERT",
    "session_reaper reaper_state SELECT",
    "session_reaper reaper_state UPDATE (updated_at, value)",
];

async fn held(client: &Client) -> Vec<String> {
    client.query(HELD, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Returns all expected privileges, in the order of [`held`].
fn expected() -> Vec<&'static str> {
    let mut all: Vec<&str> = ALL.into_iter().chain(OWN).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn each_role_has_the_listed_privileges_and_no_other() {
    let database = Database::create().await;
    assert_eq!(held(&database.client().await).await, expected());
}

#[tokio::test]
async fn statements_without_privilege_are_rejected() {
    let database = Database::create().await;
    for (role, statements) in [
        (
            "auth_api",
            &[
                "UPDATE sessions SET account_id = id",
                "UPDATE sessions SET absolute_expires_at = now()",
                "UPDATE sessions SET user_agent = ''",
                "UPDATE sessions SET ip = NULL",
                "UPDATE sessions SET created_at = now()",
                "UPDATE sessions SET id = gen_random_uuid()",
                "UPDATE accounts SET subject = ''",
                "UPDATE accounts SET issuer = ''",
                "UPDATE accounts SET id = gen_random_uuid()",
                "UPDATE token_families SET session_id = gen_random_uuid()",
                "UPDATE token_families SET key = NULL",
                "UPDATE consumed_challenges SET expires_at = now()",
                "DELETE FROM accounts",
                "DELETE FROM sessions",
                "DELETE FROM token_families",
                "DELETE FROM consumed_challenges",
                "TRUNCATE sessions CASCADE",
                "SELECT FROM reaper_runs",
                "SELECT FROM reaper_state",
                "DELETE FROM __diesel_schema_migrations",
                "CREATE TABLE mine (a int)",
                "ALTER TABLE sessions DISABLE TRIGGER ALL",
            ][..],
        ),
        (
            "session_reaper",
            &[
                "SELECT account_id FROM sessions",
                "SELECT token_hash FROM sessions",
                "SELECT user_agent FROM sessions",
                "SELECT ip FROM sessions",
                "SELECT * FROM sessions",
                "INSERT INTO sessions DEFAULT VALUES",
                "UPDATE sessions SET expires_at = now()",
                "UPDATE sessions SET revoked_at = NULL",
                "UPDATE sessions SET account_id = NULL",
                "TRUNCATE sessions CASCADE",
                "SELECT FROM accounts",
                "DELETE FROM accounts",
                "UPDATE accounts SET disabled_at = NULL",
                "SELECT FROM token_families",
                "SELECT key FROM token_families",
                "DELETE FROM token_families",
                "INSERT INTO consumed_challenges VALUES ('', now())",
                "UPDATE consumed_challenges SET nonce_hash = ''",
                "TRUNCATE consumed_challenges",
                "UPDATE reaper_runs SET instance = ''",
                "SELECT FROM __diesel_schema_migrations",
                "CREATE TABLE mine (a int)",
            ],
        ),
    ] {
        let client = database.client().await;
        client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        for statement in statements {
            let Err(error) = client.batch_execute(statement).await else {
                panic!("{role}: {statement}")
            };
            assert_eq!(
                error.code(),
                Some(&SqlState::INSUFFICIENT_PRIVILEGE),
                "{role}: {statement}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn rerunning_the_script_revokes_excess_privileges() {
    let database = Database::create().await;
    let client = database.client().await;
    client
        .batch_execute(
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO auth_api, session_reaper;
             GRANT INSERT (id), UPDATE (account_id), REFERENCES (id), SELECT (xmin) ON sessions TO auth_api, session_reaper;
             GRANT SELECT (token_hash) ON token_families TO session_reaper WITH GRANT OPTION",
        )
        .await
        .unwrap();
    assert_ne!(held(&client).await, expected());
    database.apply_roles("").await;
    assert_eq!(held(&client).await, expected());
}

#[tokio::test]
async fn rerunning_the_script_keeps_privileges_uninterrupted() {
    let database = Database::create().await;
    let (mut owner, program) = (database.client().await, database.client().await);
    program.batch_execute("SET ROLE auth_api").await.unwrap();
    let works =
        async || program.batch_execute("UPDATE sessions SET last_seen_at = now()").await.unwrap();
    // The script is one transaction, so its revocations and grants become visible at once.
    let transaction = owner.transaction().await.unwrap();
    transaction.batch_execute(include_str!("../../../deploy/postgres/roles.sql")).await.unwrap();
    works().await;
    transaction.commit().await.unwrap();
    works().await;
}

#[tokio::test]
async fn account_privileges_are_granted_only_on_request() {
    let database = Database::create().await;
    let client = database.client().await;
    database.apply_roles("SET session_reaper.keep_accounts = 'on'").await;
    let mut more = expected();
    more.retain(|line| !line.starts_with("session_reaper sessions SELECT"));
    more.extend([
        "session_reaper sessions SELECT (account_id, ctid, expires_at, id, revoked_at, tableoid)",
        "session_reaper accounts DELETE",
        "session_reaper accounts SELECT (ctid, disabled_at, id, last_login_at, tableoid, xmax)",
        "session_reaper accounts UPDATE (last_login_at)",
    ]);
    more.sort_unstable();
    assert_eq!(held(&client).await, more);
    database.apply_roles("").await;
    assert_eq!(held(&client).await, expected());
}

#[tokio::test]
async fn tables_of_other_applications_get_no_grants() {
    for foreign in [
        "CREATE TABLE accounts (id uuid PRIMARY KEY); CREATE TABLE sessions (sid text PRIMARY KEY)",
        "CREATE TABLE sessions (id bigint PRIMARY KEY, expires_at timestamptz, revoked_at timestamptz, user_agent text,
             last_seen_at timestamptz, revoked_reason text, account_id uuid)",
        "CREATE TABLE accounts (id uuid PRIMARY KEY, last_login_at timestamptz, disabled_at timestamptz);
         CREATE TABLE sessions (id uuid PRIMARY KEY, account_id uuid, expires_at timestamptz, revoked_at timestamptz);
         CREATE TABLE token_families (session_id uuid REFERENCES sessions);
         CREATE TABLE consumed_challenges (nonce_hash bytea PRIMARY KEY, expires_at timestamptz)",
        "CREATE VIEW accounts AS SELECT 1 AS id; CREATE VIEW sessions AS SELECT 1 AS id",
    ] {
        let database = Database::empty().await;
        database.execute(foreign).await;
        database.execute(include_str!("../../../migrations/reaper/2001_runs_and_state/up.sql")).await;
        // The privileges on the reaper's tables are granted nevertheless.
        database.apply_roles("").await;
        assert_eq!(held(&database.client().await).await, OWN, "{foreign}");
    }
    let database = Database::empty().await;
    database
        .execute("CREATE TABLE reaper_runs (id int); CREATE TABLE reaper_state (key text)")
        .await;
    database.apply_roles("").await;
    assert_eq!(held(&database.client().await).await, Vec::<String>::new());
}

#[tokio::test]
async fn tables_are_found_through_the_search_path() {
    let database = Database::create().await;
    let client = database.client().await;
    client
        .batch_execute(
            "CREATE SCHEMA auth; CREATE SCHEMA other; CREATE TABLE other.sessions (id int);
             REVOKE ALL ON ALL TABLES IN SCHEMA public FROM auth_api, session_reaper;
             ALTER TABLE accounts SET SCHEMA auth; ALTER TABLE sessions SET SCHEMA auth;
             ALTER TABLE token_families SET SCHEMA auth; ALTER TABLE consumed_challenges SET SCHEMA auth",
        )
        .await
        .unwrap();
    database.apply_roles("SET search_path = other, auth, public").await;
    assert_eq!(held(&client).await, OWN, "another table called sessions comes first");
    database.apply_roles("SET search_path = public, auth, other").await;
    let found = held(&client).await;
    assert_eq!(found.len(), expected().len(), "{found:#?}");
    let moved = expected()
        .into_iter()
        .filter(|line| !line.contains("__diesel") && !line.contains(" reaper_"));
    assert_eq!(
        found.iter().filter(|line| line.contains(" auth.")).count(),
        moved.count(),
        "{found:#?}"
    );
    let usage =
        |schema| format!("SELECT has_schema_privilege('session_reaper', '{schema}', 'USAGE')");
    assert!(database.one(&usage("auth")).await);
    assert!(!database.one::<bool>(&usage("other")).await);
}

#[tokio::test]
async fn planted_functions_and_operators_are_not_executed() {
    let database = Database::create().await;
    let functions = [
        ("format", "text, text, text", "text"),
        ("format_type", "oid, integer", "text"),
        ("to_regclass", "text", "regclass"),
        ("array_append", "anyarray, anyelement", "anyarray"),
        ("array_cat", "anyarray, anyarray", "anyarray"),
        ("current_setting", "text", "text"),
        ("set_config", "text, text, boolean", "text"),
        ("cardinality", "anyarray", "integer"),
    ];
    for (name, arguments, result) in functions {
        database
            .execute(&format!(
                "CREATE FUNCTION public.{name}({arguments}) RETURNS {result} LANGUAGE plpgsql AS
                 'BEGIN RAISE EXCEPTION ''planted: {name}''; END'"
            ))
            .await;
    }
    for (left, right) in [
        ("oid", "oid"),
        ("name", "name"),
        ("text", "text"),
        ("oid", "regclass"),
        ("name", "text"),
        ("anyarray", "anyarray"),
    ] {
        let name = format!("planted_{left}_{right}");
        database
            .execute(&format!(
                "CREATE FUNCTION public.{name}({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS
                     'BEGIN RAISE EXCEPTION ''planted: {left} = {right}''; END';
                 CREATE OPERATOR public.= (leftarg = {left}, rightarg = {right}, function = public.{name})"
            ))
            .await;
    }
    database.execute("CREATE DOMAIN public.uuid AS text; CREATE DOMAIN public.timestamptz AS text; CREATE DOMAIN public.text AS int").await;
    database.apply_roles("SET search_path = public, pg_catalog").await;
    let client = database.client().await;
    client.batch_execute("SET search_path = pg_catalog, public").await.unwrap();
    let unqualified: Vec<String> = held(&client).await;
    assert_eq!(unqualified.len(), expected().len(), "{unqualified:#?}");
}

#[test]
fn structure_check_is_the_same_as_in_the_reaper() {
    let words = |text: &str| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("--"));
        code.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    };
    let proof = include_str!("../../../reaper/src/target/auth_api.sql");
    let statement = words(&proof[proof.find("WITH expected").unwrap()..]);
    assert!(words(include_str!("../../../deploy/postgres/roles.sql")).contains(&statement));
}
