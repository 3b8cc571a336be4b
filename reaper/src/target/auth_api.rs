//! Recognizes the database of auth-api by the structure of its tables. The built-in targets apply
//! only to such a database: many applications have a table `sessions` with a column `expires_at`,
//! and a run without a configuration must not delete from them.

use tokio_postgres::{Client, Error};

use crate::target::name::TableName;

const STRUCTURE: &str = include_str!("auth_api.sql");

/// The error if no targets are configured and the database is not auth-api's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no configuration was found, and the database is not auth-api's ({}). Nothing was deleted. Write a reaper.toml: \
     `session-reaper discover` proposes one for the tables of this database, and `session-reaper init` writes a template. \
     For auth-api's own tables, run `auth-api migrate`, or correct DATABASE_URL or the search_path. To use the tables without \
     this check, set `preset = \"auth-api\"` in reaper.toml",
    missing.join("; ")
)]
pub struct NotAuthApi {
    missing: Vec<String>,
}

/// The names and oids of auth-api's tables, as the check of the structure found them on the
/// `search_path`.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    tables: Vec<(String, u32)>,
}

impl Proof {
    /// Reads the catalog. The connection must use the configured `search_path`.
    pub(crate) async fn read(client: &Client) -> Result<Result<Self, NotAuthApi>, Error> {
        let (mut tables, mut missing) = (Vec::new(), Vec::new());
        for row in client.query(STRUCTURE, &[]).await? {
            let (name, oid): (String, Option<u32>) = (row.try_get(0)?, row.try_get(1)?);
            missing.extend(row.try_get::<_, Vec<String>>(2)?);
            tables.extend(oid.map(|oid| (name, oid)));
        }
        Ok(if missing.is_empty() { Ok(Self { tables }) } else { Err(NotAuthApi { missing }) })
    }

    /// Returns whether `oid` identifies the table that the check found under this name. Returns
    /// `true` for a table that the check does not cover.
    pub(crate) fn covers(&self, table: &TableName, oid: u32) -> bool {
        let seen = self
            .tables
            .iter()
            .find(|(name, _)| table.schema.is_none() && table.name.as_str() == name);
        seen.is_none_or(|(_, seen)| *seen == oid)
    }
}
