//! Checks the server and the settings of its database.

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use crate::connection::auxiliary::AuxiliaryConnection;

/// The oldest major version of PostgreSQL with which session-reaper is tested. It has all settings
/// that session-reaper uses.
const OLDEST: i32 = 14;

/// A transaction that has been open for longer than this is reported, because it prevents vacuum
/// from removing the deleted rows. A shorter transaction is usually a report, a dump or a
/// migration. A transaction that has been open for more than an hour was probably left open by
/// mistake.
const OLD: &str = "1 hour";

const SERVER: &str = "
    SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(),
        pg_catalog.current_setting('default_transaction_read_only')::boolean,
        pg_catalog.current_setting('autovacuum')::boolean AND pg_catalog.current_setting('track_counts')::boolean,
        CURRENT_USER::pg_catalog.text,
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication r WHERE r.state IS NULL)";

/// Returns the schemas of the configured search path in which untrusted roles may create objects,
/// each with these roles.
const OPEN_SCHEMAS: &str = "
    SELECT pg_catalog.format('%I', n.nspname), pg_catalog.string_agg(
        CASE WHEN may.role OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN 'PUBLIC'
            ELSE pg_catalog.format('%I', pg_catalog.pg_get_userbyid(may.role)) END, ', ')
    FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS path (name)
        JOIN pg_catalog.pg_namespace n ON n.nspname OPERATOR(pg_catalog.=) path.name
        CROSS JOIN LATERAL (
            SELECT n.nspowner
            UNION
            SELECT acl.grantee FROM pg_catalog.aclexplode(n.nspacl) AS acl
            WHERE acl.privilege_type OPERATOR(pg_catalog.=) 'CREATE') AS may (role)
    WHERE may.role OPERATOR(pg_catalog.<>) ALL ({trusted})
    GROUP BY n.nspname ORDER BY n.nspname";

/// Returns the transactions and replication slots that prevent vacuum from removing dead rows, if
/// they are visible to this role. Without `pg_read_all_stats`, a role cannot see the start times of
/// the transactions of other roles. Prepared transactions and slots are visible to every role.
const OLDEST_ONES: &str = include_str!("oldest.sql");

struct Server {
    version: i32,
    replica: bool,
    read_only: bool,
    autovacuum: bool,
    user: String,
    /// The number of replicas whose state this role may not see.
    hidden_replicas: i64,
}

/// Returns the findings that apply to every target.
pub(crate) async fn examine(auxiliary: &AuxiliaryConnection) -> Result<Vec<Finding>, Error> {
    let Some(row) = auxiliary.row(SERVER, &[]).await? else { return Ok(Vec::new()) };
    let server = Server {
        version: row.get(0),
        replica: row.get(1),
        read_only: row.get(2),
        autovacuum: row.get(3),
        user: row.get(4),
        hidden_replicas: row.get(5),
    };
    let mut findings = judge(&server);
    if let Some(foreign) = auxiliary.own.foreign() {
        findings.push(Finding::new(
            Code::ForeignHistory,
            format!("{foreign}; a pause that is set there would be ignored"),
            "if the table is unknown, drop it and run `session-reaper migrate`; otherwise, ALTER TABLE … OWNER TO a trusted role",
        ));
    }
    for row in auxiliary.on_path(&OPEN_SCHEMAS.replace("{trusted}", &auxiliary.trusted())).await? {
        let (schema, roles) = (row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default());
        findings.push(Finding::new(
            Code::OpenSchema,
            format!(
                "{roles} may create objects in {schema}, which is on the search_path: tables, functions and operators there \
                 can take the place of those that the application, its triggers and `where` refer to"
            ),
            format!("REVOKE CREATE ON SCHEMA {schema} FROM {roles}"),
        ));
    }
    // On a replica, each of these transactions either belongs to the primary or does not matter.
    if !server.replica {
        for row in auxiliary.rows(OLDEST_ONES, &[&OLD]).await? {
            let (what, remedy): (String, String) = (row.get(0), row.get(1));
            findings.push(Finding::new(
                Code::VacuumHeldBack,
                format!("{what}, which prevents vacuum from reclaiming the space of deleted rows"),
                format!("end it if it is no longer needed: {remedy}"),
            ));
        }
    }
    Ok(findings)
}

fn judge(server: &Server) -> Vec<Finding> {
    let mut findings = Vec::new();
    let major = server.version / 10_000;
    if major < OLDEST {
        findings.push(Finding::new(
            Code::OldServer,
            format!("the server runs PostgreSQL {major}, but session-reaper supports only version {OLDEST} and later"),
            format!("upgrade PostgreSQL to {OLDEST} or later"),
        ));
    }
    if server.replica {
        findings.push(Finding::new(
            Code::Replica,
            "a replica is at the other end, and rows cannot be deleted on a replica",
            "connect to the primary: set its host in DATABASE_URL, or several hosts with target_session_attrs=read-write",
        ));
    } else if server.read_only {
        findings.push(Finding::new(
            Code::ReadOnly,
            "default_transaction_read_only is on for this role or database, so nothing can be deleted",
            "ALTER ROLE CURRENT_USER SET default_transaction_read_only = off (or ALTER DATABASE, if the setting is on the database)",
        ));
    }
    if !server.autovacuum {
        findings.push(Finding::new(
            Code::AutovacuumOff,
            "autovacuum is off on this server, so the space of deleted rows is not reclaimed",
            "ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()",
        ));
    }
    if server.hidden_replicas > 0 {
        findings.push(Finding::new(
            Code::ReplicasHidden,
            format!("the server has {} replicas whose lag {} has no privilege to see, so a run does not wait for them", server.hidden_replicas, server.user),
            format!("GRANT pg_read_all_stats TO {}", server.user),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_properties_have_their_codes() {
        let codes = |version, replica, read_only, autovacuum| {
            let user = "session_reaper".to_owned();
            let found = judge(&Server {
                version,
                replica,
                read_only,
                autovacuum,
                user,
                hidden_replicas: 0,
            });
            found.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(140_000, false, false, true), []);
        assert_eq!(codes(139_999, false, false, true), [Code::OldServer]);
        // A replica is always read-only, so one finding is enough.
        assert_eq!(codes(150_018, true, true, true), [Code::Replica]);
        assert_eq!(codes(150_018, false, true, false), [Code::ReadOnly, Code::AutovacuumOff]);
    }
}
