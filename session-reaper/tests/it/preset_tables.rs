//! Tables as a project creates them, filled with rows whose times are around the end of their
//! retention periods.

use testkit::{Database, Reaped};
use tokio_postgres::Client;

/// The number of rows in each table.
const ROWS: i64 = 50_000;

/// A preset, its tables, and the rows that are due according to the preset's page in
/// `docs/presets/`.
pub(crate) struct Case {
    pub(crate) preset: &'static str,
    /// The tables as (schema, table), in the order in which they are processed.
    pub(crate) tables: &'static [(&'static str, &'static str)],
    /// Columns that need special values, with the values as SQL in which `i` is the row number.
    pub(crate) columns: &'static [(&'static str, &'static str)],
    /// SQL that deletes the due rows. `:now` is the start of the run; `:utc` is the same time in
    /// UTC, without a time zone.
    pub(crate) due: &'static str,
}

/// SQL for times at the end of the usual retention periods, and shortly before and after it. No
/// time is within five minutes of the current time, because `where` conditions use the start of the
/// statement, which is later than the start of the run.
const TIMES: &str = "
    SELECT array_agg(CASE WHEN abs(extract(epoch FROM now() - at)) < 300 THEN at + interval '1 hour' ELSE at END)
        || ARRAY['infinity', 'infinity', 'infinity', 'infinity']::timestamptz[] AS times
    FROM unnest(ARRAY['0', '1 day', '3 days', '7 days', '30 days']::interval[]) AS keep,
        unnest(ARRAY['0', '1 us', '-1 us', '40 ms', '-40 ms', '1 hour', '-1 hour', '5 days', '-5 days', '-60 days']::interval[])
            AS around,
        generate_series(0, 3) AS minutes, LATERAL (SELECT now() - keep + around + minutes * interval '1 minute') AS t (at)";

/// SQL for a random one of the times, as seconds since 1970. Infinite times are excluded, because
/// they have no such value.
macro_rules! epoch {
    () => {
        "extract(epoch FROM least(times[1 + floor(random() * cardinality(times))::int], now() + interval '9 years'))"
    };
}
pub(crate) use epoch;

/// Returns SQL for a random value, in which `i` is the row number and `times` are the times to
/// choose from. Text values differ between tables, so that none is a reference to another table.
fn any(table: &str, sql_type: &str, nullable: bool) -> String {
    let time = "times[1 + floor(random() * cardinality(times))::int]";
    let value = match sql_type {
        "timestamp with time zone" => time.to_owned(),
        "timestamp without time zone" => format!("({time}) AT TIME ZONE 'UTC'"),
        "text" | "character varying" => format!("'{table} ' || i"),
        "uuid" => "gen_random_uuid()".to_owned(),
        "bigint" | "integer" => "i".to_owned(),
        "smallint" => "floor(random() * 8)::int".to_owned(),
        "boolean" => "random() < 0.5".to_owned(),
        "json" | "jsonb" => "'{}'".to_owned(),
        "bytea" => "''::bytea".to_owned(),
        "inet" => "'192.0.2.1'::inet".to_owned(),
        _ => "NULL".to_owned(),
    };
    if nullable {
        format!("CASE WHEN random() < 0.7 THEN ({value})::{sql_type} END")
    } else {
        value
    }
}

async fn fill(client: &Client, schema: &str, table: &str, special: &[(&str, &str)]) {
    let columns = client
        .query(
            "SELECT quote_ident(a.attname), format_type(a.atttypid, -1), NOT a.attnotnull FROM pg_attribute a
             WHERE a.attrelid = ($1::text || '.' || $2::text)::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''",
            &[&schema, &table],
        )
        .await
        .unwrap();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in columns {
        let (name, sql_type, nullable): (String, String, bool) =
            (column.get(0), column.get(1), column.get(2));
        let special = special.iter().find(|(column, _)| *column == format!("{table}.{name}"));
        values.push(
            special
                .map_or_else(|| any(table, &sql_type, nullable), |(_, value)| (*value).to_owned()),
        );
        names.push(name);
    }
    let (names, values) = (names.join(", "), values.join(", "));
    // In the replication role `replica`, foreign keys are not enforced, so referenced rows need not
    // exist. ANALYZE gives the table the statistics of a table in use.
    client
        .batch_execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO {schema}.{table} ({names}) SELECT {values} FROM generate_series(1, {ROWS}) AS i, ({TIMES}) AS t;
             SET session_replication_role = origin;
             ANALYZE {schema}.{table};
             CREATE UNLOGGED TABLE expected.{table} AS TABLE {schema}.{table}"
        ))
        .await
        .unwrap_or_else(|error| panic!("{table}: {error:?}"));
}

/// Returns the statements for the indexes that a preset's page lists.
fn indexes(preset: &str) -> Vec<String> {
    let page = std::fs::read_to_string(format!(
        "{}/../docs/presets/{preset}.md",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap();
    let statements = page.lines().filter(|line| line.starts_with("CREATE INDEX CONCURRENTLY "));
    statements.map(|line| line.replace(" CONCURRENTLY", " CONCURRENTLY IF NOT EXISTS")).collect()
}

/// Runs as the owner of the tables, with this `reaper.toml` and the default size of chunks
/// (transactions).
pub(crate) async fn reap_by(database: &Database, config: &str) -> Reaped {
    testkit::reap_by(database, config, &[("MAX_CHUNK", "5000")]).await
}

/// Creates a database with the tables of a preset from `tests/presets/`.
pub(crate) async fn as_written(preset: &str) -> Database {
    let database = Database::empty().await;
    write_tables(&database, preset).await;
    database
}

/// Creates the tables of a preset in an existing database.
pub(crate) async fn write_tables(database: &Database, preset: &str) {
    let file = format!("{}/tests/presets/{preset}.sql", env!("CARGO_MANIFEST_DIR"));
    database.execute(&std::fs::read_to_string(file).unwrap()).await;
}

/// Creates the indexes that a preset's page lists.
pub(crate) async fn indexed(database: &Database, preset: &str) {
    let client = database.client().await;
    for index in indexes(preset) {
        client.batch_execute(&index).await.unwrap_or_else(|error| panic!("{index}: {error:?}"));
    }
}

/// Creates the tables of a preset, and the indexes that its page lists.
pub(crate) async fn made(preset: &str) -> Database {
    let database = as_written(preset).await;
    indexed(&database, preset).await;
    database
}

/// Runs the preset on its tables and indexes, as in [`deletes_exactly_the_due_rows`].
pub(crate) async fn on_tables_as_written(case: Case) {
    deletes_exactly_the_due_rows(&made(case.preset).await, case).await;
}

/// Fills the tables, runs the preset, and compares the remaining rows with the rows that `case`
/// keeps.
pub(crate) async fn deletes_exactly_the_due_rows(database: &Database, case: Case) {
    let config = format!("preset = {:?}", case.preset);
    deletes_exactly_the_due_rows_by(database, case, &config).await;
}

/// Fills the tables, runs with this `reaper.toml`, and compares the remaining rows with those that
/// `case` keeps.
pub(crate) async fn deletes_exactly_the_due_rows_by(database: &Database, case: Case, config: &str) {
    let client = database.client().await;
    client.batch_execute("CREATE SCHEMA expected").await.unwrap();
    for (schema, table) in case.tables {
        fill(&client, schema, table, case.columns).await;
    }
    let reaped = reap_by(database, config).await;
    assert_eq!(reaped.code, Some(0), "{}{}", reaped.report, reaped.stderr);
    for target in reaped.report["targets"].as_array().unwrap() {
        assert_eq!(target["skipped_locked"], 0, "{target}");
        // A target that was processed later may have deleted rows that had prevented this target
        // from deleting some of its own rows. The next run deletes these kept rows.
        let released = target["target"] == "oauth2_provider_refreshtoken";
        assert!(released || target["remaining"] == 0, "{target}");
        assert!(
            target["deleted"].as_object().unwrap().values().all(|rows| rows.as_i64() > Some(0)),
            "{target}"
        );
    }
    let now = format!("'{}'::timestamptz", reaped.report["started_at"].as_str().unwrap());
    let due = case.due.replace(":utc", &format!("{now} AT TIME ZONE 'UTC'")).replace(":now", &now);
    client
        .batch_execute(&format!("SET search_path = expected; {due}; RESET search_path"))
        .await
        .unwrap();
    for (schema, table) in case.tables {
        let row = client
            .query_one(
                &format!(
                    "SELECT (SELECT count(*) FROM (SELECT t::text FROM {schema}.{table} t EXCEPT SELECT t::text FROM expected.{table} t) AS x),
                            (SELECT count(*) FROM {schema}.{table}), (SELECT count(*) FROM expected.{table})"
                ),
                &[],
            )
            .await
            .unwrap();
        let (due, left, expected): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(due, 0, "{table}: due rows were not deleted, or rows were changed");
        assert_eq!(left, expected, "{table}: rows that were not due were deleted");
        assert!(left > 0, "{table}");
    }
}
