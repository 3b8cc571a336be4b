//! The nemeses: they inject faults into the reapers, the tables and the server.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fastrand::Rng;
use testkit::{Proxy, Server, Shutdown};
use tokio_postgres::Client;

use crate::Result;
use crate::plan::{Nemesis, Plan};
use crate::reapers::{Current, Shared, Slot};
use crate::writers::{self, connect};

/// The objects into which faults are injected.
pub(crate) struct Scene<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) server: &'a mut Server,
    pub(crate) proxy: &'a Proxy,
    pub(crate) slots: &'a [Arc<Slot>],
    pub(crate) reapers: &'a Shared,
    pub(crate) writers: &'a writers::Shared,
    pub(crate) done: Done,
}

/// How often each fault was injected.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) kills: u64,
    pub(crate) freezes: u64,
    pub(crate) terminated: u64,
    pub(crate) cuts: u64,
    pub(crate) stalls: u64,
    pub(crate) swaps: u64,
    pub(crate) replaced: u64,
    pub(crate) detached: u64,
    pub(crate) restarts: u64,
    /// The number of killed reapers whose server processes did not end.
    pub(crate) stayed: u64,
}

impl Done {
    /// Adds the counts of another round.
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.freezes += other.freezes;
        self.terminated += other.terminated;
        self.cuts += other.cuts;
        self.stalls += other.stalls;
        self.swaps += other.swaps;
        self.replaced += other.replaced;
        self.detached += other.detached;
        self.restarts += other.restarts;
        self.stayed += other.stayed;
    }
}

/// A server process that still exists this long after its reaper was killed counts as left behind.
/// A statement ends after at most 2 s, and the server checks five times per second whether the
/// client is still connected. The time is therefore long enough even for a busy machine.
const LEFT_BEHIND: Duration = Duration::from_mins(2);

impl Scene<'_> {
    /// Injects all faults, one after another.
    pub(crate) async fn play(&mut self, rng: &mut Rng) -> Result {
        for (place, nemesis) in self.plan.nemeses.iter().enumerate() {
            tokio::time::sleep(Duration::from_millis(rng.u64(0..250))).await;
            let slot = Arc::clone(&self.slots[rng.usize(..self.slots.len())]);
            let for_a_while = Duration::from_millis(rng.u64(10..400));
            let (part, number) = (rng.f64(), rng.usize(..8));
            match nemesis {
                Nemesis::Kill => self.kill(&slot, part).await?,
                Nemesis::Freeze => {
                    if slot.signal("STOP").is_some() {
                        // The server may end a connection that does not respond.
                        self.disturb();
                        tokio::time::sleep(for_a_while).await;
                        slot.signal("CONT");
                        self.disturb();
                        self.done.freezes += 1;
                    }
                }
                Nemesis::Terminate => self.terminate(&slot, part, number).await?,
                Nemesis::Cut | Nemesis::Stall => {
                    self.disturb();
                    if *nemesis == Nemesis::Cut {
                        self.proxy.cut();
                    } else {
                        self.proxy.stall();
                    }
                    tokio::time::sleep(for_a_while).await;
                    self.proxy.restore();
                    self.disturb();
                    self.done.cuts += u64::from(*nemesis == Nemesis::Cut);
                    self.done.stalls += u64::from(*nemesis == Nemesis::Stall);
                }
                Nemesis::Rename | Nemesis::SwapSchemas => self.swap(*nemesis, place, rng).await?,
                Nemesis::Detach => self.detach(part < 0.3, number % 2 == 1).await?,
                Nemesis::ReplaceColumn => self.replace_column(place).await?,
                Nemesis::SwapOrders => self.swap_orders(place).await?,
                Nemesis::SwapChild => self.swap_child(place).await?,
                Nemesis::Restart | Nemesis::Crash => {
                    self.disturb();
                    let crash = *nemesis == Nemesis::Crash;
                    self.server
                        .restart(if crash { Shutdown::Immediate } else { Shutdown::Fast })
                        .await;
                    self.disturb();
                    self.done.restarts += 1;
                }
            }
        }
        Ok(())
    }

    fn disturb(&self) {
        self.reapers.disturbances.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits before a fault is injected. If `part`, a number from 0 to 1, is at least 0.5, waits
    /// until the reaper has deleted rows in its current run. Otherwise, sleeps for `part` times
    /// half a second.
    async fn at_work(&self, slot: &Slot, part: f64) -> Result {
        if part < 0.5 {
            tokio::time::sleep(Duration::from_millis(500).mul_f64(part)).await;
            return Ok(());
        }
        let client = connect(&self.writers.url).await?;
        for _ in 0..200 {
            if let Some(current) = slot.now()
                && has_deleted(&client, current).await?
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn kill(&mut self, slot: &Slot, part: f64) -> Result {
        self.at_work(slot, part).await?;
        let Some(Current { run, .. }) = slot.signal("KILL") else { return Ok(()) };
        self.done.kills += 1;
        let client = connect(&self.writers.url).await?;
        let gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = $1)";
        let began = std::time::Instant::now();
        while !client.query_one(gone, &[&Shared::application(run)]).await?.try_get::<_, bool>(0)? {
            if began.elapsed() > LEFT_BEHIND {
                self.done.stayed += 1;
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    async fn terminate(&mut self, slot: &Slot, part: f64, number: usize) -> Result {
        self.at_work(slot, part).await?;
        let Some(Current { run, .. }) = slot.now() else { return Ok(()) };
        let client = connect(&self.writers.url).await?;
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY pid";
        let pids = client.query(sql, &[&Shared::application(run)]).await?;
        if !pids.is_empty() {
            let pid: i32 = pids[number % pids.len()].try_get(0)?;
            self.disturb();
            let ended = client.query_one("SELECT pg_terminate_backend($1)", &[&pid]).await;
            self.disturb();
            self.done.terminated += u64::from(ended?.try_get::<_, bool>(0)?);
        }
        Ok(())
    }

    /// Replaces the target with another table that has its own rows, while a reaper is deleting
    /// from the original table.
    async fn swap(&mut self, how: Nemesis, place: usize, rng: &mut Rng) -> Result {
        let client = connect(&self.writers.url).await?;
        let many = i64::from(self.plan.rows / 2);
        let first = self.writers.next.fetch_add(many, Ordering::SeqCst);
        let uids: Range<i64> = first..first + many;
        let tables = &self.plan.tables;
        let name = if how == Nemesis::Rename {
            format!("app.t_new{place}")
        } else {
            format!("next{place}.t")
        };
        if how == Nemesis::SwapSchemas {
            let schemas = format!("CREATE SCHEMA next{place}; CREATE SCHEMA old{place}");
            client.batch_execute(&schemas).await?;
        }
        tables.target(&client, &name).await?;
        tables.fill(&client, &name, uids, rng).await?;
        self.at_work(&self.slots[0], 1.0).await?;
        let sql = match how {
            Nemesis::Rename => {
                format!(
                    "ALTER TABLE app.t RENAME TO t_old{place}; ALTER TABLE app.t_new{place} RENAME TO t"
                )
            }
            _ => format!(
                "ALTER TABLE app.t SET SCHEMA old{place}; ALTER TABLE next{place}.t SET SCHEMA app"
            ),
        };
        // The lock may time out because a reaper is frozen. The tables are then not swapped.
        if client.batch_execute(&sql).await.is_ok() {
            self.done.swaps += 1;
        }
        Ok(())
    }

    /// Replaces the due column of the target while a reaper is deleting.
    async fn replace_column(&mut self, place: usize) -> Result {
        let client = connect(&self.writers.url).await?;
        self.at_work(&self.slots[0], 1.0).await?;
        let replace = self.plan.tables.replace_due_column(place);
        // The batch is one transaction, and its lock may time out.
        if client.batch_execute(&replace).await.is_ok() {
            self.done.replaced += 1;
        }
        Ok(())
    }

    /// Replaces the table of orders with another table, which contains the existing orders and also
    /// open orders for rows that are about to be deleted.
    async fn swap_orders(&mut self, place: usize) -> Result {
        const MORE: i64 = 40;
        let client = connect(&self.writers.url).await?;
        let first = self.writers.next.fetch_add(MORE, Ordering::SeqCst);
        let new = format!("app.orders_new{place}");
        self.plan.tables.orders(&client, &new).await?;
        let open = format!(
            "WITH accounts AS (SELECT uid FROM app.t WHERE due_at < chaos.at(-4 * 86400)
                               ORDER BY due_at LIMIT {MORE} FOR KEY SHARE SKIP LOCKED),
                 opened AS (INSERT INTO {new} SELECT {first} + row_number() OVER () - 1, uid, true FROM accounts)
                 INSERT INTO chaos.ops (kind, touched) SELECT 'swap-orders', array_agg(uid) FROM accounts HAVING count(*) > 0"
        );
        self.swap_beside(&client, "orders", place, &open).await
    }

    /// Replaces the table of children with another table that contains the same children.
    async fn swap_child(&mut self, place: usize) -> Result {
        let client = connect(&self.writers.url).await?;
        self.plan.tables.child(&client, &format!("app.child_new{place}")).await?;
        self.swap_beside(&client, "child", place, "").await
    }

    /// Replaces a table that references the target, while a reaper is deleting: moves the rows of
    /// this table to a new table, and gives the new table the old name.
    async fn swap_beside(
        &mut self,
        client: &Client,
        table: &str,
        place: usize,
        more: &str,
    ) -> Result {
        self.at_work(&self.slots[0], 1.0).await?;
        let swap = format!(
            "LOCK TABLE app.{table} IN ACCESS EXCLUSIVE MODE;
             WITH moved AS (DELETE FROM app.{table} RETURNING *) INSERT INTO app.{table}_new{place} SELECT * FROM moved;
             {more};
             ALTER TABLE app.{table} RENAME TO {table}_old{place};
             ALTER TABLE app.{table}_new{place} RENAME TO {table}"
        );
        if client.batch_execute(&swap).await.is_ok() {
            self.done.swaps += 1;
        }
        Ok(())
    }

    /// Detaches the last partition while a reaper run is deleting rows, and attaches it again when
    /// that run has ended. If `elsewhere`, the partition belongs to another table in the meantime.
    async fn detach(&mut self, concurrently: bool, elsewhere: bool) -> Result {
        let client = connect(&self.writers.url).await?;
        self.at_work(&self.slots[0], 1.0).await?;
        let partitions = self.plan.tables.partitions;
        // Reapers process the last partition last.
        let last = partitions - 1;
        let how = if concurrently { "CONCURRENTLY" } else { "" };
        if client
            .batch_execute(&format!("ALTER TABLE app.t DETACH PARTITION app.t_p{last} {how}"))
            .await
            .is_err()
        {
            if concurrently {
                let _ = client
                    .batch_execute(&format!(
                        "ALTER TABLE app.t DETACH PARTITION app.t_p{last} FINALIZE"
                    ))
                    .await;
            }
        } else {
            self.done.detached += 1;
        }
        let bound = format!("FOR VALUES WITH (MODULUS {partitions}, REMAINDER {last})");
        if elsewhere {
            let attach = format!(
                "CREATE TABLE IF NOT EXISTS app.elsewhere (LIKE app.t) PARTITION BY HASH (uid);
                 ALTER TABLE app.elsewhere ATTACH PARTITION app.t_p{last} {bound}"
            );
            let _ = client.batch_execute(&attach).await;
        }
        let during = self.slots[0].now();
        for _ in 0..500 {
            if during.is_none()
                || self.slots[0].now().map(|now| now.run) != during.map(|during| during.run)
            {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if elsewhere {
            let _ = client
                .batch_execute(&format!("ALTER TABLE app.elsewhere DETACH PARTITION app.t_p{last}"))
                .await;
        }
        let _ = client
            .batch_execute(&format!("ALTER TABLE app.t ATTACH PARTITION app.t_p{last} {bound}"))
            .await;
        Ok(())
    }
}

async fn has_deleted(client: &Client, current: Current) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM chaos.deletes WHERE run = $1)";
    Ok(client.query_one(sql, &[&current.run]).await?.try_get(0)?)
}
