//! Tables that a program writes to by name, and that must therefore belong to a trusted role.
//!
//! A trigger or a policy on a table runs with the privileges of the role that writes to the table.
//! A role that can create tables in a schema on the search path could create a table with the
//! expected name there. Therefore, the owner of a table is checked before any statement uses the
//! table.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Error};

/// A table that an untrusted role owns or has a trigger on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignTable {
    /// The name of the table, with its schema.
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
            "{table}, or a trigger on it, belongs to {owner}, an untrusted role: {owner} is not a superuser, does not own the database, \
             the schema or a target, and the current role is not a member of {owner}; the table is neither read nor written"
        )
    }
}

/// Looks up tables by name on the search path of the connection. Returns each name for which there
/// is a table, with the quoted name of the table or the reason why the table must not be used.
pub async fn find(
    client: &Client,
    names: &[&str],
    trusted: &[u32],
) -> Result<Vec<(String, Result<String, ForeignTable>)>, Error> {
    let sql = include_str!("trusted_tables.sql");
    let rows =
        client.query_typed(sql, &[(&names, Type::TEXT_ARRAY), (&trusted, Type::OID_ARRAY)]).await?;
    let read = |row: &tokio_postgres::Row| {
        let (name, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let owner: Option<String> = row.try_get(2)?;
        Ok((name, owner.map_or(Ok(table.clone()), |owner| Err(ForeignTable { table, owner }))))
    };
    rows.iter().map(read).collect()
}
