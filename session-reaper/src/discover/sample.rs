//! Reads values of columns: from a small sample of the rows if that is safe, and otherwise from
//! `pg_stats`.
//!
//! A table is read only if the owner of the table can already act as the current role. This is
//! required because planning a query may run functions that the owner has added to indexes and
//! constraints. A read never waits for a lock. If a policy of row security would apply, the read
//! fails and does not run the policy.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::names;
use super::reading::is_usable;
use super::table::{Column, Facts, Table, keys, name};
use super::values::{Known, Values};
use reaper::TableName;

/// The number of blocks to read per table: less than a megabyte, with up to about ten thousand
/// rows.
const BLOCKS: f64 = 100.0;

/// The maximum number of partitions to read per table. The oldest and the newest partitions are
/// read. Their age is derived from their OIDs, which PostgreSQL assigns in ascending order.
const PARTITIONS: usize = 8;

/// The time after which no further table is read. In a database with thousands of tables, only the
/// statistics are used for the tables that remain then.
const LONG_ENOUGH: Duration = Duration::from_secs(15);

const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; \
     SET LOCAL row_security = off; SET LOCAL TimeZone = 'UTC'; SET LOCAL jit = off; \
     SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '100ms'";

/// A table or partition that may be read.
pub(super) struct Relation {
    root: u32,
    oid: u32,
    name: TableName,
}

/// Reads the statistics that ANALYZE has stored.
pub(super) async fn statistics(
    client: &Client,
    tables: &[Table],
    asked: &[(&Table, &Column)],
    now: f64,
) -> Result<HashMap<(u32, String), Known>, Error> {
    let (oids, names) = keys(asked);
    let params: [(&(dyn ToSql + Sync), Type); 2] =
        [(&oids, Type::OID_ARRAY), (&names, Type::TEXT_ARRAY)];
    client.batch_execute("SET LOCAL enable_nestloop = off").await?;
    let rows: HashMap<u32, Option<u64>> =
        tables.iter().map(|table| (table.oid, table.rows)).collect();
    // An empty table has no statistics and needs none.
    let empty = |(table, column): &(&Table, &Column)| {
        ((table.oid, column.name.as_str().to_owned()), Known::Empty)
    };
    let mut known: HashMap<(u32, String), Known> =
        asked.iter().filter(|(table, _)| table.rows == Some(0)).map(empty).collect();
    for row in client.query_typed(include_str!("values.sql"), &params).await? {
        let oid: u32 = row.try_get(0)?;
        let (seen, shares): (Vec<f64>, Vec<f64>) = (row.try_get(2)?, row.try_get(3)?);
        #[allow(clippy::cast_precision_loss, reason = "an estimate")]
        let rows = rows.get(&oid).copied().flatten().unwrap_or_default().max(1) as f64;
        let seen = seen.into_iter().zip(shares.into_iter().map(|share| share * rows)).collect();
        let as_of = row.try_get::<_, Option<f64>>(4)?.unwrap_or(now);
        known.insert((oid, row.try_get(1)?), Known::Values(Values { as_of, seen }));
    }
    Ok(known)
}

/// Returns the relations that contain rows of the tables and that may be read.
pub(super) async fn relations(
    client: &Client,
    asked: &[(&Table, &Column)],
) -> Result<Vec<Relation>, Error> {
    let mut oids: Vec<u32> = asked.iter().map(|(table, _)| table.oid).collect();
    oids.dedup();
    let rows =
        client.query_typed(include_str!("relations.sql"), &[(&oids, Type::OID_ARRAY)]).await?;
    let mut relations: BTreeMap<u32, Vec<Relation>> = BTreeMap::new();
    for row in rows {
        let relation =
            Relation { root: row.try_get(0)?, oid: row.try_get(1)?, name: name(&row, 2)? };
        relations.entry(relation.root).or_default().push(relation);
    }
    let some = |mut relations: Vec<Relation>| {
        if relations.len() > PARTITIONS {
            relations.drain(PARTITIONS / 2..relations.len() - PARTITIONS / 2);
        }
        relations
    };
    Ok(relations.into_values().flat_map(some).collect())
}

/// Replaces the statistics with values from samples.
pub(super) async fn samples(
    client: &Client,
    relations: &[Relation],
    asked: &[(&Table, &Column)],
    facts: &mut HashMap<(u32, String), Facts>,
) -> Result<(), Error> {
    let begun = Instant::now();
    let mut seen: HashMap<(u32, String), Option<Values>> = HashMap::new();
    for relation in relations.iter().take_while(|_| begun.elapsed() < LONG_ENOUGH) {
        let columns: Vec<&Column> = asked
            .iter()
            .filter(|(table, c)| table.oid == relation.root && is_usable(c))
            .map(|(_, c)| *c)
            .collect();
        if columns.is_empty() {
            continue;
        }
        let key = |column: &Column| (relation.root, column.name.as_str().to_owned());
        let indexed = |column: &Column| facts.get(&key(column)).is_some_and(|facts| facts.indexed);
        client.batch_execute(BEGIN).await?;
        let sample = sample(client, relation, &columns, &indexed).await;
        client.batch_execute("ROLLBACK").await?;
        let sample = match sample {
            Ok(sample) => sample,
            // The table is locked, dropped, not readable, or too slow to read. An error without a
            // code means that the connection was lost.
            Err(error) if error.code().is_some() => {
                tracing::debug!(
                    event = "sample_failed",
                    table = names::table(&relation.name),
                    code = error.code().map(SqlState::code),
                    "table not sampled"
                );
                None
            }
            Err(error) => return Err(error),
        };
        for (index, column) in columns.iter().enumerate() {
            let more = sample.as_ref().and_then(|sample| sample.get(index));
            let all = seen.entry(key(column)).or_insert_with(|| Some(Values::default()));
            // If the values of one partition are unknown, the values of the whole table are
            // unknown.
            match (&mut *all, more) {
                (Some(all), Some(more)) => {
                    all.as_of = more.as_of;
                    all.seen.extend_from_slice(&more.seen);
                }
                _ => *all = None,
            }
        }
    }
    for (key, values) in seen {
        if let (Some(values), Some(facts)) = (values, facts.get_mut(&key)) {
            facts.values =
                if values.seen.is_empty() { Known::Empty } else { Known::Values(values) };
        }
    }
    Ok(())
}

/// Returns the values of each column in a few blocks and, if the column is indexed, the lowest
/// value of the column.
async fn sample(
    client: &Client,
    relation: &Relation,
    columns: &[&Column],
    indexed: &impl Fn(&Column) -> bool,
) -> Result<Option<Vec<Values>>, Error> {
    let name = &relation.name;
    client.batch_execute(&format!("LOCK TABLE ONLY {name} IN ACCESS SHARE MODE NOWAIT")).await?;
    let schema = name.schema.as_ref().map(reaper::Ident::as_str);
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&relation.oid, Type::OID), (&schema, Type::TEXT), (&name.name.as_str(), Type::TEXT)];
    let rows = client.query_typed(include_str!("relation.sql"), &params).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    #[allow(clippy::cast_precision_loss, reason = "a share of blocks")]
    let (blocks, as_of) = (row.try_get::<_, i64>(0)?.max(1) as f64, row.try_get(1)?);

    let mut values = vec![Values { as_of, seen: Vec::new() }; columns.len()];
    let numbers: Vec<String> = columns.iter().map(|column| number(column)).collect();
    let percent = (BLOCKS / blocks * 100.0).min(100.0);
    let text = format!(
        "SELECT {} FROM ONLY {name} AS t TABLESAMPLE pg_catalog.system ({percent:.9})",
        numbers.join(", ")
    );
    let rows = client.query_typed(&text, &[]).await?;
    if rows.is_empty() && percent < 100.0 {
        return Ok(None);
    }
    for row in rows {
        for (index, values) in values.iter_mut().enumerate() {
            values.seen.extend(row.try_get::<_, Option<f64>>(index)?.map(|value| (value, 1.0)));
        }
    }
    for ((column, number), values) in
        columns.iter().zip(&numbers).zip(&mut values).filter(|((c, _), _)| indexed(c))
    {
        let name_of = &column.name;
        let text = format!(
            "SELECT {number} FROM ONLY {name} AS t WHERE t.{name_of} IS NOT NULL ORDER BY t.{name_of} LIMIT 1"
        );
        if let Some(row) = client.query_typed(&text, &[]).await?.first() {
            // A single extreme value shows only that such values exist, so its weight is 0.
            values.seen.extend(row.try_get::<_, Option<f64>>(0)?.map(|value| (value, 0.0)));
        }
    }
    Ok(Some(values))
}

/// Returns an SQL expression for the value of a column as a number: a time in seconds since 1970,
/// or an unchanged integer.
fn number(column: &Column) -> String {
    let name = &column.name;
    match column.sql_type.as_str() {
        // The range of dates exceeds that of timestamps, so a cast could fail.
        "date" => format!(
            "CASE WHEN isfinite(t.{name}::date) THEN (t.{name}::date - '1970-01-01'::date)::float8 * 86400::float8 \
             ELSE t.{name}::text::float8 END"
        ),
        "integer" | "bigint" => format!("t.{name}::float8"),
        sql_type => format!("date_part('epoch', t.{name}::{sql_type})"),
    }
}
