//! The history of a round: every committed transaction in the order of the commits, with the
//! versions of the rows that it wrote, what writers touched, and what reapers deleted by which
//! snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;
use tokio_postgres::Client;

use crate::Result;
use crate::decode::{Change, Line, Order, Row, time};
use crate::tables::SLOT;

/// A place in the order of the commits.
pub(crate) type Place = usize;

/// All of a round.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Of each transaction.
    pub(crate) commits: HashMap<u64, Place>,
    /// By `uid`, in the order of the commits: `None` once the row is deleted.
    pub(crate) rows: HashMap<i64, Vec<Version<Row>>>,
    pub(crate) orders: HashMap<i64, Vec<Version<Order>>>,
    /// Orders that ever were an account's.
    pub(crate) orders_of: HashMap<i64, BTreeSet<i64>>,
    /// Rows that ever were in a group.
    pub(crate) members: HashMap<i64, BTreeSet<i64>>,
    /// In the order in which they were logged.
    pub(crate) operations: Vec<Operation>,
    pub(crate) deletes: Vec<Delete>,
    /// Every table that the name of the target has meant, and the partition that is a target
    /// itself.
    pub(crate) targets: HashSet<u32>,
    pub(crate) partition: Option<u32>,
    /// Rows that a transaction deleted which neither a writer nor a reaper has logged.
    pub(crate) unlogged: Vec<i64>,
}

/// What a transaction made of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version<T> {
    pub(crate) xid: u64,
    pub(crate) now: Option<T>,
}

/// What a writer has updated or locked.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) xid: u64,
    pub(crate) kind: String,
    pub(crate) touched: Vec<i64>,
    /// It had by then.
    pub(crate) at: f64,
}

/// A row that a reaper deleted.
#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub(crate) xid: u64,
    pub(crate) run: i32,
    pub(crate) pid: i32,
    /// Seconds since 1970.
    pub(crate) at: f64,
    pub(crate) relation: u32,
    /// It, and the tables that it was a partition of.
    pub(crate) roots: Vec<u32>,
    /// The advisory locks that the server process held.
    pub(crate) locks: Vec<u32>,
    pub(crate) snapshot: Snapshot,
    pub(crate) what: Deleted,
}

/// What it was.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deleted {
    Row { uid: i64, row: Row },
    Order,
    Child { id: i64, parent: i64 },
}

/// `pg_current_snapshot()` of the statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    least: u64,
    next: u64,
    running: Vec<u64>,
}

impl Snapshot {
    /// Reads `xmin:xmax:xip,…`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (least, next) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let running =
            parts.next()?.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
        Some(Self { least, next, running: running.collect::<Option<_>>()? })
    }

    /// The same without what its own transaction did: a snapshot does not list that among the
    /// running ones.
    fn before(mut self, own: u64) -> Self {
        self.running.push(own);
        self
    }

    /// What a transaction that has committed did can be seen.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.least || (xid < self.next && !self.running.contains(&xid))
    }
}

impl History {
    /// Reads all of it from the database.
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        let mut history = Self::default();
        let mut written = Vec::new();
        let sql = "SELECT xid::text, data FROM pg_logical_slot_get_changes($1, NULL, NULL,
            'include-xids', '1', 'skip-empty-xacts', '1')";
        for line in client.query(sql, &[&SLOT]).await? {
            let (xid, data): (String, String) = (line.try_get(0)?, line.try_get(1)?);
            let xid: u64 = xid.parse()?;
            match Line::parse(&data).ok_or_else(|| format!("not understood: {data}"))? {
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
            let snapshot =
                Snapshot::parse(&snapshot).ok_or_else(|| format!("no snapshot: {snapshot}"))?;
            history.deletes.push(Delete {
                xid,
                run: row.try_get(1)?,
                pid: row.try_get(2)?,
                at: row.try_get(3)?,
                relation: row.try_get(4)?,
                roots: row.try_get(5)?,
                locks: row.try_get(6)?,
                snapshot: snapshot.before(xid),
                what: deleted(&kind, &old).ok_or_else(|| format!("no {kind}: {old}"))?,
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

    /// The row as a snapshot sees it, and `beside` of the transactions that it does not.
    pub(crate) fn row(&self, uid: i64, snapshot: &Snapshot, beside: Option<u64>) -> Option<Row> {
        latest(self.rows.get(&uid)?, snapshot, beside)
    }

    /// An account has an open order, as a snapshot sees it.
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
    /// The number of the row, if it was one of a target.
    pub(crate) fn uid(&self) -> Option<i64> {
        match self.what {
            Deleted::Row { uid, .. } => Some(uid),
            Deleted::Order | Deleted::Child { .. } => None,
        }
    }
}

/// The versions stand in the order of the commits, which for one row is that of the writes.
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
