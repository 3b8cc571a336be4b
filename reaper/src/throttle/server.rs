//! Two throttles: a run waits if the server is busy, or if a vacuum is running on its table.

use tokio_postgres::{Client, Error};

use super::{ThrottleCause, ThrottleReason};

/// Counts active client backends. If the state of a backend is hidden from this role, it is NULL.
/// The reaper's own connections are not counted: the query excludes the connection on which it is
/// executed, and the other connection is idle.
const ACTIVE: &str = "
    SELECT pg_catalog.count(*) FILTER (WHERE a.state OPERATOR(pg_catalog.=) 'active'
               AND a.backend_type OPERATOR(pg_catalog.=) 'client backend'),
           pg_catalog.count(*) FILTER (WHERE a.state IS NULL AND a.query OPERATOR(pg_catalog.=) '<insufficient privilege>'),
           CURRENT_USER::pg_catalog.text
    FROM pg_catalog.pg_stat_activity a WHERE a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()";

/// Finds a vacuum of one of these tables. Without `pg_read_all_stats`, the table of a vacuum that
/// another role has started is hidden, but the lock of the vacuum on the table is visible.
const VACUUM: &str = "
    SELECT pg_catalog.max(pg_catalog.format('%I.%I', n.nspname, c.relname))
    FROM pg_catalog.pg_stat_progress_vacuum AS v
    LEFT JOIN LATERAL (
        SELECT k.relation FROM pg_catalog.pg_locks k
        WHERE v.relid IS NULL AND k.pid OPERATOR(pg_catalog.=) v.pid AND k.locktype OPERATOR(pg_catalog.=) 'relation'
            AND k.mode OPERATOR(pg_catalog.=) 'ShareUpdateExclusiveLock'
            AND k.relation OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])) AS l ON true
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) coalesce(v.relid, l.relation)
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE v.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        AND c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
    HAVING pg_catalog.count(*) OPERATOR(pg_catalog.>) 0";

pub(super) async fn active(client: &Client, most: u32) -> Result<Option<ThrottleReason>, Error> {
    let row = client.query_one(ACTIVE, &[]).await?;
    let (active, hidden, user): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
    let why = if active > i64::from(most) {
        format!("{active} back ends are at work, MAX_ACTIVE_BACKENDS is {most}")
    } else if hidden > 0 {
        format!(
            "the activity of {hidden} backends is hidden from {user}: GRANT pg_read_all_stats TO {user}, or unset MAX_ACTIVE_BACKENDS"
        )
    } else {
        return Ok(None);
    };
    Ok(Some(ThrottleReason::new(ThrottleCause::Busy, why)))
}

pub(super) async fn vacuum(
    client: &Client,
    tables: &[u32],
) -> Result<Option<ThrottleReason>, Error> {
    let row = client.query_opt(VACUUM, &[&tables]).await?;
    Ok(row.map(|row| {
        let table: Option<String> = row.get(0);
        ThrottleReason::new(
            ThrottleCause::Vacuum,
            format!("a vacuum is at work on {}", table.unwrap_or_default()),
        )
    }))
}
