//! The reaper's own tables: their names and owners.
//!
//! A trigger or a policy on a table runs with the privileges of the role that writes to the table.
//! A role that can create tables in a schema of the search path could create a table `reaper_runs`
//! there. Therefore, the owner of such a table is checked before any statement uses the table.

use pg::trusted_tables::{ForeignTable, find};
use tokio_postgres::{Client, Error};

/// A name that is used for a table that does not exist or must not be used. No table has this name,
/// because only a superuser could create a table in `pg_catalog`. A statement with this name fails
/// as for any other missing table.
const NO_RUNS: &str = "pg_catalog.reaper_runs";
const NO_STATE: &str = "pg_catalog.reaper_state";

/// The names of `reaper_runs` and `reaper_state` in statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnTables {
    runs: String,
    state: String,
    foreign: Vec<ForeignTable>,
}

impl OwnTables {
    /// Looks up both tables on the search path of the connection. `trusted` contains the roles that
    /// may own them.
    pub async fn find(client: &Client, trusted: &[u32]) -> Result<Self, Error> {
        let mut own = Self::default();
        for (name, table) in find(client, &["reaper_runs", "reaper_state"], trusted).await? {
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

/// Neither table exists.
impl Default for OwnTables {
    fn default() -> Self {
        Self { runs: NO_RUNS.to_owned(), state: NO_STATE.to_owned(), foreign: Vec::new() }
    }
}
