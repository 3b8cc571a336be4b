//! Finding a target's table, or the tables that make it up, their keys, and the types of the
//! columns that a watermark is made of.

use schema::connect::chain;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use super::condition::{self, Resolution, ResolvedCondition};
use super::db_error::Bound;
use super::identity::Identity;
use super::name::{Ident, TableName};
use super::operator::Operator;
use super::target::Target;
use crate::nearest::nearest;

/// A column, as the catalog has it.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: Ident,
    /// The type below any domains, as `format_type` names it: for people, and for what depends on
    /// the kind of time.
    pub(super) sql_type: String,
    /// The same type for a cast: quoted, with its schema, without a modifier. A cast to
    /// `timestamp(0)` would round a watermark and lose the rows behind it.
    pub(super) cast: String,
    /// What compares two values of the type for equality. `None` for a type that has no such
    /// operator, such as `json`.
    pub(super) equals: Option<Operator>,
}

/// A target's table that is there: one table, or the many that its rows are in when it is
/// partitioned or inherited from.
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
    pub(super) group: Option<Column>,
    /// Where the rows are, each table for itself: a `ctid` means nothing without its table.
    pub(super) leaves: Vec<Leaf>,
    /// In the target's order.
    pub(super) children: Vec<Child>,
    /// The table that was named, as it was found.
    pub(super) identity: Identity,
}

/// A table with rows of its own.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) oid: u32,
    /// With its schema.
    pub(super) table: TableName,
    /// Unique and not null; empty when the table has nothing of the kind whose order is
    /// PostgreSQL's own.
    pub(super) key: Vec<Column>,
    pub(super) identity: Identity,
}

/// A table whose rows go before the rows that they refer to.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) oid: u32,
    /// With its schema.
    pub(super) table: TableName,
    /// Of the child.
    pub(super) column: Column,
    /// What it refers to, of the target.
    pub(super) refers_to: Ident,
    pub(super) identity: Identity,
}

/// What the catalog says of a target.
pub(super) enum TableLookup {
    Table(Box<Located>),
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

/// A row for each table below the one with the oid `$1` and for itself: its columns, its key, and
/// the way from it to the table that was named.
///
/// The key: the primary one, else the shortest that is unique and never null. One with a type whose
/// operators are not PostgreSQL's own is no key: whose order a row comparison goes by depends on
/// the `search_path` there.
const LOCATE: &str = include_str!("catalog/locate.sql");

/// The columns of a table, with the type below any domains and its equality.
///
/// The operators of PostgreSQL's own types are in `pg_catalog`, and so are those of enumerations,
/// arrays, ranges and composite types, wherever these are. Those of an extension's type are where
/// its default operator class has them.
const COLUMNS: &str = include_str!("catalog/columns.sql");

/// What a column of another table refers to here, by a foreign key, else the primary key.
const CHILD: &str = include_str!("catalog/child.sql");

/// Tables with a name that is nearly the one that was looked for.
const TABLES: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'p')
        AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
        AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
    LIMIT 10000";

pub(super) async fn locate(lookup: Lookup<'_>, target: &Target) -> Result<TableLookup, Error> {
    let oid = match named(lookup, &target.table).await {
        Ok(Some(oid)) => oid,
        Ok(None) => return Ok(TableLookup::NoTable),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Ok(TableLookup::Unfit(format!(
                "{} may not be looked at: {}",
                target.table.quoted(),
                chain(&error)
            )));
        }
        Err(error) => return Err(error),
    };
    let client = lookup.catalog;
    let tree: Vec<Member> = client
        .query(LOCATE, &[&oid])
        .await?
        .iter()
        .map(Member::of)
        .collect::<Result<_, Error>>()?;
    let Some(root) = tree.first().filter(|member| member.identity.oid == oid) else {
        return Ok(TableLookup::NoTable);
    };
    if let Some(why) = unfit(&root.kind) {
        return Ok(TableLookup::Unfit(format!("{} is {why}", target.table.quoted())));
    }
    let columns = columns(client, oid).await?;
    let find = |wanted: &Ident| columns.iter().find(|column| column.name == *wanted);

    let wanted = target.reasons.iter().map(|reason| &reason.column);
    if let Some(missing) = wanted.clone().chain(&target.group).find(|name| find(name).is_none()) {
        return Ok(TableLookup::Unfit(no_column(
            &target.table,
            missing,
            columns.iter().map(|column| &column.name),
        )));
    }
    let due = wanted.filter_map(find).cloned().collect();
    let group = target.group.as_ref().and_then(find).cloned();
    if let Some(Column { name, sql_type, equals: None, .. }) = &group {
        return Ok(TableLookup::Unfit(format!(
            "group: {} is {sql_type}, whose values cannot be compared",
            name.quoted()
        )));
    }
    let mut leaves = Vec::new();
    for member in &tree {
        match member.kind.as_str() {
            "r" => leaves.push(Leaf {
                oid: member.identity.oid,
                table: member.identity.table.clone(),
                key: member.key.iter().filter_map(find).cloned().collect(),
                identity: member.identity.clone(),
            }),
            "f" => tracing::warn!(
                event = "foreign_partition_skipped",
                target_table = target.name,
                partition = member.identity.table.quoted(),
                "partition on another server skipped; run session-reaper there"
            ),
            _ => {}
        }
    }
    let mut children = Vec::new();
    for child in &target.children {
        match locate_child(lookup, target, oid, child).await? {
            Ok(found) => children.push(found),
            Err(why) => return Ok(TableLookup::Unfit(why)),
        }
    }
    let (table, identity) = (root.identity.table.clone(), root.identity.clone());
    let condition = match &target.filter {
        None => None,
        Some(filter) => match condition::resolve(lookup.configured, &table, oid, filter).await? {
            Resolution::Condition(condition) => Some(condition),
            Resolution::Refused(why, remedy) => return Ok(TableLookup::Refused(why, remedy)),
            Resolution::Locked(bound) => return Ok(TableLookup::Locked(bound)),
        },
    };
    Ok(TableLookup::Table(Box::new(Located {
        oid,
        table,
        condition,
        due,
        group,
        leaves,
        children,
        identity,
    })))
}

/// The oid of the table that a name means on the configured search path.
pub(super) async fn named(lookup: Lookup<'_>, table: &TableName) -> Result<Option<u32>, Error> {
    lookup.configured.query_one(NAMED, &[&table.to_string()]).await?.try_get(0)
}

/// One of the tables that [`LOCATE`] found.
struct Member {
    kind: String,
    identity: Identity,
    key: Vec<Ident>,
}

impl Member {
    fn of(row: &Row) -> Result<Self, Error> {
        let (schema, name): (String, String) = (row.try_get(2)?, row.try_get(3)?);
        let (path, names): (Vec<u32>, Vec<String>) = (row.try_get(4)?, row.try_get(5)?);
        let (numbers, types): (Vec<i16>, Vec<u32>) = (row.try_get(6)?, row.try_get(7)?);
        let columns = names.into_iter().zip(numbers.into_iter().zip(types));
        Ok(Self {
            kind: row.try_get(1)?,
            identity: Identity {
                oid: row.try_get(0)?,
                table: TableName { schema: Some(Ident::new(schema)), name: Ident::new(name) },
                columns: columns
                    .map(|(name, (number, sql_type))| (Ident::new(name), number, sql_type))
                    .collect(),
                path,
            },
            key: row.try_get::<_, Vec<String>>(8)?.into_iter().map(Ident::new).collect(),
        })
    }
}

async fn columns(client: &Client, oid: u32) -> Result<Vec<Column>, Error> {
    let column = |row: &Row| {
        let (schema, name): (Option<String>, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
        Ok(Column {
            name: Ident::new(row.try_get::<_, String>(0)?),
            sql_type: row.try_get(1)?,
            cast: row.try_get(2)?,
            equals: schema
                .zip(name)
                .map(|(schema, name)| Operator::new(&Ident::new(schema), &name)),
        })
    };
    client.query(COLUMNS, &[&oid]).await?.iter().map(column).collect()
}

/// The child, or why it cannot be one.
async fn locate_child(
    lookup: Lookup<'_>,
    target: &Target,
    parent: u32,
    (table, column): &(TableName, Ident),
) -> Result<Result<Child, String>, Error> {
    let client = lookup.catalog;
    let row = match named(lookup, table).await? {
        Some(oid) => client.query_opt(CHILD, &[&oid, &column.as_str(), &parent]).await?,
        None => None,
    };
    let Some(row) = row else {
        let hint = similar_table(client, table).await?;
        return Ok(Err(format!("children: there is no table {}{hint}", table.quoted())));
    };
    let (kind, inherited): (&str, bool) = (row.try_get(1)?, row.try_get(4)?);
    if kind != "r" || inherited {
        let why = "it is the target itself, or its rows are not all in one ordinary table: let ON DELETE CASCADE take them";
        return Ok(Err(format!("children: {} cannot be one: {why}", table.quoted())));
    }
    let oid: u32 = row.try_get(0)?;
    let tree = client.query(LOCATE, &[&oid]).await?;
    let Some(member) = tree.first().map(Member::of).transpose()? else {
        return Ok(Err(format!("children: there is no table {}", table.quoted())));
    };
    let columns = columns(client, oid).await?;
    let Some(found) = columns.iter().find(|found| found.name == *column).cloned() else {
        return Ok(Err(format!(
            "children: {}",
            no_column(table, column, columns.iter().map(|column| &column.name))
        )));
    };
    let Some(refers_to) = row.try_get::<_, Option<String>>(5)? else {
        let (child, parent) = (table.quoted(), target.table.quoted());
        return Ok(Err(format!(
            "children: no foreign key says what {child}.{} refers to in {parent}, which has no primary key of one column",
            column.quoted()
        )));
    };
    if found.equals.is_none() {
        let why =
            format!("{} is {}, whose values cannot be compared", column.quoted(), found.sql_type);
        return Ok(Err(format!("children: {}.{why}", table.quoted())));
    }
    let Member { identity, .. } = member;
    let table = identity.table.clone();
    Ok(Ok(Child { oid, table, column: found, refers_to: Ident::new(refers_to), identity }))
}

fn no_column<'a>(
    table: &TableName,
    missing: &Ident,
    columns: impl Iterator<Item = &'a Ident>,
) -> String {
    let hint = nearest(missing.as_str(), columns.map(|column| (column.as_str(), column.quoted())));
    format!("{table} has no column {missing}{}", meant(hint))
}

/// Of a table that is not there: the one that may have been meant.
pub(super) async fn similar_table(client: &Client, table: &TableName) -> Result<String, Error> {
    let rows = client.query(TABLES, &[]).await?;
    let tables: Vec<(String, String)> = rows
        .iter()
        .map(|row| {
            let (schema, name): (String, String) = (row.get(0), row.get(1));
            let quoted =
                TableName { schema: Some(Ident::new(schema)), name: Ident::new(name.as_str()) }
                    .quoted();
            (name, quoted)
        })
        .collect();
    Ok(meant(nearest(
        table.name.as_str(),
        tables.iter().map(|(name, quoted)| (name.as_str(), quoted.clone())),
    )))
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
