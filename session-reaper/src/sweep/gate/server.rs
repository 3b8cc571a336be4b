//! The server at the other end.

use tokio_postgres::Error;

use super::finding::{Code, Finding};
use crate::sweep::connection::Beside;

/// The oldest version that session-reaper is tried on, and that has all of the settings that it relies on.
const OLDEST: i32 = 14;

/// A transaction that is older keeps vacuum from giving back what a run deleted. Shorter ones are a report, a dump, a
/// migration; after an hour somebody has forgotten one.
const OLD: &str = "1 hour";

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),
        current_setting('default_transaction_read_only')::bool,
        current_setting('autovacuum')::bool AND current_setting('track_counts')::bool, current_user::text,
        (SELECT count(*) FROM pg_stat_replication WHERE state IS NULL)";

/// What holds back the horizon of vacuum, as far as this role may see it: the times of other roles' transactions take
/// `pg_read_all_stats`, prepared ones and slots are seen by everybody.
const OLDEST_ONES: &str = "
    SELECT format('a transaction of %s (pid %s, %s) is open since %s', usename, pid,
               coalesce(nullif(application_name, ''), 'without a name'), to_char(xact_start, 'YYYY-MM-DD HH24:MI')),
           format('SELECT pg_terminate_backend(%s)', pid)
    FROM pg_stat_activity
    WHERE backend_type IN ('client backend', 'walsender') AND pid <> pg_backend_pid()
        AND xact_start < now() - $1::text::interval AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
        AND (datname = current_database() OR datname IS NULL)
    UNION ALL
    SELECT format('the prepared transaction %L of %s waits since %s', gid, owner, to_char(prepared, 'YYYY-MM-DD HH24:MI')),
           format('ROLLBACK PREPARED %L', gid)
    FROM pg_prepared_xacts WHERE database = current_database() AND prepared < now() - $1::text::interval
    UNION ALL
    SELECT format('the replication slot %I holds an old snapshot and nobody uses it', slot_name),
           format('SELECT pg_drop_replication_slot(%L)', slot_name)
    FROM pg_replication_slots WHERE NOT active AND xmin IS NOT NULL
    LIMIT 10";

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
pub(in crate::sweep) async fn examine(beside: &Beside) -> Result<Vec<Finding>, Error> {
    let Some(row) = beside.row(SERVER, &[]).await? else { return Ok(Vec::new()) };
    let server = Server {
        version: row.get(0),
        replica: row.get(1),
        read_only: row.get(2),
        autovacuum: row.get(3),
        user: row.get(4),
        hidden_replicas: row.get(5),
    };
    let mut findings = judge(&server);
    // On a replica they are the primary's, or of no matter.
    if !server.replica {
        for row in beside.rows(OLDEST_ONES, &[&OLD]).await? {
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
            let found = judge(&Server { version, replica, read_only, autovacuum, user, hidden_replicas: 0 });
            found.into_iter().map(|finding| finding.code).collect::<Vec<_>>()
        };
        assert_eq!(codes(140_000, false, false, true), []);
        assert_eq!(codes(139_999, false, false, true), [Code::OldServer]);
        // A replica is always read-only; one reason is enough.
        assert_eq!(codes(150_018, true, true, true), [Code::Replica]);
        assert_eq!(codes(150_018, false, true, false), [Code::ReadOnly, Code::AutovacuumOff]);
    }
}
