//! The trusted roles. Objects that belong to a trusted role may run with the privileges of the
//! reaper, and the reaper may write to the tables of a trusted role.
//!
//! A function, a view, a trigger or a policy runs with the privileges of the role that uses it. An
//! object must not run with the privileges of the reaper, unless the owner of the object already
//! has these privileges or could obtain them.

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

/// Builds a query for the oids of the trusted roles: superusers, the owner of the database, the
/// current role, the roles of which the current role is a member, and the roles in `also`. `also`
/// is an SQL expression of type `oid[]`.
///
/// `pg_has_role` treats a superuser as a member of every role. Therefore, if the current role is a
/// superuser, its memberships are ignored.
#[must_use]
pub fn trusted(also: &str) -> String {
    format!(
        "SELECT r.oid FROM pg_catalog.pg_roles r CROSS JOIN pg_catalog.pg_roles me
         WHERE me.rolname OPERATOR(pg_catalog.=) CURRENT_USER
           AND (r.rolsuper OR r.oid OPERATOR(pg_catalog.=) me.oid
                OR r.rolname OPERATOR(pg_catalog.=) 'pg_database_owner'
                OR (NOT me.rolsuper AND pg_catalog.pg_has_role(r.oid, 'MEMBER'))
                OR r.oid OPERATOR(pg_catalog.=) ANY ({also})
                OR r.oid OPERATOR(pg_catalog.=) (
                    SELECT d.datdba FROM pg_catalog.pg_database d
                    WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()))"
    )
}

/// The unquoted name of a table, and its schema if one was given.
pub type Named = (Option<String>, String);

/// Reads the trusted roles. These include the owners of `targets`, the tables from which the reaper
/// deletes, because the triggers of these tables run with the reaper's privileges anyway. `targets`
/// are looked up on the search path of the connection.
pub async fn read_trusted(client: &Client, targets: &[Named]) -> Result<Vec<u32>, Error> {
    // This query succeeds even if the current role does not have the privilege to use a schema.
    let owners = "ARRAY (
        SELECT c.relowner FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS target (schema, name)
        JOIN pg_catalog.pg_class c ON c.relname OPERATOR(pg_catalog.=) target.name::pg_catalog.name
        JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
            AND (n.nspname OPERATOR(pg_catalog.=) target.schema::pg_catalog.name
                 OR (target.schema IS NULL AND pg_catalog.pg_table_is_visible(c.oid)))
        WHERE c.relname OPERATOR(pg_catalog.<>) ALL ('{reaper_runs,reaper_state}'::pg_catalog.name[]))";
    let (schemas, names): (Vec<Option<&str>>, Vec<&str>) =
        targets.iter().map(|(schema, name)| (schema.as_deref(), name.as_str())).unzip();
    let params = [(&schemas as &(dyn ToSql + Sync), Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let rows = client.query_typed(&trusted(owners), &params).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
