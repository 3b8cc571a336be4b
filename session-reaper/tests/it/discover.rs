//! `discover`: the tables that it recognizes, its proposals, and the certainty of each proposal.
//! `run` accepts a proposal as its configuration file.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and is its own documentation"
)]

use std::collections::BTreeMap;

mod certain;
mod planted;
mod projects;
mod values;

use serde_json::{Value, json};
use testkit::{Database, Program, Reaped, binary};

async fn discover(url: &str) -> Value {
    let (code, program) = Program::run(
        binary("session-reaper"),
        &["discover", "--output", "json"],
        &[("DATABASE_URL", url)],
    )
    .await;
    assert_eq!(code, Some(0), "{}", program.stderr());
    let found: Value = serde_json::from_str(&program.stdout()).unwrap();
    let (code, program) =
        Program::run(binary("session-reaper"), &["discover"], &[("DATABASE_URL", url)]).await;
    // The server may analyze a table between the two calls.
    assert_eq!(
        (code, without_rows(&program.stdout())),
        (Some(0), without_rows(config(&found))),
        "{}",
        program.stderr()
    );
    found
}

/// Returns a proposal without the row counts.
fn without_rows(config: &str) -> String {
    let words = config.replace("never analysed", "about 0 rows");
    words
        .lines()
        .map(|line| line.split_once("about ").map_or(line, |(line, _)| line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn config(found: &Value) -> &str {
    found["config"].as_str().unwrap()
}

/// Creates the indexes that a proposal names, and runs with the proposal, or with an edited version
/// of it, as the configuration.
async fn reap_by(database: &Database, config: &str) -> Reaped {
    let client = database.client().await;
    for index in config.lines().filter_map(|line| Some(line.split_once("first: ")?.1)) {
        client.batch_execute(index).await.unwrap_or_else(|error| panic!("{index}: {error:?}"));
    }
    testkit::reap_by(database, config, &[]).await
}

/// Returns the proposal with all targets uncommented: one `#` is removed from each of their lines.
/// A target ends with an empty line.
fn uncommented(config: &str) -> String {
    let blocks = config.split("\n\n").map(|block| match block.find("#[[target]]") {
        Some(at) => {
            format!("{}{}", &block[..at], block[at..].replace("\n#", "\n").trim_start_matches('#'))
        }
        None => block.to_owned(),
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// Returns each preset with its name, its certainty, and its tables with the names under which they
/// were found.
fn presets(found: &Value) -> Vec<(String, String, BTreeMap<String, Option<String>>)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let tables = |preset: &Value| {
        let tables = preset["tables"].as_array().unwrap().iter();
        tables.map(|table| (text(&table["table"]).unwrap(), text(&table["found"]))).collect()
    };
    let presets = found["presets"].as_array().unwrap().iter();
    presets
        .map(|preset| {
            (text(&preset["preset"]).unwrap(), text(&preset["how"]).unwrap(), tables(preset))
        })
        .collect()
}

/// Returns whether the target of a table is active in the proposal, and the certainty of each
/// column.
fn judged(found: &Value, table: &str) -> Option<(bool, Vec<(String, String)>)> {
    let target =
        found["targets"].as_array().unwrap().iter().find(|target| target["table"] == table)?;
    let column = |column: &Value| {
        (
            column["column"].as_str().unwrap().to_owned(),
            column["sureness"].as_str().unwrap().to_owned(),
        )
    };
    Some((
        target["live"].as_bool().unwrap(),
        target["columns"].as_array().unwrap().iter().map(column).collect(),
    ))
}

fn live(found: &Value) -> Vec<&str> {
    let live = found["targets"].as_array().unwrap().iter().filter(|target| target["live"] == true);
    live.map(|target| target["table"].as_str().unwrap()).collect()
}

async fn with_preset(preset: &str) -> Database {
    let database = Database::empty().await;
    let file = format!("{}/tests/presets/{preset}.sql", env!("CARGO_MANIFEST_DIR"));
    database.execute(&std::fs::read_to_string(file).unwrap()).await;
    database
}

#[tokio::test]
async fn each_preset_is_recognized_only_as_itself() {
    let mut names = Vec::new();
    for file in std::fs::read_dir(format!("{}/presets", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
        let database =
            if name == "auth-api" { Database::create().await } else { with_preset(&name).await };
        let found = discover(&database.url()).await;
        let presets = presets(&found);
        let [(preset, how, tables)] = presets.as_slice() else { panic!("{name}: {presets:?}") };
        assert_eq!((preset, how.as_str()), (&name, "certain"));
        assert!(tables.values().all(Option::is_some), "{name}: {tables:?}");
        assert!(
            found["presets"][0]["tables"]
                .as_array()
                .unwrap()
                .iter()
                .all(|table| table["elsewhere"] == false)
        );
        assert_eq!(live(&found), Vec::<&str>::new(), "{name}");

        let reaped = reap_by(&database, config(&found)).await;
        let targets = reaped.report["targets"]
            .as_array()
            .unwrap_or_else(|| panic!("{name}: {}", reaped.stderr));
        assert!(!targets.is_empty());
        // A target may fail only for lack of an index that the preset's page lists.
        for target in targets.iter().filter(|target| target["outcome"] != "success") {
            assert!(
                target["why"].as_str().unwrap().contains("CREATE INDEX CONCURRENTLY"),
                "{name}: {target}"
            );
        }
        names.push(name);
    }
    assert!(names.len() > 10 && names.contains(&"auth-api".to_owned()), "{names:?}");
}

#[tokio::test]
async fn existing_indexes_are_not_reported_as_missing() {
    // One index of auth-api is partial: `WHERE revoked_at IS NOT NULL`.
    let found = discover(&Database::create().await.url()).await;
    for table in found["presets"][0]["tables"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|table| table["off"] == false)
    {
        assert_eq!(table["missing_indexes"], json!([]), "{table}");
    }
    let database = with_preset("connect-pg-simple").await;
    let missing = |found: &Value| found["presets"][0]["tables"][0]["missing_indexes"].clone();
    assert_eq!(missing(&discover(&database.url()).await), json!([]));
    // A pass can use none of these indexes.
    for index in [
        "(sid, expire)",
        "(expire) WHERE sid > 'a'",
        "(expire) WHERE sess IS NOT NULL",
        "(date(expire))",
    ] {
        database
            .execute("DROP INDEX IF EXISTS \"IDX_session_expire\", session_sid_expire_idx, session_expire_idx")
            .await;
        database.execute(&format!("CREATE INDEX ON session {index}")).await;
        let wanted = json!(["CREATE INDEX CONCURRENTLY ON public.session (expire, sid)"]);
        assert_eq!(missing(&discover(&database.url()).await), wanted, "{index}");
    }
}

#[tokio::test]
async fn preset_in_another_schema_is_proposed_with_replaces() {
    let database = with_preset("connect-pg-simple").await;
    database
        .execute(
            r#"CREATE SCHEMA "Web";
               CREATE TABLE "Web".session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text,
                   "createdAt" timestamptz, "updatedAt" timestamptz, "userId" text);
               CREATE TABLE "Web".verification (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, identifier text, value text);
               INSERT INTO "Web".session VALUES ('due', now() - interval '2 days'), ('live', now());
               INSERT INTO session VALUES ('due', '{}', now() - interval '3 days'), ('live', '{}', now() + interval '1 day')"#,
        )
        .await;
    let found = discover(&database.url()).await;
    let summary: Vec<String> =
        presets(&found).into_iter().map(|(name, how, _)| format!("{name} {how}")).collect();
    assert_eq!(summary, ["better-auth certain", "connect-pg-simple certain"]);
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    assert_eq!(database.one::<String>("SELECT string_agg(sid, ',') FROM session").await, "live");
    assert_eq!(
        database.one::<String>("SELECT string_agg(id, ',') FROM \"Web\".session").await,
        "live"
    );
}

#[tokio::test]
async fn preset_in_several_schemas_is_proposed_for_each() {
    let database = with_preset("django").await;
    for schema in ["one", "two"] {
        database
            .execute(&format!(
                "CREATE SCHEMA {schema}; CREATE TABLE {schema}.django_session (LIKE public.django_session INCLUDING ALL);
                 INSERT INTO {schema}.django_session VALUES ('due', '', now() - interval '2 days'), ('live', '', now())"
            ))
            .await;
    }
    let found = discover(&database.url()).await;
    let matches: Vec<_> = presets(&found)
        .into_iter()
        .map(|(_, how, tables)| (how, tables["django_session"].clone()))
        .collect();
    let matches: Vec<_> =
        matches.iter().map(|(how, table)| (how.as_str(), table.as_deref().unwrap())).collect();
    assert_eq!(
        matches,
        [
            ("certain", "public.django_session"),
            ("again", "one.django_session"),
            ("again", "two.django_session")
        ]
    );
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    for schema in ["one", "two"] {
        assert_eq!(reaped.target(&format!("{schema}.django_session"))["deleted"]["expired"], 1);
    }
}

#[tokio::test]
async fn condition_on_other_tables_is_not_moved_to_another_schema() {
    let database = with_preset("django-oauth-toolkit").await;
    database
        .execute(
            "CREATE SCHEMA app;
             DO $$ DECLARE t text; BEGIN
                 FOR t IN SELECT tablename FROM pg_tables WHERE tablename LIKE 'oauth2_provider_%' LOOP
                     EXECUTE format('ALTER TABLE public.%I SET SCHEMA app', t);
                 END LOOP; END $$",
        )
        .await;
    let found = discover(&database.url()).await;
    let live: Vec<&str> = config(&found)
        .lines()
        .filter_map(|line| line.strip_prefix("replaces = \"oauth2_provider_"))
        .collect();
    assert_eq!(live, ["grant\"", "devicegrant\""], "{}", config(&found));
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
}

#[tokio::test]
async fn ambiguous_table_is_not_taken_for_a_preset() {
    let database = Database::empty().await;
    database
        .execute("CREATE TABLE sessions (id int PRIMARY KEY, expires_at timestamptz, revoked_at timestamptz)")
        .await;
    let found = discover(&database.url()).await;
    let [(preset, how, _)] = &presets(&found)[..] else { panic!("{found}") };
    assert_eq!((preset.as_str(), how.as_str()), ("auth-api", "perhaps"));
    assert!(!config(&found).contains("\npreset ="), "{}", config(&found));
    let (live, columns) = judged(&found, "public.sessions").unwrap();
    let certainties: Vec<_> =
        columns.iter().map(|(column, sure)| (column.as_str(), sure.as_str())).collect();
    assert!(live);
    assert_eq!(certainties, [("expires_at", "high"), ("revoked_at", "medium")]);

    // The columns must match, too.
    let database = Database::empty().await;
    database
        .execute("CREATE TABLE django_session (session_key text PRIMARY KEY, expire_date text)")
        .await;
    assert_eq!(presets(&discover(&database.url()).await), []);
}

#[tokio::test]
async fn proposal_deletes_exactly_the_due_rows() {
    let database = Database::empty().await;
    database
        .execute(
            r#"CREATE SCHEMA app; CREATE SCHEMA "Auth";
               CREATE TABLE app.login_tokens (id int PRIMARY KEY, expires_at timestamptz NOT NULL, used_at timestamptz);
               CREATE TABLE "Auth"."SessionTokens" ("Id" int PRIMARY KEY, "expiresAt" timestamp(3), "familyId" int);
               CREATE TABLE app.nonces (id int PRIMARY KEY, expires bigint NOT NULL);
               CREATE TABLE app.otps (id int PRIMARY KEY, exp int NOT NULL);
               CREATE TABLE app.verification_codes (id int PRIMARY KEY, valid_until date);
               CREATE TABLE orders (id int PRIMARY KEY, delivered_at timestamptz);
               CREATE TABLE users (id int PRIMARY KEY, created_at timestamptz);
               CREATE TABLE products (id int PRIMARY KEY, expires_at timestamptz);
               -- Rows are ten days apart, the first 35 days in the future: 0 to 6 are within the retention.
               INSERT INTO app.login_tokens SELECT n, now() + (35 - n * 10) * interval '1 day', now() - interval '9 years' FROM generate_series(0, 19) n;
               INSERT INTO "Auth"."SessionTokens" SELECT id, expires_at AT TIME ZONE 'UTC', CASE id % 2 WHEN 0 THEN id / 4 END FROM app.login_tokens;
               INSERT INTO app.nonces SELECT id, extract(epoch FROM expires_at) * 1000 FROM app.login_tokens;
               INSERT INTO app.otps SELECT id, extract(epoch FROM expires_at) FROM app.login_tokens;
               INSERT INTO app.verification_codes SELECT id, (expires_at AT TIME ZONE 'UTC')::date FROM app.login_tokens;
               INSERT INTO orders SELECT id, expires_at - interval '9 years' FROM app.login_tokens;
               INSERT INTO users TABLE orders; INSERT INTO products TABLE orders;
               ANALYZE"#,
        )
        .await;
    let found = discover(&database.url()).await;
    let expected = [
        r#""Auth"."SessionTokens""#,
        "app.login_tokens",
        "app.nonces",
        "app.otps",
        "app.verification_codes",
    ];
    assert_eq!(live(&found), expected, "{}", config(&found));

    // 0 means "never", and is inserted after ANALYZE.
    database
        .execute("INSERT INTO app.nonces VALUES (100, 0); INSERT INTO app.otps VALUES (100, 0)")
        .await;
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(reaped.code, Some(0), "{}{}", config(&found), reaped.stderr);
    for (table, left) in [
        ("app.login_tokens", "0,1,2,3,4,5,6"),
        // Row 7 is due and has no family. Rows 4 and 6 form a family in which no row is due. Rows 8
        // and 10 form a family in which both rows are due.
        (r#""Auth"."SessionTokens""#, "0,1,2,3,4,5,6"),
        ("app.nonces", "0,1,2,3,4,5,6,100"),
        ("app.otps", "0,1,2,3,4,5,6,100"),
        ("app.verification_codes", "0,1,2,3,4,5,6"),
        ("orders", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19"),
        ("users", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19"),
        ("products", "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19"),
    ] {
        let key = if table.contains('"') { "\"Id\"" } else { "id" };
        let remaining: String = database
            .one(&format!("SELECT string_agg({key}::text, ',' ORDER BY {key}) FROM {table}"))
            .await;
        assert_eq!(remaining, left, "{table}\n{}", config(&found));
    }
}

#[tokio::test]
async fn certainty_depends_on_names_and_other_columns() {
    let database = Database::empty().await;
    for (columns, table, expected) in [
        ("expires_at timestamptz", "upload_tickets", Some("medium")),
        ("expires_at timestamptz", "accounts", Some("low")),
        ("expires_at timestamptz", "promo_codes", Some("low")),
        ("expires_at timestamptz", "session_users", Some("low")),
        ("\"tokenExpiresAt\" timestamptz", "\"refreshToken\"", Some("high")),
        ("not_after date", "authtoken", Some("high")),
        ("exp timestamptz", "jwt_denylist", Some("high")),
        ("reset_token_expires_at timestamptz", "login_session", Some("medium")),
        ("reset_token_expires_at timestamptz", "users", None),
        ("expires_at text", "nonces", None),
        ("delivered_at timestamptz", "orders", None),
        ("created_at timestamptz", "people", None),
        ("created_at timestamptz", "password_resets", Some("low")),
        ("used_at timestamptz", "login_codes", Some("medium")),
        ("revoked int", "tokens", None),
        ("deleted_at timestamptz", "posts", Some("low")),
        ("last_activity int", "web_sessions", Some("low")),
        ("expires_at timestamptz, refresh_token text", "oauth_tokens", Some("medium")),
        ("expires_at timestamptz, status text", "verifications", Some("medium")),
        ("expires_at timestamptz", "invites", Some("medium")),
        ("expires_at timestamptz, valid_until timestamptz", "otps", Some("medium")),
    ] {
        database.execute(&format!("CREATE TABLE {table} ({columns})")).await;
        let found = discover(&database.url()).await;
        let sure =
            judged(&found, &format!("public.{table}")).map(|(_, columns)| columns[0].1.clone());
        assert_eq!(sure.as_deref(), expected, "{table} ({columns}): {}", config(&found));
        database.execute(&format!("DROP TABLE {table}")).await;
    }
}

#[tokio::test]
async fn foreign_keys_to_a_table_are_reported_and_lower_certainty() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE TABLE login_tokens (id int PRIMARY KEY, expires_at timestamptz, parent int REFERENCES login_tokens);
             CREATE TABLE letters (id int, token int REFERENCES login_tokens ON DELETE CASCADE)",
        )
        .await;
    let found = discover(&database.url()).await;
    let (certain, _) = judged(&found, "public.login_tokens").unwrap();
    assert!(!certain);
    let children = r#"by children = [{ table = "public.letters", column = "token" }]"#;
    for expected in [
        children,
        "# - rows of public.letters refer to it by ON DELETE CASCADE",
        "# - its own rows refer to it, and a row that",
    ] {
        assert!(config(&found).contains(expected), "{expected}\n{}", config(&found));
    }
    // The same applies to tables of a preset.
    let database = with_preset("django").await;
    database
        .execute("CREATE TABLE carts (session text REFERENCES django_session ON DELETE CASCADE)")
        .await;
    let found = discover(&database.url()).await;
    assert!(
        config(&found).contains("#     rows of public.carts refer to it by ON DELETE CASCADE"),
        "{}",
        config(&found)
    );
    assert_eq!(found["presets"][0]["how"], "perhaps");
    assert_eq!(live(&found), Vec::<&str>::new());
}

#[tokio::test]
async fn commented_out_targets_work_when_uncommented() {
    let database = Database::empty().await;
    database
        .execute(
            r#"CREATE TABLE "Mixed" ("Key" int PRIMARY KEY, "validUntil" timestamp, expiry timestamptz, "deletedAt" date, "usedAt" bigint);
               CREATE TABLE users (id int PRIMARY KEY, expires_at timestamptz, refresh_token text);
               CREATE TABLE nonces (id int PRIMARY KEY, expires bigint);
               INSERT INTO "Mixed" VALUES (1, now() - interval '99 days'), (2, now() - interval '9 days')"#,
        )
        .await;
    let found = discover(&database.url()).await;
    assert!(config(&found).contains("Nothing is certain here"), "{}", config(&found));
    let refused = reap_by(&database, config(&found)).await;
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(refused.stderr.contains("nothing to do"), "{}", refused.stderr);

    let used = uncommented(config(&found));
    let reaped = reap_by(&database, &used).await;
    assert_eq!(reaped.code, Some(0), "{}\n{}", used, reaped.stderr);
    assert_eq!(reaped.report["targets"].as_array().unwrap().len(), 3);
    assert_eq!(database.one::<i64>("SELECT count(*) FROM \"Mixed\"").await, 1);
}

#[tokio::test]
async fn no_name_can_inject_configuration() {
    let database = Database::empty().await;
    database
        .execute(
            "CREATE SCHEMA \"s\n[[target]]\ntable='users'\";
             CREATE TABLE \"s\n[[target]]\ntable='users'\".\"x'''\"\"\\\u{7f}\r\n[[target]]\ntable = \"\"users\"\" token\"
                 (\"k\n]\" int PRIMARY KEY, \"expires\nat\" timestamptz, \"family\" int);
             CREATE TABLE users (id int, seen timestamptz);
             INSERT INTO \"s\n[[target]]\ntable='users'\".\"x'''\"\"\\\u{7f}\r\n[[target]]\ntable = \"\"users\"\" token\"
             VALUES (1, now() - interval '99 days')",
        )
        .await;
    let found = discover(&database.url()).await;
    assert_eq!(live(&found), Vec::<&str>::new());
    let lines = config(&found).lines();
    assert_eq!(
        lines.filter(|line| line.starts_with("[[target]]")).count(),
        0,
        "{}",
        config(&found)
    );
    let used = uncommented(config(&found));
    assert_eq!(used.lines().filter(|line| line.starts_with("[[target]]")).count(), 1, "{used}");
    // Comments contain the names escaped; the JSON contains them unchanged.
    let target = &found["targets"][0];
    for index in [&target["columns"][0]["missing_index"], &target["group"]["missing_index"]] {
        database.execute(index.as_str().unwrap()).await;
    }
    let reaped = reap_by(&database, &used.replace("first: ", "")).await;
    assert_eq!(reaped.code, Some(0), "{used}{}", reaped.stderr);
    assert_eq!(reaped.report["targets"][0]["deleted"]["expired"], 1);
}

#[tokio::test]
async fn discover_needs_no_privileges_and_waits_for_no_lock() {
    let database = Database::create().await;
    database.execute("CREATE TABLE login_tokens (id int, expires_at timestamptz)").await;
    let holder = database.client().await;
    holder
        .batch_execute("BEGIN; LOCK TABLE sessions, consumed_challenges, login_tokens")
        .await
        .unwrap();
    let found = discover(&database.url_as("session_reaper")).await;
    assert_eq!(found["role"], "session_reaper");
    assert_eq!(presets(&found)[0].0, "auth-api");
    assert_eq!(live(&found), ["public.login_tokens"]);
}

#[tokio::test]
async fn partitions_and_views_are_skipped() {
    let database = Database::create().await;
    database
        .execute(
            "CREATE TABLE tokens (id int, expires_at timestamptz) PARTITION BY RANGE (expires_at);
             CREATE TABLE tokens_1 PARTITION OF tokens DEFAULT; INSERT INTO tokens VALUES (1, now()), (2, now()); ANALYZE;
             CREATE VIEW session_tokens AS TABLE tokens; CREATE MATERIALIZED VIEW old_tokens AS TABLE tokens",
        )
        .await;
    let found = discover(&database.url()).await;
    let tables: Vec<&Value> =
        found["targets"].as_array().unwrap().iter().map(|target| &target["table"]).collect();
    assert_eq!(tables, ["public.tokens"]);
    assert_eq!(found["targets"][0]["rows"], 2);
    // PostgreSQL cannot create an index concurrently on a partitioned table.
    assert_eq!(
        found["targets"][0]["columns"][0]["missing_index"],
        "CREATE INDEX ON public.tokens (expires_at)"
    );
    database.execute("INSERT INTO tokens VALUES (3, now() - interval '31 days')").await;
    let reaped = reap_by(&database, config(&found)).await;
    assert_eq!(
        reaped.target("public.tokens")["deleted"]["expired"],
        1,
        "{}{}",
        config(&found),
        reaped.stderr
    );
}

#[tokio::test]
async fn empty_database_yields_an_empty_proposal() {
    let database = Database::empty().await;
    let found = discover(&database.url()).await;
    assert_eq!((&found["presets"], &found["targets"]), (&json!([]), &json!([])));
    assert_eq!(found["unrecognised"], json!([]));
    assert!(
        config(&found).lines().all(|line| line.is_empty() || line.starts_with('#')),
        "{}",
        config(&found)
    );
}

#[tokio::test]
async fn exit_code_identifies_the_error() {
    let run = async |args: &[&str]| {
        let (code, program) =
            Program::run(binary("session-reaper"), &[&["discover"], args].concat(), &[]).await;
        assert_eq!(program.stdout(), "");
        (code, program.stderr())
    };
    let (code, stderr) = run(&["--database-url", "postgres://nobody@127.0.0.1:1/nowhere"]).await;
    assert_eq!(code, Some(69), "{stderr}");
    let (code, stderr) = run(&["--output", "xml"]).await;
    assert_eq!(code, Some(78));
    for expected in ["DATABASE_URL: not given", "OUTPUT=xml: text or json"] {
        assert!(stderr.contains(expected), "{expected}\n{stderr}");
    }
}
