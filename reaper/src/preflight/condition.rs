//! Checks the condition of a target (`where`), as PostgreSQL has parsed it.

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::target::condition::ResolvedCondition;

use crate::target::name::{Ident, TableName};

/// Returns the privileges that this role lacks to read the relations `$1` and the columns `$2`.
/// `$3` contains the relation of each column.
const UNREADABLE: &str = "
    SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, current_user::pg_catalog.text,
        pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
        ARRAY (SELECT a.attname::pg_catalog.text
               FROM pg_catalog.pg_attribute a
               JOIN ROWS FROM (pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.oid[])) AS r (name, of)
                   ON a.attrelid OPERATOR(pg_catalog.=) r.of AND a.attname OPERATOR(pg_catalog.=) r.name::pg_catalog.name
               WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid
                   AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT'))
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
    ORDER BY 1, 2";

/// Returns GRANT statements for the privileges that this role lacks to read the relations in
/// sub-selects of the condition.
pub(super) async fn grants(
    auxiliary: &AuxiliaryConnection,
    condition: &ResolvedCondition,
) -> Result<Vec<String>, Error> {
    let relations: Vec<u32> = condition.reads().iter().map(|relation| relation.oid).collect();
    let (of, names): (Vec<u32>, Vec<&str>) =
        condition.columns().iter().map(|(oid, column)| (*oid, column.as_str())).unzip();
    let mut grants = Vec::new();
    for row in auxiliary.rows(UNREADABLE, &[&relations, &names, &of]).await? {
        let (schema, name, role): (String, String, String) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (schema, role) = (Ident::new(schema), Ident::new(role).quoted());
        if !row.try_get::<_, bool>(3)? {
            grants.push(format!("GRANT USAGE ON SCHEMA {} TO {role}", schema.quoted()));
        }
        let table = TableName { schema: Some(schema), name: Ident::new(name) }.quoted();
        let missing: Vec<String> = row.try_get(5)?;
        if !missing.is_empty() {
            let missing: Vec<String> =
                missing.into_iter().map(|name| Ident::new(name).quoted()).collect();
            grants.push(format!("GRANT SELECT ({}) ON {table} TO {role}", missing.join(", ")));
        } else if !row.try_get::<_, bool>(4)? {
            // The condition only counts rows or tests whether they exist, and reads no column.
            grants.push(format!("GRANT SELECT ON {table} TO {role}"));
        }
    }
    Ok(grants)
}

/// Returns a note with `where` as PostgreSQL parsed it. Also returns a finding for each object in
/// the condition whose owner could use it to run code with the privileges of the reaper.
pub(super) fn judge(condition: &ResolvedCondition) -> Vec<Finding> {
    let mut findings =
        vec![Finding::plain(Code::Condition, format!("`where` means: {}", condition.shown()))];
    findings.extend(condition.foreign().iter().map(|foreign| {
        Finding::new(
            Code::ForeignCondition,
            format!(
                "`where` uses the {}, which belongs to the role {} and would run with the privileges of the reaper",
                foreign.what, foreign.owner
            ),
            "in `where`, add the schema to the name of the intended object and cast values to exact types, or change the owner of \
             the object to the owner of the table; if the object is unknown, drop it",
        )
    }));
    findings
}
