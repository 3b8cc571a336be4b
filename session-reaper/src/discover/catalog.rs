//! Reads the catalog with a few queries in one read-only transaction.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use pg::connect::{ConnectError, ConnectOptions};
use pg::error_text::chain;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::nouns::OWN;
use super::table::{Column, Facts, Kind, Table, keys, name};
use super::values::Known;
use super::{names, reading, sample};
use reaper::{Ident, TableName};

/// The timeout for reading the catalog, the statistics and the samples. Reading a catalog of
/// hundreds of tables takes milliseconds, so this timeout is sufficient for a hundred thousand
/// tables.
const DEADLINE: Duration = Duration::from_secs(45);

/// Starts a transaction in which all queries use the same snapshot. The queries lock only the
/// catalog.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30s'; \
     SET LOCAL lock_timeout = '1s'; SET LOCAL jit = off";

/// Sets a `search_path` that prevents the queries from using operators and functions that an
/// attacker has created in a schema on the configured one. The other settings make PostgreSQL
/// return the times in `pg_stats` in UTC and in the ISO format.
const SETTINGS: &str = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'";

/// The reason for which the catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The database was not reached, or the connection was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database refused a query.
    #[error("cannot read the catalog: {0}")]
    Refused(String),
}

impl From<Error> for DiscoverError {
    fn from(error: Error) -> Self {
        let text = chain(&error);
        // An error without a code means that the connection was lost.
        if error.code().is_none() {
            ConnectError::Connect(text).into()
        } else {
            Self::Refused(text)
        }
    }
}

/// The tables of a database, with details about the relevant tables and columns.
pub(super) struct Catalog {
    pub(super) database: String,
    pub(super) role: String,
    pub(super) tables: Vec<Table>,
    columns: HashMap<(u32, String), Facts>,
    references: HashMap<u32, Vec<Reference>>,
    named: Vec<Named>,
}

/// A foreign key that references a table.
pub(super) struct Reference {
    pub(super) from: TableName,
    /// The referencing column; `None` if the foreign key has several columns.
    pub(super) column: Option<Ident>,
    pub(super) to_itself: bool,
    /// The value of `pg_constraint.confdeltype`.
    pub(super) on_delete: String,
}

/// A column that seems to reference another table, because it is named after the rows of that
/// table, but has no foreign key.
pub(super) struct Named {
    pub(super) oid: u32,
    pub(super) table: TableName,
    pub(super) column: Ident,
    pub(super) sql_type: String,
}

impl Catalog {
    pub(super) fn facts(&self, table: &Table, column: &Ident) -> &Facts {
        const NONE: &Facts = &Facts { indexed: false, values: Known::Nothing };
        self.columns.get(&(table.oid, column.as_str().to_owned())).unwrap_or(NONE)
    }

    pub(super) fn references(&self, table: &Table) -> &[Reference] {
        self.references.get(&table.oid).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn named(&self) -> &[Named] {
        &self.named
    }
}

/// The names of the tables and columns that presets (the built-in targets of known applications)
/// use. If a table has one of these table names, all of its columns are read. In each table whose
/// columns are read, the columns that have one of these column names are examined.
pub(super) struct Wanted {
    pub(super) tables: Vec<Ident>,
    pub(super) columns: Vec<Ident>,
}

/// Reads the catalog, statistics and samples.
pub(super) async fn read(
    connect: &ConnectOptions,
    wanted: &Wanted,
) -> Result<Catalog, DiscoverError> {
    let (client, driver) = connect.connect_with_driver().await?;
    let read = tokio::time::timeout(DEADLINE, read_by(&client, wanted)).await;
    driver.abort();
    read.map_err(|_| DiscoverError::from(ConnectError::Timeout))?
}

/// Reads the catalog. The queries are not sent as named prepared statements, because these would
/// remain in a server process that a pooler gives to other clients.
async fn read_by(client: &Client, wanted: &Wanted) -> Result<Catalog, DiscoverError> {
    client.batch_execute(BEGIN).await?;
    let row = client.query_typed_one(include_str!("visible.sql"), &[]).await?;
    let (database, role, now) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let visible: HashSet<u32> = row.try_get::<_, Vec<u32>>(3)?.into_iter().collect();
    client.batch_execute(SETTINGS).await?;

    let rows = client.query_typed(include_str!("catalog.sql"), &[]).await?;
    let mut tables =
        rows.iter().map(|row| table(row, &visible)).collect::<Result<Vec<Table>, Error>>()?;
    tables.retain(|table| !OWN.contains(&table.name.name.as_str()));
    let candidates: Vec<u32> = tables
        .iter()
        .filter(|table| wanted.tables.contains(&table.name.name) || reading::is_candidate(table))
        .map(|table| table.oid)
        .collect();
    let mut columns = all_columns(client, &candidates).await?;
    for table in &mut tables {
        table.columns =
            columns.remove(&table.oid).unwrap_or_else(|| std::mem::take(&mut table.columns));
    }
    let references = references(client, &candidates).await?;
    let nouns: HashSet<String> = tables
        .iter()
        .filter(|table| candidates.contains(&table.oid))
        .flat_map(|table| names::reference_ends(&names::words(table.name.name.as_str())))
        .collect();
    let named = named(client, nouns.into_iter().collect()).await?;

    let asked = |table: &Table, column: &Column| {
        candidates.contains(&table.oid)
            && (wanted.columns.contains(&column.name) || reading::may_matter(table, column))
    };
    let asked: Vec<(&Table, &Column)> = tables
        .iter()
        .flat_map(|table| {
            table.columns.iter().filter(move |column| asked(table, column)).map(move |c| (table, c))
        })
        .collect();
    let mut facts = indexes(client, &asked).await?;
    for ((oid, name), values) in sample::statistics(client, &tables, &asked, now).await? {
        if let Some(facts) = facts.get_mut(&(oid, name)) {
            facts.values = values;
        }
    }
    let relations = sample::relations(client, &asked).await?;
    client.batch_execute("ROLLBACK").await?;
    sample::samples(client, &relations, &asked, &mut facts).await?;
    Ok(Catalog { database, role, tables, columns: facts, references, named })
}

fn table(row: &Row, visible: &HashSet<u32>) -> Result<Table, Error> {
    let (names, types, nullable): (Vec<String>, Vec<String>, Vec<bool>) =
        (row.try_get(5)?, row.try_get(6)?, row.try_get(7)?);
    let columns = names.into_iter().zip(types).zip(nullable);
    let columns = columns.map(|((name, sql_type), nullable)| Column {
        name: Ident::new(name),
        sql_type,
        nullable,
    });
    let (oid, rows): (u32, f64) = (row.try_get(0)?, row.try_get(4)?);
    Ok(Table {
        oid,
        name: name(row, 1)?,
        visible: visible.contains(&oid),
        kind: match (row.try_get(3)?, row.try_get(9)?) {
            (true, _) => Kind::Partitioned,
            (false, true) => Kind::Parent,
            (false, false) => Kind::Plain,
        },
        acts_on_delete: row.try_get(10)?,
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an estimate, and not below zero"
        )]
        rows: (rows >= 0.0).then_some(rows as u64),
        columns: columns.collect(),
        key: row.try_get(8)?,
    })
}

async fn all_columns(client: &Client, oids: &Vec<u32>) -> Result<HashMap<u32, Vec<Column>>, Error> {
    let mut columns: HashMap<u32, Vec<Column>> = HashMap::new();
    for row in client.query_typed(include_str!("columns.sql"), &[(oids, Type::OID_ARRAY)]).await? {
        let name = Ident::new(row.try_get::<_, String>(1)?);
        let column = Column { name, sql_type: row.try_get(2)?, nullable: row.try_get(3)? };
        columns.entry(row.try_get(0)?).or_default().push(column);
    }
    Ok(columns)
}

async fn references(
    client: &Client,
    oids: &Vec<u32>,
) -> Result<HashMap<u32, Vec<Reference>>, Error> {
    let mut references: HashMap<u32, Vec<Reference>> = HashMap::new();
    for row in
        client.query_typed(include_str!("references.sql"), &[(oids, Type::OID_ARRAY)]).await?
    {
        let reference = Reference {
            from: name(&row, 1)?,
            on_delete: row.try_get(3)?,
            to_itself: row.try_get(4)?,
            column: row.try_get::<_, Option<String>>(5)?.map(Ident::new),
        };
        references.entry(row.try_get(0)?).or_default().push(reference);
    }
    Ok(references)
}

async fn named(client: &Client, ends: Vec<String>) -> Result<Vec<Named>, Error> {
    let patterns: Vec<String> =
        ends.iter().map(|end| format!("%{}", end.replace('\\', "").replace('%', "\\%"))).collect();
    let rows =
        client.query_typed(include_str!("named.sql"), &[(&patterns, Type::TEXT_ARRAY)]).await?;
    let named = |row: &Row| {
        let column = Ident::new(row.try_get::<_, String>(3)?);
        Ok(Named { oid: row.try_get(0)?, table: name(row, 1)?, column, sql_type: row.try_get(4)? })
    };
    rows.iter().map(named).collect()
}

async fn indexes(
    client: &Client,
    asked: &[(&Table, &Column)],
) -> Result<HashMap<(u32, String), Facts>, Error> {
    let (oids, names) = keys(asked);
    let params: [(&(dyn ToSql + Sync), Type); 2] =
        [(&oids, Type::OID_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = client.query_typed(include_str!("indexes.sql"), &params).await?;
    let facts = |row: &Row| {
        Ok((
            (row.try_get(0)?, row.try_get(1)?),
            Facts { indexed: row.try_get(2)?, values: Known::Nothing },
        ))
    };
    rows.iter().map(facts).collect()
}
