//! Finding a target's table, and the types of the columns that its watermark is made of.

use tokio_postgres::{Client, Error};

use super::target::{Ident, Target};

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
    pub(super) key: Vec<Column>,
}

/// What the catalog says of a target.
pub(super) enum Found {
    Table(Located),
    NoTable,
    NoColumn(Ident),
}

/// The type without its modifier: a cast to `timestamp(0)` would round a watermark and lose rows behind it.
const LOCATE: &str = "
    SELECT c.oid, ARRAY (
        SELECT (SELECT format_type(a.atttypid, -1) FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = wanted.name AND a.attnum > 0 AND NOT a.attisdropped)
        FROM unnest($2::text[]) WITH ORDINALITY AS wanted (name, n) ORDER BY wanted.n)
    FROM pg_class c
    WHERE c.oid = to_regclass($1)";

pub(super) async fn locate(client: &Client, target: &Target) -> Result<Found, Error> {
    let wanted: Vec<&Ident> = target.reasons.iter().map(|reason| &reason.column).chain(&target.key).collect();
    let names: Vec<&str> = wanted.iter().map(|ident| ident.as_str()).collect();
    let Some(row) = client.query_opt(LOCATE, &[&target.table.to_string(), &names]).await? else {
        return Ok(Found::NoTable);
    };
    let types: Vec<Option<String>> = row.get(1);
    let mut due = Vec::new();
    for (name, sql_type) in wanted.into_iter().zip(types) {
        match sql_type {
            Some(sql_type) => due.push(Column { name: name.clone(), sql_type }),
            None => return Ok(Found::NoColumn(name.clone())),
        }
    }
    let key = due.split_off(target.reasons.len());
    Ok(Found::Table(Located { oid: row.get(0), due, key }))
}
