//! One reaper works on a target at a time.
//!
//! The lock on a target is a session advisory lock of [`CLASS`] and the table's oid (`pg_locks`:
//! classid, objid), so that it belongs to the connection and goes with it. All locks of a run are
//! taken at its start and held to its end. Taking them is one step as other reapers see it, and so
//! is giving them back, under a lock of the transaction on ([`CLASS`], 0), which is no table's oid:
//! of two reapers one gets all that both want, and the other finds all of it taken.
//!
//! Targets may overlap: one is a partitioned table, another one of its partitions, and two may have
//! the same `children`. So a run also takes the locks of a partition and of the children while it
//! works on them, and only then: the locks of thousands of partitions at once would fill the
//! server's lock table. They are tried and never waited for.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::db_error::DbError;

/// The letters `SRrp`. Fixed for ever: reapers of different versions must get in each other's way.
pub const CLASS: i32 = 0x5352_7270;

/// How long to wait while another reaper takes its locks, which takes it milliseconds.
const GATE: &str = "SET LOCAL lock_timeout = '2s'";

/// How long a server process takes that was told to end, at the most: it does so between two rows.
const LOOKS: u32 = 60;
const LOOK: Duration = Duration::from_millis(50);

const TRY: &str = "SELECT CASE WHEN pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) $3::int
     THEN pg_catalog.pg_try_advisory_lock($1, $2) END";

/// Tries the lock of each table; `true` where it was free. Only on the server process `pid`, the
/// one whose chunks will go: a lock that a pooler let another one take would protect nothing, and
/// stay behind there.
pub(super) async fn acquire(
    client: &mut Client,
    pid: i32,
    oids: &[u32],
) -> Result<Vec<bool>, DbError> {
    match try_all(client, pid, oids).await {
        Ok(acquired) => acquired.ok_or(DbError::Pooler),
        Err(error) => match DbError::from(error) {
            // Whoever keeps the gate shut this long is at work, or is stuck and will be ended by
            // the server.
            DbError::Timeout(_) => Ok(vec![false; oids.len()]),
            trouble => Err(trouble),
        },
    }
}

/// `None`: the transaction runs on another server process.
async fn try_all(client: &mut Client, pid: i32, oids: &[u32]) -> Result<Option<Vec<bool>>, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(GATE).await?;
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

/// Tries the locks of some tables in the order of their oids. Either all of them are held
/// afterwards, or none, and the table whose lock another reaper holds is returned.
pub(super) async fn try_tables(
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

/// Gives the locks of [`try_tables`] back.
pub(super) async fn release_tables(client: &Client, oids: &[u32]) -> Result<(), DbError> {
    const UNLOCK_EACH: &str =
        "SELECT pg_catalog.pg_advisory_unlock($1, one.oid) FROM pg_catalog.unnest($2) AS one (oid)";
    if !oids.is_empty() {
        let keys = keys(oids);
        client.query_typed(UNLOCK_EACH, &[(&CLASS, Type::INT4), (&keys, Type::INT4_ARRAY)]).await?;
    }
    Ok(())
}

fn keys(oids: &[u32]) -> Vec<i32> {
    oids.iter().map(|oid| oid.cast_signed()).collect()
}

/// Waits until the server processes `pids` hold no lock on a table any more: our own, whose end of
/// the connection is gone, and which the server may not have noticed yet. They are ended if this
/// role may do so.
pub(super) async fn let_go(client: &Client, pids: &[i32]) -> Result<(), Error> {
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
    for _ in 0..LOOKS {
        if client.query_opt(HOLDER, &[&CLASS, &pids]).await?.is_none() {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
    tracing::warn!(
        event = "lost_backend_holds_locks",
        ?pids,
        "backend of the lost connection still holds its locks"
    );
    Ok(())
}

/// Gives all locks back now, rather than when the server notices that the connection has ended:
/// whoever starts the next run the moment this one has ended finds them free. In one step as others
/// see it, like taking them.
///
/// And should the connection turn out to be somebody else's too, nothing of ours stays behind on
/// it, settings neither.
pub(super) async fn release(client: &Client, held: bool) {
    if held {
        let together = format!(
            "BEGIN; {GATE}; SELECT pg_catalog.pg_advisory_xact_lock({CLASS}, 0); \
                 SELECT pg_catalog.pg_advisory_unlock_all(); COMMIT"
        );
        if let Err(error) = client.batch_execute(&together).await {
            tracing::debug!(event = "unlock_failed", %error, "locks not released together");
            // Else the next statement would find a transaction that has failed.
            let _ = client.batch_execute("ROLLBACK").await;
        }
    }
    if let Err(error) = client.batch_execute("DISCARD ALL").await {
        tracing::debug!(event = "locks_not_released", %error, "locks not released; they end with the connection");
    }
}
