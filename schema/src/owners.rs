//! Roles whose objects the reaper may run, and whose tables it may write.
//!
//! A function, a view, a trigger or a policy runs with the rights of whoever comes across it. So what another role owns
//! must not run as the reaper, unless that role has the reaper's rights, or could get them, in any case.

/// Builds a query for the oids of the trusted roles: superusers, the database's owner, the current role, the roles that it is a
/// member of, and those of `also`, an expression of the type `oid[]`.
///
/// A superuser counts as a member of every role for `pg_has_role`, which says nothing about who is to be trusted.
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
