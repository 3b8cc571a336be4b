//! Writers execute the transactions of an application. Each transaction inserts a row into
//! `chaos.ops` that lists the rows that the transaction has updated or locked.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio_postgres::{Client, NoTls, Transaction};

use crate::Result;
use crate::plan::{Reference, Tables, Writer, choose};
use crate::tables::offset;

/// State that the writers of a round share.
pub(crate) struct Shared {
    pub(crate) url: String,
    pub(crate) tables: Tables,
    /// The number of the next row, order or child.
    pub(crate) next: AtomicI64,
    pub(crate) committed: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// The row locks that a reader can take.
const LOCKS: [&str; 4] = ["FOR UPDATE", "FOR NO KEY UPDATE", "FOR SHARE", "FOR KEY SHARE"];

/// How many times a writer tries to connect to a server that is not available, and how long it
/// waits between attempts.
const CONNECTION_TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// Executes all operations of one writer. Reconnects if the connection is lost.
pub(crate) async fn write(shared: Arc<Shared>, plan: Writer, seed: u64) -> Result {
    let mut rng = Rng::with_seed(seed);
    let mut client = connect(&shared.url).await?;
    for _ in 0..plan.operations {
        if client.is_closed() {
            client = connect(&shared.url).await?;
        }
        // An operation may fail: a lock may time out, the table may be swapped, a deadlock may
        // occur, or the connection may be lost.
        match operation(&shared, &mut client, plan.hold, &mut rng).await {
            Ok(()) => shared.committed.fetch_add(1, Ordering::Relaxed),
            Err(_) => shared.failed.fetch_add(1, Ordering::Relaxed),
        };
    }
    Ok(())
}

/// Connects to a server that may be restarting.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let mut tries = 0;
    loop {
        match tokio_postgres::connect(url, NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                client
                    .batch_execute("SET lock_timeout = '5s'; SET statement_timeout = '30s'")
                    .await?;
                return Ok(client);
            }
            Err(error) if tries == CONNECTION_TRIES => return Err(error.into()),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(BETWEEN_TRIES).await;
    }
}

async fn operation(shared: &Shared, client: &mut Client, hold: Duration, rng: &mut Rng) -> Result {
    let transaction = client.transaction().await?;
    let done = work(shared, &transaction, hold, rng).await;
    // The number of random draws must not depend on the responses of the database.
    let rolled_back = rng.u8(..12) == 0;
    done?;
    if rolled_back {
        transaction.rollback().await?;
    } else {
        transaction.commit().await?;
    }
    Ok(())
}

async fn work(shared: &Shared, on: &Transaction<'_>, hold: Duration, rng: &mut Rng) -> Result {
    // Every operation makes the same number of random draws, so that a failed operation does not
    // change the following ones.
    let (kind, lock, group, live) = (rng.u8(..100), choose(rng, &LOCKS), rng.f64(), rng.bool());
    let (from, due, ahead, siblings) =
        (rng.f64(), offset(rng, false), offset(rng, true), rng.u8(..6));
    let pause = hold.mul_f64(rng.f64());
    let number = || shared.next.fetch_add(1, Ordering::Relaxed);
    let tables = &shared.tables;
    let insert = "INSERT INTO app.t (uid, grp, due_at) VALUES ($1, $2, chaos.at($3))";
    match kind {
        0..=19 => {
            let group = number();
            on.execute(insert, &[&group, &Some(group), &due]).await?;
            for _ in 0..siblings {
                on.execute(insert, &[&number(), &Some(group), &due]).await?;
            }
            log(on, "insert-due", &[]).await?;
        }
        20..=23 => {
            // Inserts a live sibling without locking an existing row. No other transaction can see
            // the sibling before the commit.
            let sibling = pick(on, shared, from, false).await?;
            let grp = sibling.and_then(|(_, grp)| grp);
            on.execute(insert, &[&number(), &grp, if live { &ahead } else { &due }]).await?;
            log(on, "insert-sibling", &[]).await?;
        }
        24..=41 => {
            let Some((uid, grp)) = pick(on, shared, from, true).await? else { return Ok(()) };
            let touched = locked(on, uid, lock).await?;
            log(on, "lock-then-insert", &touched).await?;
            tokio::time::sleep(pause).await;
            on.execute(insert, &[&number(), &grp, &ahead]).await?;
        }
        42..=63 => {
            let Some((uid, _)) = pick(on, shared, from, true).await? else { return Ok(()) };
            let sql = "UPDATE app.t SET due_at = chaos.at($2), revoked_at = NULL WHERE uid = $1 RETURNING uid";
            let touched = uids(&on.query(sql, &[&uid, &ahead]).await?)?;
            log(on, "extend", &touched).await?;
        }
        64..=70 => {
            let Some((uid, _)) = pick(on, shared, from, false).await? else { return Ok(()) };
            let sql = "UPDATE app.t SET due_at = chaos.at($2), pinned = false WHERE uid = $1 RETURNING uid";
            let touched = uids(&on.query(sql, &[&uid, &due]).await?)?;
            log(on, "expire", &touched).await?;
        }
        71..=74 => {
            let Some((uid, _)) = pick(on, shared, from, true).await? else { return Ok(()) };
            let sql = "UPDATE app.t SET note = note + 1, pinned = pinned OR $2 WHERE uid = $1 RETURNING uid";
            let touched = uids(&on.query(sql, &[&uid, &(group < 0.2)]).await?)?;
            log(on, "note", &touched).await?;
        }
        75..=78 => {
            let to = pick(on, shared, group, true).await?;
            let (Some((uid, _)), Some((other, grp))) = (pick(on, shared, from, false).await?, to)
            else {
                return Ok(());
            };
            let mut touched = if live { locked(on, other, lock).await? } else { Vec::new() };
            let sql = "UPDATE app.t SET grp = $2 WHERE uid = $1 RETURNING uid";
            touched.extend(uids(&on.query(sql, &[&uid, &grp]).await?)?);
            log(on, "move", &touched).await?;
        }
        79..=94 if let Some(reference) = tables.orders => {
            let Some((uid, _)) = pick(on, shared, from, true).await? else { return Ok(()) };
            let mut touched = Vec::new();
            if reference == Reference::Locked && live {
                touched = locked(on, uid, "FOR KEY SHARE").await?;
                if touched.is_empty() {
                    return Ok(());
                }
            }
            on.execute("INSERT INTO app.orders VALUES ($1, $2, true)", &[&number(), &uid]).await?;
            if reference != Reference::Locked {
                // The foreign key check has locked the referenced row.
                touched.push(uid);
            }
            log(on, "order", &touched).await?;
        }
        79..=94 => {
            let Some((uid, _)) = pick(on, shared, from, false).await? else { return Ok(()) };
            let touched = locked(on, uid, lock).await?;
            log(on, "lock", &touched).await?;
        }
        95..=96 if tables.orders.is_some() => {
            let sql = "UPDATE app.orders SET open = false WHERE id = (
                SELECT id FROM app.orders WHERE open AND id >= $1 ORDER BY id LIMIT 1)";
            on.execute(sql, &[&position(shared, from)]).await?;
            log(on, "close", &[]).await?;
        }
        97..=98 if tables.child.is_some() => {
            let Some((uid, _)) = pick(on, shared, from, true).await? else { return Ok(()) };
            on.execute("INSERT INTO app.child VALUES ($1 * 10, $2)", &[&number(), &uid]).await?;
            log(on, "child", &[uid]).await?;
        }
        _ => {
            let Some((uid, _)) = pick(on, shared, from, false).await? else { return Ok(()) };
            let touched =
                uids(&on.query("DELETE FROM app.t WHERE uid = $1 RETURNING uid", &[&uid]).await?)?;
            log(on, "delete", &touched).await?;
        }
    }
    tokio::time::sleep(pause).await;
    Ok(())
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "far below 2^52")]
fn position(shared: &Shared, from: f64) -> i64 {
    (from * shared.next.load(Ordering::Relaxed) as f64) as i64
}

/// The maximum distance, in rows, between the last row that a reaper deleted and a row that a
/// writer picks after it.
const REACH: f64 = 150.0;

/// Picks a row at a position in the order of `uid`. If `due` is `true`, picks a due row, preferably
/// one that a reaper is about to reach: one that comes shortly after the last deleted row in the
/// order of the index or of the table.
async fn pick(
    on: &Transaction<'_>,
    shared: &Shared,
    from: f64,
    due: bool,
) -> Result<Option<(i64, Option<i64>)>> {
    let kind = if shared.tables.millis { "bigint" } else { "timestamptz" };
    let (column, kind) = if from < 0.7 { ("due_at", kind) } else { ("uid", "bigint") };
    let old = "t.due_at < chaos.at(-4 * 86400)";
    let ahead = format!(
        "SELECT t.uid, t.grp FROM app.t t WHERE t.{column} > (
             SELECT (old->>'{column}')::{kind} FROM chaos.deletes WHERE kind = 'row' ORDER BY seq DESC LIMIT 1) AND {old}
         ORDER BY t.{column} OFFSET {} LIMIT 1",
        (from * 1_000.0).fract().powi(2) * REACH
    );
    let only = if due { format!("AND {old}") } else { String::new() };
    let any = format!(
        "SELECT t.uid, t.grp FROM app.t t WHERE t.uid >= {} {only} ORDER BY t.uid LIMIT 1",
        position(shared, from)
    );
    let mut row = if due { on.query_opt(&ahead, &[]).await? } else { None };
    if row.is_none() {
        row = on.query_opt(&any, &[]).await?;
    }
    Ok(row
        .map(|row| Ok::<_, tokio_postgres::Error>((row.try_get(0)?, row.try_get(1)?)))
        .transpose()?)
}

async fn locked(on: &Transaction<'_>, uid: i64, lock: &str) -> Result<Vec<i64>> {
    uids(&on.query(&format!("SELECT uid FROM app.t WHERE uid = $1 {lock}"), &[&uid]).await?)
}

fn uids(rows: &[tokio_postgres::Row]) -> Result<Vec<i64>> {
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<std::result::Result<_, _>>()?)
}

/// Records the rows that the transaction has updated or locked.
async fn log(on: &Transaction<'_>, kind: &str, touched: &[i64]) -> Result {
    on.execute("INSERT INTO chaos.ops (kind, touched) VALUES ($1, $2)", &[&kind, &touched]).await?;
    Ok(())
}
