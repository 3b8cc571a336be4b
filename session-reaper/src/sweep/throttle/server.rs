//! A server with much to do, and a vacuum at work.

use tokio_postgres::{Client, Error};

use super::{Cause, Obstacle};

/// Client back ends at work. Whose state is hidden from this role has none; our own connections are idle, or ask this.
const ACTIVE: &str = "SELECT count(*) FILTER (WHERE state = 'active' AND backend_type = 'client backend'),
       count(*) FILTER (WHERE state IS NULL AND query = '<insufficient privilege>'), current_user::text
    FROM pg_stat_activity WHERE pid <> pg_backend_pid()";

/// A vacuum of one of these tables. Which table another role's vacuum is at work on is hidden from those without
/// `pg_read_all_stats`, its lock on the table is not.
const VACUUM: &str = "SELECT $1::oid[] && array_agg(v.relid), max(coalesce(v.relid, l.relation)::regclass::text)
    FROM pg_stat_progress_vacuum AS v
    LEFT JOIN LATERAL (SELECT relation FROM pg_locks WHERE v.relid IS NULL AND pid = v.pid AND locktype = 'relation'
        AND mode = 'ShareUpdateExclusiveLock' AND relation = ANY ($1)) AS l ON true
    WHERE v.datname = current_database() AND coalesce(v.relid, l.relation) = ANY ($1)
    HAVING count(*) > 0";

pub(super) async fn active(client: &Client, most: u32) -> Result<Option<Obstacle>, Error> {
    let row = client.query_one(ACTIVE, &[]).await?;
    let (active, hidden, user): (i64, i64, String) = (row.get(0), row.get(1), row.get(2));
    let why = if active > i64::from(most) {
        format!("{active} back ends are at work, MAX_ACTIVE_BACKENDS is {most}")
    } else if hidden > 0 {
        format!(
            "what {hidden} back ends do is hidden from {user}: GRANT pg_read_all_stats TO {user}, or leave MAX_ACTIVE_BACKENDS out"
        )
    } else {
        return Ok(None);
    };
    Ok(Some(Obstacle::new(Cause::Busy, why)))
}

pub(super) async fn vacuum(client: &Client, tables: &[u32]) -> Result<Option<Obstacle>, Error> {
    let row = client.query_opt(VACUUM, &[&tables]).await?;
    Ok(row.map(|row| {
        let table: Option<String> = row.get(1);
        Obstacle::new(Cause::Vacuum, format!("a vacuum is at work on {}", table.unwrap_or_default()))
    }))
}
