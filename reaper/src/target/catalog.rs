//! Finds the table of a target, the partitions of the table, the keys of these tables, and the
//! types of the columns whose values identify a position in a table.

use std::collections::HashMap;

use pg::error_text::chain;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, Row};

use crate::connection::db_error::Bound;
use crate::connection::prepared::Prepared;
use crate::sql::identity::Identity;
use crate::sql::operator::Operator;
use crate::target::condition::{self, Resolution, ResolvedCondition};
use crate::target::literal::Literal;
use crate::target::name::{Ident, TableName};
use crate::target::nearest::nearest;
use crate::target::{ChildTable, SetColumn, Target};

/// A column, as the catalog describes it.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: Ident,
    /// The type (for a domain, the base type), as `format_type` names it. It is used in messages,
    /// and in code that depends on the kind of time.
    pub(crate) sql_type: String,
    /// The same type for a cast: quoted, with its schema, and without a type modifier. A cast to
    /// `timestamp(0)` would round a cursor (a position in the index), and rows would be missed.
    pub(crate) cast: String,
    /// The equality operator of the type. `None` for a type that has no such operator, such as
    /// `json`.
    pub(crate) equals: Option<Operator>,
}

/// A target's table in the catalog. If the table is partitioned, or if other tables inherit from
/// it, its rows are in several tables.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    /// The oid of the table, which identifies the advisory lock of the target.
    pub(crate) oid: u32,
    /// The name with its schema, like all names in this struct, so that the name is independent of
    /// the search path.
    pub(crate) table: TableName,
    /// The resolved `where` of the target.
    pub(crate) condition: Option<ResolvedCondition>,
    /// The resolved `where` of each reason.
    pub(crate) of_reasons: Vec<Option<ResolvedCondition>>,
    /// One due column per reason, in the order of the target's reasons.
    pub(crate) due: Vec<Column>,
    pub(crate) group: Option<Column>,
    /// The tables that contain the rows. Each table is handled separately, because a `ctid` (the
    /// location of a row) is meaningful only within its table.
    pub(crate) leaves: Vec<Leaf>,
    /// The `children` of the target (tables whose rows are deleted first), in the order in which
    /// the target names them.
    pub(crate) children: Vec<Child>,
    /// The columns that are set instead of deleting the rows.
    pub(crate) set: Vec<Assignment>,
    /// The identity of the named table.
    pub(crate) identity: Identity,
}

/// A column that is set instead of deleting the row.
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) column: Column,
    pub(crate) literal: Literal,
}

/// A table that physically stores rows of a target.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) oid: u32,
    /// The name with its schema.
    pub(crate) table: TableName,
    /// The columns of a unique key without nulls. Empty if the table has no such key, or if a type
    /// in the key has operators outside `pg_catalog`.
    pub(crate) key: Vec<Column>,
    pub(crate) identity: Identity,
}

/// A table that physically stores child rows, which are deleted before the rows that they refer to.
#[derive(Clone, Debug)]
pub(crate) struct Child {
    pub(crate) oid: u32,
    /// The name with its schema.
    pub(crate) table: TableName,
    /// The referencing columns.
    pub(crate) references: Vec<Reference>,
    pub(crate) identity: Identity,
}

/// A column of a child, and the column of the target's table to which it refers.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) column: Column,
    pub(crate) refers_to: Ident,
}

impl Child {
    /// Returns the referencing columns.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Ident> {
        self.references.iter().map(|reference| &reference.column.name)
    }

    /// Returns the columns of the target's table that are referenced.
    pub(crate) fn refers_to(&self) -> impl Iterator<Item = &Ident> {
        self.references.iter().map(|reference| &reference.refers_to)
    }
}

/// The maximum number of partitions of a child table. The statement contains a subquery for each
/// partition.
const CHILD_PARTITIONS: usize = 100;

/// The result of looking up a target in the catalog.
pub(crate) enum TableLookup {
    Table(Box<Located>),
    NoTable,
    /// The table exists but cannot be a target. Contains the reason.
    Unfit(String),
    /// The condition cannot be used. Contains the reason and a remedy.
    Refused(String, Option<String>),
    /// Another session held a lock on the table, or on a table that its condition reads, for too
    /// long.
    Locked(Bound),
}

/// The connections on which a target is looked up.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    /// A connection with the configured search path. Nothing else uses this connection during the
    /// lookup.
    pub(crate) configured: &'a Client,
    /// A connection for the catalog, with any search path.
    pub(crate) catalog: &'a Prepared,
}

/// Resolves a name to the oid of a table on the search path of the connection.
pub(crate) const NAMED: &str = "SELECT pg_catalog.to_regclass($1::pg_catalog.text)::pg_catalog.oid";

/// Returns a row for the table with the oid `$1` and for each of its descendants: its columns, its
/// key, and the path from this table up to the table `$1`.
///
/// The key is the primary key, or else the shortest unique key without nulls. A key whose types
/// have operators outside `pg_catalog` is not used: the order of a row comparison on such a key
/// would depend on the `search_path`.
const LOCATE: &str = include_str!("catalog/locate.sql");

/// Returns the columns of tables, each with its type (for a domain, the base type) and the
/// equality operator of that type.
///
/// The operators of PostgreSQL's own types are in `pg_catalog`, and so are the operators of
/// enumerations, arrays, ranges and composite types, whatever the schema of the type is. For the
/// type of an extension, the operator of the default operator class is used.
const COLUMNS: &str = include_str!("catalog/columns.sql");

/// Returns the columns to which the columns of a child table refer: the columns that a foreign key
/// references or, if there is no foreign key, the primary key.
const CHILD: &str = include_str!("catalog/child.sql");

/// Returns the names of tables, to suggest one that is similar to the name that was not found.
const TABLES: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE (c.relkind OPERATOR(pg_catalog.=) 'r' OR c.relkind OPERATOR(pg_catalog.=) 'p')
        AND n.nspname OPERATOR(pg_catalog.<>) 'information_schema'
        AND NOT pg_catalog.starts_with(n.nspname::pg_catalog.text, 'pg_')
    LIMIT 10000";

pub(crate) async fn locate(lookup: Lookup<'_>, target: &Target) -> Result<TableLookup, Error> {
    let oid = match named(lookup, &target.table).await {
        Ok(Some(oid)) => oid,
        Ok(None) => return Ok(TableLookup::NoTable),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            return Ok(TableLookup::Unfit(format!(
                "{} cannot be looked up: {}",
                target.table.quoted(),
                chain(&error)
            )));
        }
        Err(error) => return Err(error),
    };
    let client = lookup.catalog;
    let tree: Vec<Member> =
        client.rows(LOCATE, &[&oid]).await?.iter().map(Member::of).collect::<Result<_, Error>>()?;
    let Some(root) = tree.first().filter(|member| member.identity.oid == oid) else {
        return Ok(TableLookup::NoTable);
    };
    if let Some(why) = unfit(&root.kind) {
        return Ok(TableLookup::Unfit(format!("{} is {why}", target.table.quoted())));
    }
    // An inheriting table may have a key of its own, on columns that this table does not have.
    let others = tree.iter().filter(|member| !root.has_columns(&member.key));
    let oids: Vec<u32> =
        std::iter::once(oid).chain(others.map(|member| member.identity.oid)).collect();
    let of_tables = columns(client, &oids).await?;
    let of_table = |oid: u32| of_tables.get(&oid).map(Vec::as_slice).unwrap_or_default();
    let columns = of_table(oid);
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
            "group: {} is {sql_type}, a type whose values cannot be compared for equality",
            name.quoted()
        )));
    }
    let mut leaves = Vec::new();
    for member in &tree {
        match member.kind.as_str() {
            "r" => leaves.push(Leaf {
                oid: member.identity.oid,
                table: member.identity.table.clone(),
                key: member.key(columns, of_table(member.identity.oid)),
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
    let set = match assignments(target, columns, &leaves) {
        Ok(set) => set,
        Err(why) => return Ok(TableLookup::Unfit(why)),
    };
    let mut children = Vec::new();
    for child in &target.children {
        match locate_child(lookup, target, oid, child).await? {
            Ok(found) => children.extend(found),
            Err(why) => return Ok(TableLookup::Unfit(why)),
        }
    }
    let (table, identity) = (root.identity.table.clone(), root.identity.clone());
    let mut conditions = Vec::new();
    let filters = target.reasons.iter().map(|reason| &reason.filter);
    for filter in [&target.filter].into_iter().chain(filters) {
        conditions.push(match filter {
            None => None,
            Some(filter) => {
                match condition::resolve(lookup.configured, &table, oid, filter).await? {
                    Resolution::Condition(condition) => Some(condition),
                    Resolution::Refused(why, remedy) => {
                        return Ok(TableLookup::Refused(why, remedy));
                    }
                    Resolution::Locked(bound) => return Ok(TableLookup::Locked(bound)),
                }
            }
        });
    }
    let of_reasons = conditions.split_off(1);
    Ok(TableLookup::Table(Box::new(Located {
        oid,
        table,
        condition: conditions.into_iter().flatten().next(),
        of_reasons,
        due,
        group,
        leaves,
        children,
        set,
        identity,
    })))
}

/// Returns the columns that the target sets. The error explains why a column cannot be set.
fn assignments(
    target: &Target,
    columns: &[Column],
    leaves: &[Leaf],
) -> Result<Vec<Assignment>, String> {
    let mut set = Vec::new();
    for SetColumn { column: name, value } in &target.set {
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            return Err(no_column(&target.table, name, columns.iter().map(|column| &column.name)));
        };
        if leaves.iter().flat_map(|leaf| &leaf.key).any(|key| key.name == *name) {
            return Err(format!(
                "set: {} is part of the key, which identifies a row",
                name.quoted()
            ));
        }
        if column.equals.is_none() && value.value().is_some() {
            return Err(format!(
                "set: {} is {}, a type whose values cannot be compared for equality; only NULL is possible",
                name.quoted(),
                column.sql_type
            ));
        }
        set.push(Assignment { column: column.clone(), literal: value.clone() });
    }
    Ok(set)
}

/// Returns the oid of the table that a name refers to on the configured search path.
pub(crate) async fn named(lookup: Lookup<'_>, table: &TableName) -> Result<Option<u32>, Error> {
    lookup.configured.query_one(NAMED, &[&table.to_string()]).await?.try_get(0)
}

/// A table that [`LOCATE`] found.
struct Member {
    kind: String,
    identity: Identity,
    key: Vec<Ident>,
}

impl Member {
    /// Returns whether the table has all of these columns.
    fn has_columns(&self, wanted: &[Ident]) -> bool {
        let has = |wanted: &Ident| self.identity.columns.iter().any(|(name, ..)| name == wanted);
        wanted.iter().all(has)
    }

    /// Returns the columns of the key: from `inherited`, the columns of the target's table, or, if
    /// a column is missing there, from `own`, the columns of this table. Returns no columns if a
    /// column is also missing in `own`, because the others would not be unique.
    fn key(&self, inherited: &[Column], own: &[Column]) -> Vec<Column> {
        let among = |columns: &[Column]| {
            let find = |name: &Ident| columns.iter().find(|column| column.name == *name).cloned();
            self.key.iter().map(find).collect::<Option<Vec<Column>>>()
        };
        among(inherited).or_else(|| among(own)).unwrap_or_default()
    }

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

async fn columns(client: &Prepared, oids: &[u32]) -> Result<HashMap<u32, Vec<Column>>, Error> {
    let column = |row: &Row| -> Result<Column, Error> {
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
    let mut tables: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in client.rows(COLUMNS, &[&oids]).await? {
        tables.entry(row.try_get(5)?).or_default().push(column(&row)?);
    }
    Ok(tables)
}

/// Looks up a child table: a table whose rows are deleted before the target's rows that they
/// reference. Returns one [`Child`] for each table that stores its rows. The outer `Result` is a
/// database error. The inner error explains why the table cannot be used.
async fn locate_child(
    lookup: Lookup<'_>,
    target: &Target,
    parent: u32,
    ChildTable { table, columns }: &ChildTable,
) -> Result<Result<Vec<Child>, String>, Error> {
    let client = lookup.catalog;
    let names: Vec<&str> = columns.iter().map(Ident::as_str).collect();
    let row = match named(lookup, table).await? {
        Some(oid) => client.row(CHILD, &[&oid, &names, &parent]).await?,
        None => None,
    };
    let Some(row) = row else {
        let hint = similar_table(client, table).await?;
        return Ok(Err(format!("children: there is no table {}{hint}", table.quoted())));
    };
    let unusable =
        |why: &str| Ok(Err(format!("children: {} cannot be used: it is {why}", table.quoted())));
    let (oid, kind): (u32, &str) = (row.try_get(0)?, row.try_get(1)?);
    if let Some(why) = unfit(kind) {
        return unusable(why);
    }
    let tree: Vec<Member> =
        client.rows(LOCATE, &[&oid]).await?.iter().map(Member::of).collect::<Result<_, Error>>()?;
    if tree.iter().any(|member| member.identity.oid == parent) {
        return unusable("the target itself");
    }
    if tree.len() > CHILD_PARTITIONS {
        return unusable("a table with more than 100 partitions; use ON DELETE CASCADE instead");
    }
    if tree.iter().any(|member| member.kind == "f") {
        return unusable("a table with a partition on another server");
    }
    let refers_to: Option<Vec<String>> = row.try_get(2)?;
    let known = self::columns(client, &[oid]).await?.remove(&oid).unwrap_or_default();
    let references = match references(target, (table, columns), &known, refers_to) {
        Ok(references) => references,
        Err(why) => return Ok(Err(format!("children: {why}"))),
    };
    let child = |member: Member| Child {
        oid: member.identity.oid,
        table: member.identity.table.clone(),
        references: references.clone(),
        identity: member.identity,
    };
    Ok(Ok(tree.into_iter().filter(|member| member.kind == "r").map(child).collect()))
}

/// Returns the referencing columns of a child table, each with the column to which it refers.
/// `known` contains all columns of the child table.
fn references(
    target: &Target,
    (table, columns): (&TableName, &[Ident]),
    known: &[Column],
    refers_to: Option<Vec<String>>,
) -> Result<Vec<Reference>, String> {
    let mut found = Vec::new();
    for name in columns {
        let Some(column) = known.iter().find(|column| column.name == *name) else {
            return Err(no_column(table, name, known.iter().map(|column| &column.name)));
        };
        if column.equals.is_none() {
            return Err(format!(
                "{}.{} is {}, a type whose values cannot be compared for equality",
                table.quoted(),
                name.quoted(),
                column.sql_type
            ));
        }
        found.push(column.clone());
    }
    let Some(refers_to) = refers_to else {
        let (child, parent) = (table.quoted(), target.table.quoted());
        let names: Vec<String> = columns.iter().map(Ident::quoted).collect();
        return Err(format!(
            "no foreign key says what {child} ({}) refers to in {parent}, and the primary key of {parent} does not have as many columns",
            names.join(", ")
        ));
    };
    let reference = |(column, refers_to): (Column, String)| Reference {
        column,
        refers_to: Ident::new(refers_to),
    };
    Ok(found.into_iter().zip(refers_to).map(reference).collect())
}

fn no_column<'a>(
    table: &TableName,
    missing: &Ident,
    columns: impl Iterator<Item = &'a Ident>,
) -> String {
    let hint = nearest(missing.as_str(), columns.map(|column| (column.as_str(), column.quoted())));
    format!("{table} has no column {missing}{}", meant(hint))
}

/// Returns a hint with the name of the table that may have been meant, or an empty string.
pub(crate) async fn similar_table(client: &Prepared, table: &TableName) -> Result<String, Error> {
    let rows = client.rows(TABLES, &[]).await?;
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
        "v" | "m" => Some("a view; name the table that it reads"),
        "f" => Some("a foreign table; run session-reaper on the server that contains it"),
        _ => Some("not a table"),
    }
}

fn meant(hint: Option<String>) -> String {
    hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default()
}
