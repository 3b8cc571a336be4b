//! Reading the catalog: one read-only transaction, a few queries.

use std::collections::HashMap;
use std::time::Duration;

use schema::connect::{ConnectError, ConnectOptions, chain};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::signs::{BESIDE, GROUPS, OWN};
use super::{judge, names};
use crate::sweep::{Ident, TableName};

/// Measured in milliseconds for hundreds of tables. Whoever has a hundred thousand may wait for them.
const PATIENCE: Duration = Duration::from_secs(30);

/// One snapshot for all queries. UTC and ISO are how `pg_stats` is read; the lock is only ever the catalog's own.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '30s'; \
     SET LOCAL lock_timeout = '1s'; SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'; SET LOCAL jit = off";

const WHERE_AND_WHO: &str = "SELECT current_database()::text, current_user::text";

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The database was not reached, or the connection was lost.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The database refused a query.
    #[error("the catalog cannot be read: {0}")]
    Refused(String),
}

impl From<Error> for DiscoverError {
    fn from(error: Error) -> Self {
        let text = chain(&error);
        // What is no answer of the server's is an end of the connection.
        if error.code().is_none() { ConnectError::Connect(text).into() } else { Self::Refused(text) }
    }
}

/// What was found.
pub(super) struct Catalog {
    pub(super) database: String,
    pub(super) role: String,
    pub(super) tables: Vec<Table>,
    columns: HashMap<(u32, String), Facts>,
    references: HashMap<u32, Vec<Reference>>,
}

/// A table, with those of its columns that may matter.
pub(super) struct Table {
    pub(super) oid: u32,
    /// With its schema.
    pub(super) name: TableName,
    /// Found along the `search_path` by its name alone.
    pub(super) visible: bool,
    pub(super) partitioned: bool,
    /// As of the last VACUUM or ANALYZE; none before the first.
    pub(super) rows: Option<u64>,
    pub(super) columns: Vec<Column>,
    /// In quotes where SQL wants them.
    pub(super) key: Vec<String>,
}

pub(super) struct Column {
    pub(super) name: Ident,
    pub(super) sql_type: String,
    pub(super) nullable: bool,
}

/// What is looked up only of columns that matter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) indexed: bool,
    /// The least and the greatest value that ANALYZE saw: seconds since 1970, or integers as they are.
    pub(super) values: Option<(f64, f64)>,
}

/// A foreign key that points at a table.
pub(super) struct Reference {
    pub(super) from: TableName,
    /// Its column, when it has only one.
    pub(super) column: Option<Ident>,
    pub(super) to_itself: bool,
    /// As `pg_constraint.confdeltype` has it.
    pub(super) on_delete: String,
}

impl Catalog {
    pub(super) fn facts(&self, table: &Table, column: &Ident) -> Facts {
        self.columns.get(&(table.oid, column.as_str().to_owned())).copied().unwrap_or_default()
    }

    pub(super) fn references(&self, table: &Table) -> &[Reference] {
        self.references.get(&table.oid).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Table {
    pub(super) fn column(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    pub(super) fn schema(&self) -> &str {
        self.name.schema.as_ref().map(Ident::as_str).unwrap_or_default()
    }

    /// The column that keeps rows together.
    pub(super) fn group(&self) -> Option<&Ident> {
        let group = |column: &&Column| GROUPS.contains(&names::run_together(column.name.as_str()).as_str());
        self.columns.iter().find(group).map(|column| &column.name)
    }
}

/// Reads all that is needed; `wanted` are the names of columns that presets speak of.
pub(super) async fn read(connect: &ConnectOptions, wanted: &[Ident]) -> Result<Catalog, DiscoverError> {
    let (client, driver) = connect.connect_with_driver().await?;
    let read = tokio::time::timeout(PATIENCE + PATIENCE / 2, read_by(&client, wanted)).await;
    driver.abort();
    read.map_err(|_| DiscoverError::from(ConnectError::Timeout))?
}

/// Without named statements: behind a pooler the next client would find them.
async fn read_by(client: &Client, wanted: &[Ident]) -> Result<Catalog, DiscoverError> {
    client.batch_execute(BEGIN).await?;
    let row = client.query_typed_one(WHERE_AND_WHO, &[]).await?;
    let (database, role) = (row.get(0), row.get(1));

    let signs = GROUPS.iter().copied().chain(BESIDE.iter().map(|(name, _)| *name)).map(str::to_owned);
    let names: Vec<String> = wanted.iter().map(|name| names::run_together(name.as_str())).chain(signs).collect();
    let rows = client.query_typed(include_str!("catalog.sql"), &[(&names, Type::TEXT_ARRAY)]).await?;
    let tables: Vec<Table> = rows.iter().map(table).filter(|table| !OWN.contains(&table.name.name.as_str())).collect();

    let asked = |table: &Table, column: &Column| wanted.contains(&column.name) || judge::may_matter(table, column);
    let (oids, columns): (Vec<u32>, Vec<String>) = tables
        .iter()
        .flat_map(|table| table.columns.iter().filter(|column| asked(table, column)).map(|column| (table.oid, column)))
        .map(|(oid, column)| (oid, column.name.as_str().to_owned()))
        .unzip();
    let rows = client.query_typed(include_str!("references.sql"), &[(&oids, Type::OID_ARRAY)]).await?;
    let mut references: HashMap<u32, Vec<Reference>> = HashMap::new();
    for row in rows {
        let from =
            TableName { schema: Some(Ident::new(row.get::<_, String>(1))), name: Ident::new(row.get::<_, String>(2)) };
        let reference = Reference {
            from,
            on_delete: row.get(3),
            to_itself: row.get(4),
            column: row.get::<_, Option<String>>(5).map(Ident::new),
        };
        references.entry(row.get(0)).or_default().push(reference);
    }
    let columns = columns_of(client, &oids, &columns).await?;
    client.batch_execute("ROLLBACK").await?;
    Ok(Catalog { database, role, tables, columns, references })
}

fn table(row: &Row) -> Table {
    let (names, types, nullable): (Vec<String>, Vec<String>, Vec<bool>) = (row.get(6), row.get(7), row.get(8));
    let columns = names.into_iter().zip(types).zip(nullable);
    let columns = columns.map(|((name, sql_type), nullable)| Column { name: Ident::new(name), sql_type, nullable });
    let rows: f64 = row.get(5);
    Table {
        oid: row.get(0),
        name: TableName {
            schema: Some(Ident::new(row.get::<_, String>(1))),
            name: Ident::new(row.get::<_, String>(2)),
        },
        visible: row.get(3),
        partitioned: row.get(4),
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an estimate, and not below zero")]
        rows: (rows >= 0.0).then_some(rows as u64),
        columns: columns.collect(),
        key: row.get(9),
    }
}

/// The last of the queries: what it sets is for the rest of the transaction.
async fn columns_of(
    client: &Client,
    oids: &Vec<u32>,
    names: &Vec<String>,
) -> Result<HashMap<(u32, String), Facts>, Error> {
    let params: [(&(dyn ToSql + Sync), Type); 2] = [(oids, Type::OID_ARRAY), (names, Type::TEXT_ARRAY)];
    let rows = client.query_typed(include_str!("indexes.sql"), &params).await?;
    let facts = rows.iter().map(|row| ((row.get(0), row.get(1)), Facts { indexed: row.get(2), values: None }));
    let mut facts: HashMap<(u32, String), Facts> = facts.collect();
    client.batch_execute("SET LOCAL enable_nestloop = off").await?;
    for row in client.query_typed(include_str!("values.sql"), &params).await? {
        let (lowest, highest): (Option<f64>, Option<f64>) = (row.get(2), row.get(3));
        if let Some(facts) = facts.get_mut(&(row.get(0), row.get(1))) {
            facts.values = lowest.zip(highest);
        }
    }
    Ok(facts)
}
