//! The reaper's own tables: their names and owners.
//!
//! A trigger or a policy on a table runs with the privileges of the role that writes to the table.
//! A role that can create tables in a schema of the search path could create a `reaper_runs` there.
//! Therefore, no statement uses such a table before its owner is known.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// A name that no table has, because only a superuser could create a table in `pg_catalog`. A
/// statement with this name fails like one with any other missing table.
const NO_RUNS: &str = "pg_catalog.reaper_runs";
const NO_STATE: &str = "pg_catalog.reaper_state";

/// The names of `reaper_runs` and `reaper_state` in statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTables {
    runs: String,
    state: String,
    foreign: Vec<ForeignTable>,
}

/// A table with the name of one of the reaper's own, which an untrusted role owns or has a trigger
/// on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignTable {
    /// Name of the table, with its schema.
    pub table: String,
    /// The untrusted role, which could run anything with the privileges of a role that writes to
    /// the table.
    pub owner: String,
}

impl std::fmt::Display for ForeignTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { table, owner } = self;
        write!(
            f,
            "{table}, or a trigger on it, belongs to {owner}, which is not a superuser and does not own the database, the schema \
             or a target, and whose privileges this role does not have; the table is neither read nor written"
        )
    }
}

impl OwnTables {
    /// Looks up both tables on the search path of the connection. `trusted` contains the roles that
    /// may own them.
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

    /// Returns the quoted name of the run history.
    pub(crate) fn runs(&self) -> &str {
        &self.runs
    }

    /// Returns the quoted name of the shared state.
    pub(crate) fn state(&self) -> &str {
        &self.state
    }

    /// Returns a table that must not be used, if there is one. Statements treat it as missing.
    #[must_use]
    pub fn foreign(&self) -> Option<&ForeignTable> {
        self.foreign.first()
    }
}

/// Looks up tables by name on the search path of the connection. Each result is the quoted name, or
/// the reason why the table must not be used.
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

/// Neither table exists.
impl Default for OwnTables {
    fn default() -> Self {
        Self { runs: NO_RUNS.to_owned(), state: NO_STATE.to_owned(), foreign: Vec::new() }
    }
}
