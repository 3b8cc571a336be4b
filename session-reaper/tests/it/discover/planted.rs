//! Operators, functions and tables that an attacker planted on the `search_path` are never used.

use testkit::{Database, Program, binary};

use super::{config, discover, live};

/// Creates operators and functions for all combinations of types. Each raises an error when called.
const PLANT: &str = r#"
DO $plant$
DECLARE
    types text[] := '{name,oid,regclass,regtype,"\"char\"",int2,int4,int8,float4,float8,numeric,text,bool,timestamptz,timestamp,date,int2vector,oidvector,int2[],oid[],text[],name[],regtype[],float4[],float8[]}';
    body text := 'BEGIN RAISE EXCEPTION ''planted''; END';
    names text[] := ARRAY(SELECT DISTINCT proname::text FROM pg_proc WHERE position(' ' || proname || ' ' in ' ' || $names$NAMES$names$ || ' ') > 0);
    a text; b text; f text; o text;
BEGIN
    FOREACH a IN ARRAY types LOOP
        FOREACH f IN ARRAY names LOOP
            EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS text LANGUAGE plpgsql AS %L', f, a, body);
        END LOOP;
        FOREACH b IN ARRAY types LOOP
            EXECUTE format('CREATE FUNCTION public.planted(%s, %s) RETURNS bool LANGUAGE plpgsql AS %L', a, b, body);
            FOREACH o IN ARRAY '{=,<>,<,<=,>,>=,&,-,+,/,*,~,~~,||}'::text[] LOOP
                EXECUTE format('CREATE OPERATOR public.%s (leftarg = %s, rightarg = %s, function = public.planted)', o, a, b);
            END LOOP;
        END LOOP;
    END LOOP;
    FOREACH f IN ARRAY '{date_part,starts_with}'::text[] LOOP
        FOREACH a IN ARRAY types LOOP
            FOREACH b IN ARRAY types LOOP
                EXECUTE format('CREATE FUNCTION public.%I(%s, %s) RETURNS text LANGUAGE plpgsql AS %L', f, a, b, body);
            END LOOP;
        END LOOP;
    END LOOP;
    EXECUTE 'CREATE FUNCTION public.replace(name, text, text) RETURNS text LANGUAGE plpgsql AS ' || quote_literal(body);
    EXECUTE 'CREATE FUNCTION public.pg_has_role(oid, oid, text) RETURNS bool LANGUAGE plpgsql AS ' || quote_literal(body);
    EXECUTE 'CREATE TABLE public.pg_class (oid oid); CREATE TABLE public.pg_attribute (attrelid oid)';
END $plant$"#;

/// Returns all words in the source of `discover`. These include the names of the functions that its
/// statements call.
fn words() -> String {
    let mut text = String::new();
    for file in std::fs::read_dir(format!("{}/src/discover", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        text += &std::fs::read_to_string(file.unwrap().path()).unwrap();
    }
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn planted_operators_and_functions_are_not_used() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE SCHEMA app;
             CREATE TABLE app.sessions (id int PRIMARY KEY, expires_at timestamptz);
             CREATE TABLE app.login_tokens (id int PRIMARY KEY, expires bigint, valid_until date, revoked_at timestamp);
             CREATE TABLE app.orders (session_id int);
             CREATE TABLE app.nonces (id int, expires_at timestamptz) PARTITION BY RANGE (expires_at);
             CREATE TABLE app.nonces_1 PARTITION OF app.nonces DEFAULT;
             CREATE INDEX ON app.sessions (expires_at) WHERE expires_at IS NOT NULL;
             INSERT INTO app.sessions SELECT n, now() + n * interval '1 hour' FROM generate_series(1, 500) n;
             INSERT INTO app.login_tokens SELECT id, extract(epoch FROM expires_at), expires_at, expires_at FROM app.sessions;
             ANALYZE",
        )
        .await;
    let before = discover(&database.url()).await;
    assert_eq!(live(&before), ["app.nonces"], "{}", config(&before));
    database.execute(&PLANT.replace("NAMES", &words())).await;
    for path in [r#""$user", public"#, "public, pg_catalog"] {
        let name = database.name();
        database.execute(&format!("ALTER DATABASE {name} SET search_path = {path}")).await;
        let (code, program) = Program::run(
            binary("session-reaper"),
            &["discover", "--output", "json"],
            &[("DATABASE_URL", &database.url())],
        )
        .await;
        assert_eq!(code, Some(0), "{}", program.stderr());
        let after: serde_json::Value = serde_json::from_str(&program.stdout()).unwrap();
        assert_eq!(after["targets"], before["targets"], "{}", config(&after));
    }
}

#[tokio::test]
async fn table_of_another_owner_is_not_read() {
    let database = Database::empty().await;
    // Planning a query on the table runs the function in its index.
    let (owner, us) = (format!("owner_{}", database.name()), format!("us_{}", database.name()));
    database
        .execute(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {us}; CREATE SCHEMA app AUTHORIZATION {owner}; GRANT USAGE ON SCHEMA app TO {us};
             SET ROLE {owner};
             CREATE TABLE app.sessions (id int PRIMARY KEY, expires_at timestamptz) WITH (autovacuum_enabled = off);
             CREATE FUNCTION app.f(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
                 IF current_user <> '{owner}' THEN RAISE EXCEPTION 'called by %', current_user; END IF; RETURN 1; END $$;
             INSERT INTO app.sessions SELECT n, now() FROM generate_series(1, 500) n;
             CREATE INDEX ON app.sessions (expires_at);
             CREATE INDEX ON app.sessions (id) WHERE id > app.f(1);
             GRANT SELECT ON app.sessions TO {us}"
        ))
        .await;
    let client = database.client().await;
    client.batch_execute(&format!("SET ROLE {us}")).await.unwrap();
    let planned = client.batch_execute("EXPLAIN SELECT FROM app.sessions WHERE id > 3").await;
    let found = discover(&database.url_as(&us)).await;
    let column = &found["targets"][0]["columns"][0];
    drop(client);
    let (values, why) = (column["sureness"].clone(), column["why"].clone());
    database.execute(&format!("DROP OWNED BY {us}, {owner}; DROP ROLE {us}, {owner}")).await;
    assert!(planned.is_err(), "planning the query did not call the function");
    // The values were not read: all of them are in the past, which would lower the certainty.
    assert_eq!(values, "high", "{why}");
}
