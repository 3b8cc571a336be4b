//! Whether a database is auth-api's, judged by the structure of its tables. The built-in targets
//! apply to such a database alone: many applications have a table `sessions` with a column
//! `expires_at`, and nobody said that theirs may be reaped.

use tokio_postgres::{Client, Error};

use super::name::TableName;

const STRUCTURE: &str = include_str!("auth_api.sql");

/// A database that is not auth-api's, and no configuration that says what to delete there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no configuration was found, and the database is not auth-api's ({}). Nothing was deleted. Write a reaper.toml: \
     `session-reaper discover` proposes one for the tables of this database, and `session-reaper init` writes one to start from. \
     For auth-api's own tables run `auth-api migrate`, or correct DATABASE_URL or the search_path; `preset = \"auth-api\"` in \
     reaper.toml takes the tables as they are",
    missing.join("; ")
)]
pub struct NotAuthApi {
    missing: Vec<String>,
}

/// auth-api's tables, by their names along the `search_path` when the structure was proved.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    tables: Vec<(String, u32)>,
}

impl Proof {
    /// Reads the catalog. The connection has to have the configured `search_path`.
    pub(super) async fn read(client: &Client) -> Result<Result<Self, NotAuthApi>, Error> {
        let (mut tables, mut missing) = (Vec::new(), Vec::new());
        for row in client.query(STRUCTURE, &[]).await? {
            let (name, oid): (String, Option<u32>) = (row.try_get(0)?, row.try_get(1)?);
            missing.extend(row.try_get::<_, Vec<String>>(2)?);
            tables.extend(oid.map(|oid| (name, oid)));
        }
        Ok(if missing.is_empty() { Ok(Self { tables }) } else { Err(NotAuthApi { missing }) })
    }

    /// Whether `oid` is what the proof saw under this name. A table that the proof is not about is
    /// not its concern.
    pub(super) fn covers(&self, table: &TableName, oid: u32) -> bool {
        let seen = self
            .tables
            .iter()
            .find(|(name, _)| table.schema.is_none() && table.name.as_str() == name);
        seen.is_none_or(|(_, seen)| *seen == oid)
    }
}
