//! Finding a target's table, or the tables that make it up, their keys, and the types of the columns that a watermark is made of.

use schema::connect::chain;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

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
}

/// A row for each table below the one that was named and for itself, with the columns of the one that was named.
///
/// The types without their modifiers: a cast to `timestamp(0)` would round a watermark and lose rows behind it. Of a
/// domain what is below it. The key: the primary one, else the shortest that is unique and never null.
const LOCATE: &str = "
    WITH RECURSIVE tree AS (
        SELECT to_regclass($1)::oid AS oid
        UNION SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid)
    SELECT to_regclass($1)::oid, c.oid, c.relkind::text, n.nspname::text, c.relname::text,
        ARRAY (SELECT a.attname::text FROM pg_attribute a
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        ARRAY (SELECT format_type(coalesce(nullif(y.typbasetype, 0), y.oid), -1)
               FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
               WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
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
    FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    ORDER BY c.oid <> to_regclass($1), n.nspname, c.relname";

/// What a column of another table refers to here, by a foreign key, else the primary key; and that table's columns.
const CHILD: &str = "
    SELECT c.relkind::text, EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) OR c.oid = $3,
        ARRAY (SELECT a.attname::text FROM pg_attribute a
               WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum),
        coalesce(
            (SELECT r.attname::text FROM pg_constraint k
             JOIN pg_attribute f ON f.attrelid = k.conrelid AND f.attname = $2 AND k.conkey = ARRAY[f.attnum]
             JOIN pg_attribute r ON r.attrelid = k.confrelid AND r.attnum = k.confkey[1]
             WHERE k.contype = 'f' AND k.conrelid = c.oid AND k.confrelid = $3 ORDER BY k.oid LIMIT 1),
            (SELECT r.attname::text FROM pg_index i
             JOIN pg_attribute r ON r.attrelid = i.indrelid AND r.attnum = i.indkey[0]
             WHERE i.indrelid = $3 AND i.indisprimary AND i.indnkeyatts = 1))
    FROM pg_class c
    WHERE c.oid = to_regclass($1)";

/// Tables with a name that is nearly the one that was looked for.
const TABLES: &str = "
    SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' LIMIT 10000";

pub(super) async fn locate(client: &Client, target: &Target) -> Result<Found, Error> {
    let rows = match client.query(LOCATE, &[&target.table.to_string()]).await {
        Ok(rows) => rows,
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Ok(Found::Unfit(format!("{} may not be looked at: {}", target.table.spelt(), chain(&error))));
        }
        Err(error) => return Err(error),
    };
    let Some(named) = rows.first() else { return Ok(Found::NoTable) };
    if let Some(why) = unfit(named.get(2)) {
        return Ok(Found::Unfit(format!("{} is {why}", target.table.spelt())));
    }
    let (columns, types): (Vec<String>, Vec<String>) = (named.get(5), named.get(6));
    let columns: Vec<Column> =
        columns.into_iter().zip(types).map(|(name, sql_type)| Column { name: Ident::new(name), sql_type }).collect();
    let find = |wanted: &Ident| columns.iter().find(|column| column.name == *wanted);

    let wanted = target.reasons.iter().map(|reason| &reason.column);
    if let Some(missing) = wanted.clone().chain(&target.group).find(|name| find(name).is_none()) {
        return Ok(Found::Unfit(no_column(&target.table, missing, columns.iter().map(|column| &column.name))));
    }
    let due = wanted.filter_map(find).cloned().collect();
    let key = |row: &Row| {
        row.get::<_, Vec<String>>(7).into_iter().filter_map(|name| find(&Ident::new(name))).cloned().collect()
    };
    let mut leaves = Vec::new();
    for row in &rows {
        let (schema, name): (String, String) = (row.get(3), row.get(4));
        let qualified = TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) };
        match row.get(2) {
            // As it was named: what is read in the statements is what was written in the file.
            "r" if rows.len() == 1 => leaves.push(Leaf { oid: row.get(1), table: target.table.clone(), key: key(row) }),
            "r" => leaves.push(Leaf { oid: row.get(1), table: qualified, key: key(row) }),
            "f" => tracing::warn!(
                target_table = target.name,
                partition = qualified.spelt(),
                "left out: it is on another server, run there"
            ),
            _ => {}
        }
    }
    let oid = named.get(0);
    let mut children = Vec::new();
    for child in &target.children {
        match locate_child(client, target, oid, child).await? {
            Ok(found) => children.push(found),
            Err(why) => return Ok(Found::Unfit(why)),
        }
    }
    Ok(Found::Table(Located { oid, due, leaves, children }))
}

/// The child, or why it cannot be one.
async fn locate_child(
    client: &Client,
    target: &Target,
    oid: u32,
    (table, column): &(TableName, Ident),
) -> Result<Result<Child, String>, Error> {
    let Some(row) = client.query_opt(CHILD, &[&table.to_string(), &column.as_str(), &oid]).await? else {
        let hint = similar_table(client, table).await?;
        return Ok(Err(format!("children: there is no table {}{hint}", table.spelt())));
    };
    let (kind, inherited): (&str, bool) = (row.get(0), row.get(1));
    if kind != "r" || inherited {
        let why =
            "it is the target itself, or its rows are not all in one ordinary table: let ON DELETE CASCADE take them";
        return Ok(Err(format!("children: {} cannot be one: {why}", table.spelt())));
    }
    let columns: Vec<Ident> = row.get::<_, Vec<String>>(2).into_iter().map(Ident::new).collect();
    if !columns.contains(column) {
        return Ok(Err(format!("children: {}", no_column(table, column, columns.iter()))));
    }
    let Some(refers_to) = row.get::<_, Option<String>>(3) else {
        let (child, parent) = (table.spelt(), target.table.spelt());
        return Ok(Err(format!(
            "children: no foreign key says what {child}.{} refers to in {parent}, which has no primary key of one column",
            column.spelt()
        )));
    };
    Ok(Ok(Child { table: table.clone(), column: column.clone(), refers_to: Ident::new(refers_to) }))
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
