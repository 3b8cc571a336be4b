//! The reaper's own tables: where they are, and whose.
//!
//! A trigger or a policy on a table runs with the privileges of whoever writes it. A stranger who
//! may create tables in a schema of the search path can plant a `reaper_runs` there, so that no
//! statement names one before its owner is known.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// A name that no table has: only a superuser could create one in `pg_catalog`. A statement with it
/// fails as one on any table that is missing does.
const NO_RUNS: &str = "pg_catalog.reaper_runs";
const NO_STATE: &str = "pg_catalog.reaper_state";

/// `reaper_runs` and `reaper_state`, as statements name them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTables {
    runs: String,
    state: String,
    foreign: Vec<ForeignTable>,
}

/// A table with the name of one of ours that belongs to a stranger, or whose triggers do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignTable {
    /// Its name with its schema.
    pub table: String,
    /// The role that could run anything with the privileges of whoever writes the table.
    pub owner: String,
}

impl std::fmt::Display for ForeignTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, owner } = self;
        write!(
            f,
            "{table}, or a trigger on it, belongs to {owner}, which is neither a superuser nor the owner of the database, of the \
             schema or of a target, nor a role that this one has the privileges of: it is neither read nor written"
        )
    }
}

impl OwnTables {
    /// Looks both up on the search path of the connection. `trusted` are the roles that may own
    /// them.
    pub async fn find(client: &Client, trusted: &[u32]) -> Result<Self, Error> {
        let mut own = Self::default();
        for (name, table) in found(client, &["reaper_runs", "reaper_state"], trusted).await? {
            let table = match table {
                Ok(table) => table,
                Err(foreign) => {
                    own.foreign.push(foreign);
                    continue;
                }
            };
            if name == "reaper_runs" {
                own.runs = table;
            } else {
                own.state = table;
            }
        }
        Ok(own)
    }

    /// The history, quoted.
    pub(crate) fn runs(&self) -> &str {
        &self.runs
    }

    /// The shared state, quoted.
    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    /// The one that is not to be used, where there is one. Statements treat it as missing.
    #[must_use]
    pub fn foreign(&self) -> Option<&ForeignTable> {
        self.foreign.first()
    }
}

/// Looks tables up by their names on the search path of the connection: each as it is written, or
/// as a stranger's.
pub(crate) async fn found(
    client: &Client,
    names: &[&str],
    trusted: &[u32],
) -> Result<Vec<(String, Result<String, ForeignTable>)>, Error> {
    let sql = include_str!("sql/own_tables.sql");
    let rows =
        client.query_typed(sql, &[(&names, Type::TEXT_ARRAY), (&trusted, Type::OID_ARRAY)]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (name, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let owner: Option<String> = row.try_get(2)?;
        Ok((name, owner.map_or(Ok(table.clone()), |owner| Err(ForeignTable { table, owner }))))
    };
    rows.iter().map(read).collect()
}

/// Neither is there.
impl Default for OwnTables {
    fn default() -> Self {
        Self { runs: NO_RUNS.to_owned(), state: NO_STATE.to_owned(), foreign: Vec::new() }
    }
}
