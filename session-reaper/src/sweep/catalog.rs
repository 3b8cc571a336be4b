//! Finding a target's table, or the tables that make it up, their keys, and the types of the columns that a watermark is made of.

use schema::connect::chain;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use super::condition::{self, Resolution, ResolvedCondition};
use super::connection::Bound;
use super::name::{Ident, TableName};
use super::target::Target;
use crate::nearest::nearest;

/// A column and its type, as SQL names it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: Ident,
    pub(super) sql_type: String,
}

/// A target's table that is there: one table, or the many that its rows are in when it is partitioned or inherited from.
#[derive(Clone, Debug)]
pub(super) struct Located {
    /// What the advisory lock is taken on.
    pub(super) oid: u32,
    /// With its schema, as all tables here: it means the same on any search path.
    pub(super) table: TableName,
    /// `where`.
    pub(super) condition: Option<ResolvedCondition>,
    /// One a reason, in the target's order.
    pub(super) due: Vec<Column>,
    /// Where the rows are, each table for itself: a `ctid` means nothing without its table.
    pub(super) leaves: Vec<Leaf>,
    /// In the target's order.
    pub(super) children: Vec<Child>,
}

/// A table with rows of its own.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) oid: u32,
    pub(super) table: TableName,
    /// Unique and not null; empty when the table has nothing of the kind.
    pub(super) key: Vec<Column>,
}

/// A table whose rows go before the rows that they refer to.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) table: TableName,
    /// Of the child.
    pub(super) column: Ident,
    /// What it refers to, of the target.
    pub(super) refers_to: Ident,
}

/// What the catalog says of a target.
pub(super) enum Found {
    Table(Located),
    NoTable,
    /// It is there, and cannot be worked on; says why.
    Unfit(String),
    /// Its condition cannot be used; has the reason and a remedy.
    Refused(String, Option<String>),
    /// It, or a table that its condition reads, was locked for too long.
    Locked(Bound),
}

/// The connections that a target is looked up on.
#[derive(Clone, Copy)]
pub(super) struct Lookup<'a> {
    /// On the configured search path, and nobody else's for as long as the look-up lasts.
    pub(super) configured: &'a Client,
    /// For the catalog, on any search path.
    pub(super) catalog: &'a Client,
}

/// Which table a name means on the search path of its connection.
pub(super) const NAMED: &str = "SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid";

/// A row for each table below the one that was named and for itself, with the columns of the one that was named.
///
/// The types without their modifiers: a cast to `timestamp(0)` would round a watermark and lose rows behind it. Of a
/// domain what is below it. The key: the primary one, else the shortest that is unique and never null.
const LOCATE: &str = include_str!("locate.sql");

/// What a column of another table refers to here, by a foreign key, else the primary key; and that table's columns.
const CHILD: &str = "
    SELECT c.relkind::pg_catalog.text,
        EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid)
            OR c.oid OPERATOR(pg_catalog.=) $3::pg_catalog.oid,
        ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
               WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0
                   AND NOT a.attisdropped ORDER BY a.attnum),
        coalesce(
            (SELECT r.attname::pg_catalog.text FROM pg_catalog.pg_constraint k
             JOIN pg_catalog.pg_attribute f ON f.attrelid OPERATOR(pg_catalog.=) k.conrelid
                 AND f.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name
                 AND k.conkey OPERATOR(pg_catalog.=) ARRAY[f.attnum]
             JOIN pg_catalog.pg_attribute r ON r.attrelid OPERATOR(pg_catalog.=) k.confrelid
                 AND r.attnum OPERATOR(pg_catalog.=) k.confkey[1]
             WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.conrelid OPERATOR(pg_catalog.=) c.oid
                 AND k.confrelid OPERATOR(pg_catalog.=) $3::pg_catalog.oid
             ORDER BY k.oid LIMIT 1),
            (SELECT r.attname::pg_catalog.text FROM pg_catalog.pg_index i
             JOIN pg_catalog.pg_attribute r ON r.attrelid OPERATOR(pg_catalog.=) i.indrelid
                 AND r.attnum OPERATOR(pg_catalog.=) i.indkey[0]
             WHERE i.indrelid OPERATOR(pg_catalog.=) $3::pg_catalog.oid AND i.indisprimary
                 AND i.indnkeyatts OPERATOR(pg_catalog.=) 1)),
        n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

/// Tables with a name that is nearly the one that was looked for.
const TABLES: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'p')
        AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
        AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
    LIMIT 10000";

pub(super) async fn locate(lookup: Lookup<'_>, target: &Target) -> Result<Found, Error> {
    let oid = match named(lookup, &target.table).await {
        Ok(Some(oid)) => oid,
        Ok(None) => return Ok(Found::NoTable),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Ok(Found::Unfit(format!("{} may not be looked at: {}", target.table.spelt(), chain(&error))));
        }
        Err(error) => return Err(error),
    };
    let rows = lookup.catalog.query(LOCATE, &[&oid]).await?;
    let Some(named) = rows.first() else { return Ok(Found::NoTable) };
    if let Some(why) = unfit(named.try_get(2)?) {
        return Ok(Found::Unfit(format!("{} is {why}", target.table.spelt())));
    }
    let (columns, types): (Vec<String>, Vec<String>) = (named.try_get(5)?, named.try_get(6)?);
    let columns: Vec<Column> =
        columns.into_iter().zip(types).map(|(name, sql_type)| Column { name: Ident::new(name), sql_type }).collect();
    let find = |wanted: &Ident| columns.iter().find(|column| column.name == *wanted);

    let wanted = target.reasons.iter().map(|reason| &reason.column);
    if let Some(missing) = wanted.clone().chain(&target.group).find(|name| find(name).is_none()) {
        return Ok(Found::Unfit(no_column(&target.table, missing, columns.iter().map(|column| &column.name))));
    }
    let due = wanted.filter_map(find).cloned().collect();
    let mut leaves = Vec::new();
    for row in &rows {
        let table = qualified(row, 3)?;
        match row.try_get(2)? {
            "r" => {
                let key: Vec<String> = row.try_get(7)?;
                let key = key.into_iter().filter_map(|name| find(&Ident::new(name))).cloned().collect();
                leaves.push(Leaf { oid: row.try_get(1)?, table, key });
            }
            "f" => tracing::warn!(
                target_table = target.name,
                partition = table.spelt(),
                "left out: it is on another server, run there"
            ),
            _ => {}
        }
    }
    let mut children = Vec::new();
    for child in &target.children {
        match locate_child(lookup, target, oid, child).await? {
            Ok(found) => children.push(found),
            Err(why) => return Ok(Found::Unfit(why)),
        }
    }
    let table = qualified(named, 3)?;
    let condition = match &target.filter {
        None => None,
        Some(filter) => match condition::resolve(lookup.configured, &table, oid, filter).await? {
            Resolution::Condition(condition) => Some(condition),
            Resolution::Refused(why, remedy) => return Ok(Found::Refused(why, remedy)),
            Resolution::Locked(bound) => return Ok(Found::Locked(bound)),
        },
    };
    Ok(Found::Table(Located { oid, table, due, condition, leaves, children }))
}

/// The oid of the table that a name means on the configured search path.
pub(super) async fn named(lookup: Lookup<'_>, table: &TableName) -> Result<Option<u32>, Error> {
    lookup.configured.query_one(NAMED, &[&table.to_string()]).await?.try_get(0)
}

/// The name of a table, from the columns for its schema and, next to it, its name.
fn qualified(row: &Row, schema: usize) -> Result<TableName, Error> {
    let (schema, name): (String, String) = (row.try_get(schema)?, row.try_get(schema + 1)?);
    Ok(TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) })
}

/// The child, or why it cannot be one.
async fn locate_child(
    lookup: Lookup<'_>,
    target: &Target,
    oid: u32,
    (table, column): &(TableName, Ident),
) -> Result<Result<Child, String>, Error> {
    let found = match named(lookup, table).await? {
        Some(child) => lookup.catalog.query_opt(CHILD, &[&child, &column.as_str(), &oid]).await?,
        None => None,
    };
    let Some(row) = found else {
        let hint = similar_table(lookup.catalog, table).await?;
        return Ok(Err(format!("children: there is no table {}{hint}", table.spelt())));
    };
    let (kind, inherited): (&str, bool) = (row.try_get(0)?, row.try_get(1)?);
    if kind != "r" || inherited {
        let why =
            "it is the target itself, or its rows are not all in one ordinary table: let ON DELETE CASCADE take them";
        return Ok(Err(format!("children: {} cannot be one: {why}", table.spelt())));
    }
    let columns: Vec<Ident> = row.try_get::<_, Vec<String>>(2)?.into_iter().map(Ident::new).collect();
    if !columns.contains(column) {
        return Ok(Err(format!("children: {}", no_column(table, column, columns.iter()))));
    }
    let Some(refers_to) = row.try_get::<_, Option<String>>(3)? else {
        let (child, parent) = (table.spelt(), target.table.spelt());
        return Ok(Err(format!(
            "children: no foreign key says what {child}.{} refers to in {parent}, which has no primary key of one column",
            column.spelt()
        )));
    };
    Ok(Ok(Child { table: qualified(&row, 4)?, column: column.clone(), refers_to: Ident::new(refers_to) }))
}

fn no_column<'a>(table: &TableName, missing: &Ident, columns: impl Iterator<Item = &'a Ident>) -> String {
    let hint = nearest(missing.as_str(), columns.map(|column| (column.as_str(), column.spelt())));
    format!("{table} has no column {missing}{}", meant(hint))
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
        "r" | "p" => None,
        "v" | "m" => Some("a view: name the table below it"),
        "f" => Some("a foreign table: run on the server that has it"),
        _ => Some("not a table"),
    }
}

fn meant(hint: Option<String>) -> String {
    hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default()
}
