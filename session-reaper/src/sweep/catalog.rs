//! Finding a target's table, its primary key, and the types of the columns that its watermark is made of.

use schema::connect::chain;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

use super::name::{Ident, TableName};
use super::target::Target;
use crate::nearest::nearest;

/// A column and its type, as SQL names it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: Ident,
    pub(super) sql_type: String,
}

/// A table that is there.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// What the advisory lock is taken on.
    pub(super) oid: u32,
    /// One a reason, in the target's order.
    pub(super) due: Vec<Column>,
    /// Unique and not null; empty when the table has nothing of the kind.
    pub(super) key: Vec<Column>,
}

/// What the catalog says of a target.
pub(super) enum Found {
    Table(Located),
    NoTable,
    /// It is there, and cannot be worked on; says why.
    Unfit(String),
}

/// The types without their modifiers: a cast to `timestamp(0)` would round a watermark and lose rows behind it. Of a
/// domain what is below it. The key: the primary one, else the shortest that is unique and never null.
const LOCATE: &str = "
    SELECT c.oid, c.relkind::text,
        ARRAY (SELECT a.attname::text FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        ARRAY (SELECT format_type(coalesce(nullif(y.typbasetype, 0), y.oid), -1)
               FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        ARRAY (SELECT a.attname::text FROM (
                   SELECT i.indrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns FROM pg_index i
                   WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                       AND i.indpred IS NULL AND i.indexprs IS NULL
                       AND NOT EXISTS (SELECT FROM pg_attribute a
                                       WHERE a.attrelid = c.oid AND NOT a.attnotnull
                                           AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
                   ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS k
               CROSS JOIN LATERAL unnest(k.columns) WITH ORDINALITY AS part (attnum, n)
               JOIN pg_attribute a ON a.attrelid = k.indrelid AND a.attnum = part.attnum
               ORDER BY part.n)
    FROM pg_class c
    WHERE c.oid = to_regclass($1)";

/// Tables with a name that is nearly the one that was looked for.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' LIMIT 10000";

pub(super) async fn locate(client: &Client, target: &Target) -> Result<Found, Error> {
    let row = match client.query_opt(LOCATE, &[&target.table.to_string()]).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(Found::NoTable),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Ok(Found::Unfit(format!("{} may not be looked at: {}", target.table.spelt(), chain(&error))));
        }
        Err(error) => return Err(error),
    };
    if let Some(why) = unfit(row.get(1)) {
        return Ok(Found::Unfit(format!("{} is {why}", target.table.spelt())));
    }
    let (names, types): (Vec<String>, Vec<String>) = (row.get(2), row.get(3));
    let columns: Vec<Column> =
        names.into_iter().zip(types).map(|(name, sql_type)| Column { name: Ident::new(name), sql_type }).collect();
    let find = |wanted: &Ident| columns.iter().find(|column| column.name == *wanted);

    let wanted = target.reasons.iter().map(|reason| &reason.column);
    if let Some(missing) = wanted.clone().chain(&target.group).find(|name| find(name).is_none()) {
        let hint = nearest(missing.as_str(), columns.iter().map(|column| (column.name.as_str(), column.name.spelt())));
        return Ok(Found::Unfit(format!("{} has no column {missing}{}", target.table, meant(hint))));
    }
    let due = wanted.filter_map(find).cloned().collect();
    let key = row.get::<_, Vec<String>>(4).into_iter().filter_map(|name| find(&Ident::new(name))).cloned().collect();
    Ok(Found::Table(Located { oid: row.get(0), due, key }))
}

/// Of a table that is not there: the one that may have been meant.
pub(super) async fn similar_table(client: &Client, table: &TableName) -> Result<String, Error> {
    let rows = client.query(TABLES, &[]).await?;
    let tables: Vec<(String, String)> = rows
        .iter()
        .map(|row| {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let spelt = TableName { schema: Some(Ident::new(schema)), name: Ident::new(name.as_str()) }.spelt();
            (name, spelt)
        })
        .collect();
    Ok(meant(nearest(table.name.as_str(), tables.iter().map(|(name, spelt)| (name.as_str(), spelt.clone())))))
}

fn unfit(kind: &str) -> Option<&'static str> {
    match kind {
        "r" => None,
        "p" => Some("partitioned, which is not supported yet: name its partitions, a [[target]] each"),
        "v" | "m" => Some("a view: name the table below it"),
        "f" => Some("a foreign table: run on the server that has it"),
        _ => Some("not a table"),
    }
}

fn meant(hint: Option<String>) -> String {
    hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default()
}
