//! Advisory locks that prevent two reapers from processing one target at the same time.
//!
//! The lock on a target is a session advisory lock on [`CLASS`] and the oid of the table
//! (`pg_locks`: classid, objid), so the lock belongs to the connection and is released when the
//! connection ends. All locks of a run are acquired at its start and held until its end. While a
//! reaper acquires or releases its locks, it holds a transaction-level lock on ([`CLASS`], 0), so
//! that both steps are atomic for other reapers. (No table has the oid 0.) So if two reapers start
//! with the same targets, one reaper gets the locks of all targets, and the other reaper gets none.
//!
//! Targets may overlap: one target may be a partitioned table and another target a partition of
//! that table, and two targets may have the same `children`. So a run also acquires the locks of a
//! partition and of the `children` tables, but only while it processes these tables: the locks of
//! thousands of partitions at once would fill the lock table of the server. The run tries to
//! acquire these locks but never waits for them.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use crate::connection::db_error::DbError;
use pg::error_text::escaped;

/// The first key of all locks: the letters `SRrp`. This value must never change, because reapers of
/// different versions must exclude each other.
pub const CLASS: i32 = 0x5352_7270;

/// How long to wait while another reaper acquires its locks, which takes milliseconds.
const ACQUIRE_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// The maximum number of checks whether a terminated server process has ended. The next constant is
/// the interval between two checks. Such a process ends after it has processed its current row.
const POLLS: u32 = 60;
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const TRY: &str = "SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $3::int
     THEN pg_catalog.pg_try_advisory_lock($1, $2) END";

/// Tries to acquire the lock of each table. An element of the result is `true` if the lock was
/// acquired. The locks are acquired only in the server process `pid`, which deletes the rows: a
/// lock in another process behind a pooler would protect nothing, and would remain there.
pub(crate) async fn acquire(
    client: &mut Client,
    pid: i32,
    oids: &[u32],
) -> Result<Vec<bool>, DbError> {
    match try_all(client, pid, oids).await {
        Ok(acquired) => acquired.ok_or(DbError::Pooler),
        Err(error) => match DbError::from(error) {
            // The locks count as held by another reaper. The reaper that has held the lock on
            // ([`CLASS`], 0) for this long is either still working, or it hangs and the server will
            // end its connection.
            DbError::Timeout(_) => Ok(vec![false; oids.len()]),
            error => Err(error),
        },
    }
}

/// Tries to acquire the locks in one transaction. Returns `None` if the transaction runs in another
/// server process.
async fn try_all(client: &mut Client, pid: i32, oids: &[u32]) -> Result<Option<Vec<bool>>, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(ACQUIRE_TIMEOUT).await?;
    transaction.execute("SELECT pg_catalog.pg_advisory_xact_lock($1, 0)", &[&CLASS]).await?;
    let mut acquired = Vec::with_capacity(oids.len());
    for oid in oids {
        let row = transaction.query_one(TRY, &[&CLASS, &oid.cast_signed(), &pid]).await?;
        let Some(free) = row.get(0) else { return Ok(None) };
        acquired.push(free);
    }
    transaction.commit().await?;
    Ok(Some(acquired))
}

/// Tries to acquire the locks of some tables in the order of their oids. Returns `None` if all
/// locks were acquired. If another reaper holds one of the locks, releases the locks that were
/// acquired and returns the table of the unavailable lock.
pub(crate) async fn try_tables(
    client: &Client,
    pid: i32,
    oids: &[u32],
) -> Result<Option<u32>, DbError> {
    const TRY_EACH: &str = "SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $3
        THEN ARRAY (SELECT pg_catalog.pg_try_advisory_lock($1, one.oid) FROM pg_catalog.unnest($2) AS one (oid)) END";
    if oids.is_empty() {
        return Ok(None);
    }
    let keys = keys(oids);
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&CLASS, Type::INT4), (&keys, Type::INT4_ARRAY), (&pid, Type::INT4)];
    let rows = client.query_typed(TRY_EACH, &params).await?;
    let acquired: Option<Vec<bool>> = rows.first().map(|row| row.try_get(0)).transpose()?.flatten();
    let Some(acquired) = acquired else { return Err(DbError::Pooler) };
    let Some((busy, _)) = oids.iter().zip(&acquired).find(|(_, acquired)| !**acquired) else {
        return Ok(None);
    };
    let ours: Vec<u32> = oids
        .iter()
        .zip(&acquired)
        .filter(|(_, acquired)| **acquired)
        .map(|(oid, _)| *oid)
        .collect();
    release_tables(client, &ours).await?;
    Ok(Some(*busy))
}

/// Releases the locks of [`try_tables`].
pub(crate) async fn release_tables(client: &Client, oids: &[u32]) -> Result<(), DbError> {
    const UNLOCK_EACH: &str =
        "SELECT pg_catalog.pg_advisory_unlock($1, one.oid) FROM pg_catalog.unnest($2) AS one (oid)";
    if !oids.is_empty() {
        let keys = keys(oids);
        client.query_typed(UNLOCK_EACH, &[(&CLASS, Type::INT4), (&keys, Type::INT4_ARRAY)]).await?;
    }
    Ok(())
}

/// Describes the process that holds the lock on a table: its pid, its application name, and the
/// time when it connected. Returns `None` if the process has just released the lock, or if the
/// process cannot be determined.
pub(crate) async fn holder(client: &Client, oid: u32) -> Option<String> {
    const HOLDER: &str = "SELECT l.pid, a.application_name,
            pg_catalog.to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
        FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) l.pid
        WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.granted AND l.objsubid OPERATOR(pg_catalog.=) 2
          AND l.classid OPERATOR(pg_catalog.=) $1::int::pg_catalog.oid AND l.objid OPERATOR(pg_catalog.=) $2
          AND l.database OPERATOR(pg_catalog.=) (
              SELECT d.oid FROM pg_catalog.pg_database d
              WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
        LIMIT 1";
    let row = match client.query_opt(HOLDER, &[&CLASS, &oid]).await {
        Ok(row) => row?,
        Err(error) => {
            tracing::debug!(event = "lock_holder_unknown", %error, "holder of the lock not determined");
            return None;
        }
    };
    let pid: i32 = row.try_get(0).ok()?;
    let (name, since): (Option<String>, Option<String>) =
        (row.try_get(1).ok()?, row.try_get(2).ok()?);
    let name = name.filter(|name| !name.is_empty()).map(|name| format!(" ({})", escaped(&name)));
    let since = since.map(|since| format!(", connected since {since}"));
    Some(format!("pid {pid}{}{}", name.unwrap_or_default(), since.unwrap_or_default()))
}

fn keys(oids: &[u32]) -> Vec<i32> {
    oids.iter().map(|oid| oid.cast_signed()).collect()
}

/// Terminates the server processes `pids`, if this role may do so, and waits until they no longer
/// hold a lock on a table. These processes belong to lost connections of this run, and the server
/// may not have detected the loss yet.
pub(crate) async fn wait_for_release(client: &Client, pids: &[i32]) -> Result<(), Error> {
    const HOLDER: &str = "SELECT DISTINCT l.pid FROM pg_catalog.pg_locks l
        WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.classid OPERATOR(pg_catalog.=) $1::int::pg_catalog.oid
          AND l.granted AND l.pid OPERATOR(pg_catalog.=) ANY ($2::int[])
          AND l.database OPERATOR(pg_catalog.=) (
              SELECT d.oid FROM pg_catalog.pg_database d
              WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())";
    let end =
        format!("SELECT pg_catalog.pg_terminate_backend(holder.pid) FROM ({HOLDER}) AS holder");
    if let Err(error) = client.query(&end, &[&CLASS, &pids]).await {
        tracing::debug!(event = "lost_backend_not_terminated", %error, "backend of the lost connection not terminated");
    }
    for _ in 0..POLLS {
        if client.query_opt(HOLDER, &[&CLASS, &pids]).await?.is_none() {
            return Ok(());
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    tracing::warn!(
        event = "lost_backend_holds_locks",
        ?pids,
        "backend of the lost connection still holds its locks"
    );
    Ok(())
}

/// Releases all locks immediately, so that a run that starts right after this one can acquire them.
/// Otherwise, the locks would be held until the server detects the end of the connection. For other
/// reapers, the release is atomic, like the acquisition.
///
/// Also resets the settings of the connection, in case an undetected pooler gives its server
/// process to another client.
pub(crate) async fn release(client: &Client, held: bool) {
    if held {
        let together = format!(
            "BEGIN; {ACQUIRE_TIMEOUT}; SELECT pg_catalog.pg_advisory_xact_lock({CLASS}, 0); \
                 SELECT pg_catalog.pg_advisory_unlock_all(); COMMIT"
        );
        if let Err(error) = client.batch_execute(&together).await {
            tracing::debug!(event = "unlock_failed", %error, "locks not released together");
            // Without a rollback, the next statement would run in a failed transaction.
            let _ = client.batch_execute("ROLLBACK").await;
        }
    }
    if let Err(error) = client.batch_execute("DISCARD ALL").await {
        tracing::debug!(event = "locks_not_released", %error, "locks not released; they end with the connection");
    }
}
