//! The server at the other end.

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use crate::sweep::auxiliary::AuxiliaryConnection;

/// The oldest version that session-reaper is tried on, and that has all of the settings that it
/// relies on.
const OLDEST: i32 = 14;

/// A transaction that is older keeps vacuum from giving back what a run deleted. Shorter ones are a
/// report, a dump, a migration; after an hour somebody has forgotten one.
const OLD: &str = "1 hour";

const SERVER: &str = "
    SELECT pg_catalog.current_setting('server_version_num')::int, pg_catalog.pg_is_in_recovery(),
        pg_catalog.current_setting('default_transaction_read_only')::boolean,
        pg_catalog.current_setting('autovacuum')::boolean AND pg_catalog.current_setting('track_counts')::boolean,
        CURRENT_USER::pg_catalog.text,
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication r WHERE r.state IS NULL)";

/// The schemas of the configured search path in which strangers may create objects, with these
/// roles.
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

/// What holds back the horizon of vacuum, as far as this role may see it: the times of other roles'
/// transactions take `pg_read_all_stats`, prepared ones and slots are seen by everybody.
const OLDEST_ONES: &str = include_str!("oldest.sql");

struct Server {
    version: i32,
    replica: bool,
    read_only: bool,
    autovacuum: bool,
    user: String,
    /// Of which this role sees no more than that they are there.
    hidden_replicas: i64,
}

/// What is wrong with the server for every target.
pub(in crate::sweep) async fn examine(
    auxiliary: &AuxiliaryConnection,
) -> Result<Vec<Finding>, Error> {
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
            format!("{foreign}, and a pause that is set there would not be seen"),
            "drop it if nobody knows it, and run `session-reaper migrate`; or ALTER TABLE … OWNER TO a role that is trusted",
        ));
    }
    for row in auxiliary.on_path(&OPEN_SCHEMAS.replace("{trusted}", &auxiliary.trusted())).await? {
        let (schema, roles) = (row.text(0).unwrap_or_default(), row.text(1).unwrap_or_default());
        findings.push(Finding::new(
            Code::OpenSchema,
            format!(
                "{roles} may create objects in {schema}, which is on the search_path: tables, functions and operators there \
                 can stand in for others that the application, its triggers and `where` mean"
            ),
            format!("REVOKE CREATE ON SCHEMA {schema} FROM {roles}"),
        ));
    }
    // On a replica they are the primary's, or of no matter.
    if !server.replica {
        for row in auxiliary.rows(OLDEST_ONES, &[&OLD]).await? {
            let (what, remedy): (String, String) = (row.get(0), row.get(1));
            findings.push(Finding::new(
                Code::VacuumHeldBack,
                format!("{what}, which keeps vacuum from giving back the space of deleted rows"),
                format!("end it if it is forgotten: {remedy}"),
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
            format!("PostgreSQL {major} is at the other end; session-reaper is made for {OLDEST} and later"),
            format!("upgrade PostgreSQL to {OLDEST} or later"),
        ));
    }
    if server.replica {
        findings.push(Finding::new(
            Code::Replica,
            "a replica is at the other end, which cannot delete",
            "connect to the primary: name it in DATABASE_URL, or several hosts and target_session_attrs=read-write",
        ));
    } else if server.read_only {
        findings.push(Finding::new(
            Code::ReadOnly,
            "default_transaction_read_only is on for this role or database: nothing can be deleted",
            "ALTER ROLE CURRENT_USER SET default_transaction_read_only = off (or for the database, where it is set there)",
        ));
    }
    if !server.autovacuum {
        findings.push(Finding::new(
            Code::AutovacuumOff,
            "autovacuum is off on this server: the space of deleted rows is not given back",
            "ALTER SYSTEM SET autovacuum = on; ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf()",
        ));
    }
    if server.hidden_replicas > 0 {
        findings.push(Finding::new(
            Code::ReplicasHidden,
            format!("{} replicas are fed from here, and {} may not see how far they are behind: a run does not wait for them", server.hidden_replicas, server.user),
            format!("GRANT pg_read_all_stats TO {}", server.user),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_delete_is_told_from_what_only_should_be_known() {
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
        // A replica is always read-only; one reason is enough.
        assert_eq!(codes(150_018, true, true, true), [Code::Replica]);
        assert_eq!(codes(150_018, false, true, false), [Code::ReadOnly, Code::AutovacuumOff]);
    }
}
