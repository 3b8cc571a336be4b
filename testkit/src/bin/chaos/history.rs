//! The history of a round. It contains every committed transaction, in commit order, with the row
//! versions that it wrote. It also contains the rows that writers updated or locked, and the rows
//! that reapers deleted, each with the snapshot of the statement that deleted it.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use tokio_postgres::Client;

use crate::Result;
use crate::decode::{Change, Line, Order, Row, time};
use crate::tables::SLOT;

/// A position in the commit order.
pub(crate) type Place = usize;

/// The complete history of a round.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The position of each transaction, by transaction ID.
    pub(crate) commits: HashMap<u64, Place>,
    /// Row versions by `uid`, in commit order. The last version of a deleted row is `None`.
    pub(crate) rows: HashMap<i64, Vec<Version<Row>>>,
    pub(crate) orders: HashMap<i64, Vec<Version<Order>>>,
    /// All orders that each account has ever had.
    pub(crate) orders_of: HashMap<i64, BTreeSet<i64>>,
    /// All rows that were ever in each group.
    pub(crate) members: HashMap<i64, BTreeSet<i64>>,
    /// Operations of writers, in the order in which they were logged.
    pub(crate) operations: Vec<Operation>,
    pub(crate) deletes: Vec<Delete>,
    /// The OIDs of all tables that have had the name of the target.
    pub(crate) targets: HashSet<u32>,
    /// The OID of the partition that is itself the target of a reaper.
    pub(crate) partition: Option<u32>,
    /// Rows deleted by a transaction that neither a writer nor a reaper logged.
    pub(crate) unlogged: Vec<i64>,
}

/// The version of a row that a transaction wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version<T> {
    pub(crate) xid: u64,
    pub(crate) now: Option<T>,
}

/// The rows that a writer has updated or locked in one transaction.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) xid: u64,
    pub(crate) kind: String,
    pub(crate) touched: Vec<i64>,
    /// The time at which the operation was logged, in seconds since 1970. The writer had updated or
    /// locked the rows before that time.
    pub(crate) at: f64,
}

/// A row that a reaper deleted.
#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub(crate) xid: u64,
    pub(crate) run: i32,
    pub(crate) pid: i32,
    /// When the row was deleted, in seconds since 1970.
    pub(crate) at: f64,
    pub(crate) relation: u32,
    /// The table of the deleted row, and the ancestors of that table in the partition hierarchy.
    pub(crate) roots: Vec<u32>,
    /// The keys of the advisory locks that the server process held.
    pub(crate) locks: Vec<u32>,
    pub(crate) snapshot: Snapshot,
    pub(crate) what: Deleted,
}

/// The deleted row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deleted {
    Row { uid: i64, row: Row },
    Order,
    Child { id: i64, parent: i64 },
}

/// The result of `pg_current_snapshot()` in the statement that deleted the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    least: u64,
    next: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Parses `xmin:xmax:xip,…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (least, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running =
            parts.next()?.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
        Some(Self { least, next, running: running.collect::<Option<_>>()? })
    }

    /// Returns a snapshot that does not show the changes of the deleting transaction: adds `own`,
    /// the ID of that transaction, to the list of running transactions.
    fn before(mut self, own: u64) -> Self {
        self.running.push(own);
        self
    }

    /// Returns whether the changes of a committed transaction are visible in the snapshot.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.least || (xid < self.next && !self.running.contains(&xid))
    }
}

impl History {
    /// Reads the history from the database.
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        let mut history = Self::default();
        let mut written = Vec::new();
        let sql = "SELECT xid::text, data FROM pg_logical_slot_get_changes($1, NULL, NULL,
            'include-xids', '1', 'skip-empty-xacts', '1')";
        for line in client.query(sql, &[&SLOT]).await? {
            let (xid, data): (String, String) = (line.try_get(0)?, line.try_get(1)?);
            let xid: u64 = xid.parse()?;
            match Line::parse(&data).ok_or_else(|| format!("unknown decoder output: {data}"))? {
                Line::Begin | Line::Other => {}
                Line::Commit => {
                    let place = history.commits.len();
                    history.commits.insert(xid, place);
                }
                Line::Change(change) => {
                    if let Change::Row { uid, now: None } = change {
                        written.push((xid, uid));
                    }
                    history.add(xid, &change);
                }
            }
        }
        for row in
            client.query("SELECT xid, kind, touched, at FROM chaos.ops ORDER BY seq", &[]).await?
        {
            history.operations.push(Operation {
                xid: row.try_get::<_, String>(0)?.parse()?,
                kind: row.try_get(1)?,
                touched: row.try_get(2)?,
                at: row.try_get(3)?,
            });
        }
        let sql = "SELECT xid, run, pid, at, relation, roots, locks, snapshot, kind, old FROM chaos.deletes ORDER BY seq";
        for row in client.query(sql, &[]).await? {
            let (snapshot, kind, old): (String, String, Value) =
                (row.try_get(7)?, row.try_get(8)?, row.try_get(9)?);
            let xid = row.try_get::<_, String>(0)?.parse()?;
            let snapshot = Snapshot::parse(&snapshot)
                .ok_or_else(|| format!("invalid snapshot: {snapshot}"))?;
            history.deletes.push(Delete {
                xid,
                run: row.try_get(1)?,
                pid: row.try_get(2)?,
                at: row.try_get(3)?,
                relation: row.try_get(4)?,
                roots: row.try_get(5)?,
                locks: row.try_get(6)?,
                snapshot: snapshot.before(xid),
                what: deleted(&kind, &old).ok_or_else(|| format!("invalid {kind} row: {old}"))?,
            });
        }
        let sql = "SELECT oid, relname = 't_p0' FROM pg_class
            WHERE relkind IN ('r', 'p') AND (relname ~ '^t(_(old|new)[0-9]+)?$' OR relname = 't_p0')";
        for row in client.query(sql, &[]).await? {
            let oid = row.try_get(0)?;
            if row.try_get(1)? {
                history.partition = Some(oid);
            } else {
                _ = history.targets.insert(oid);
            }
        }
        let logged: HashSet<u64> =
            history.operations.iter().map(|operation| operation.xid).collect();
        let by_reapers: HashSet<(u64, i64)> =
            history.deletes.iter().filter_map(|delete| Some((delete.xid, delete.uid()?))).collect();
        written.retain(|(xid, uid)| !logged.contains(xid) && !by_reapers.contains(&(*xid, *uid)));
        history.unlogged = written.into_iter().map(|(_, uid)| uid).collect();
        Ok(history)
    }

    fn add(&mut self, xid: u64, change: &Change) {
        match *change {
            Change::Row { uid, now } => {
                if let Some(group) = now.and_then(|row| row.group) {
                    self.members.entry(group).or_default().insert(uid);
                }
                self.rows.entry(uid).or_default().push(Version { xid, now });
            }
            Change::Order { id, now } => {
                if let Some(order) = now {
                    self.orders_of.entry(order.account).or_default().insert(id);
                }
                self.orders.entry(id).or_default().push(Version { xid, now });
            }
        }
    }

    /// Returns the version of the row that is visible in the snapshot, or would be visible if the
    /// snapshot also included the changes of the transaction `beside`.
    pub(crate) fn row(&self, uid: i64, snapshot: &Snapshot, beside: Option<u64>) -> Option<Row> {
        latest(self.rows.get(&uid)?, snapshot, beside)
    }

    /// Returns whether an account has an open order that is visible in the snapshot, or would be
    /// visible if the snapshot also included the changes of the transaction `beside`.
    pub(crate) fn has_open_order(
        &self,
        account: i64,
        snapshot: &Snapshot,
        beside: Option<u64>,
    ) -> bool {
        let open = |id| latest(self.orders.get(id)?, snapshot, beside);
        let orders = self.orders_of.get(&account).into_iter().flatten();
        orders.filter_map(open).any(|order| order.account == account && order.open)
    }
}

impl Delete {
    /// Returns the `uid` if the row belongs to a target, and `None` otherwise.
    pub(crate) fn uid(&self) -> Option<i64> {
        match self.what {
            Deleted::Row { uid, .. } => Some(uid),
            Deleted::Order | Deleted::Child { .. } => None,
        }
    }
}

/// Returns the newest of these versions of a row that the snapshot shows. The changes of the
/// transaction `beside` count as visible, too. The versions are in commit order, which is also the
/// order in which they were written.
fn latest<T: Copy>(versions: &[Version<T>], snapshot: &Snapshot, beside: Option<u64>) -> Option<T> {
    let seen = versions
        .iter()
        .rev()
        .find(|version| snapshot.sees(version.xid) || Some(version.xid) == beside);
    seen.and_then(|version| version.now)
}

fn deleted(kind: &str, old: &Value) -> Option<Deleted> {
    let number = |name: &str| old[name].as_i64();
    let at = |name: &str| match &old[name] {
        Value::Number(millis) => millis.as_i64().map(|millis| millis * 1_000),
        Value::String(text) => time(text),
        _ => None,
    };
    Some(match kind {
        "row" => Deleted::Row {
            uid: number("uid")?,
            row: Row {
                group: number("grp"),
                due_at: at("due_at"),
                revoked_at: at("revoked_at"),
                pinned: old["pinned"].as_bool()?,
            },
        },
        "order" => Deleted::Order,
        _ => Deleted::Child { id: number("id")?, parent: number("parent")? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_committed() {
        let snapshot = Snapshot::parse("10:20:10,14").into_iter().next();
        let sees = |xid| snapshot.as_ref().is_some_and(|snapshot| snapshot.sees(xid));
        assert!(sees(9) && sees(11) && sees(19));
        assert!(!sees(10) && !sees(14) && !sees(20));
        assert!(snapshot.is_some_and(|snapshot| !snapshot.before(11).sees(11)));
    }
}
