//! The plan of a round, drawn from its seed: the tables, the reapers with their configurations, the
//! writers, and the nemeses, which inject faults.

use std::fmt::{self, Write as _};
use std::time::Duration;

use fastrand::Rng;

/// The plan of a round. The same seed always produces the same plan, but the scheduling differs
/// from run to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) tables: Tables,
    /// Number of rows at the start.
    pub(crate) rows: u32,
    pub(crate) writers: Vec<Writer>,
    pub(crate) reapers: Vec<Reaper>,
    pub(crate) nemeses: Vec<Nemesis>,
    /// Whether the reapers connect through a proxy, which can cut and stall the connections.
    pub(crate) proxied: bool,
    /// Whether there is a group of due rows that is too large to be locked row by row.
    pub(crate) large_group: bool,
}

/// The structure of the target `app.t` and of the tables that reference it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    /// Number of hash partitions, or 0 for an ordinary table.
    pub(crate) partitions: u32,
    /// Whether there is a primary key on `uid`.
    pub(crate) key: bool,
    /// Whether the due columns are `bigint`, in milliseconds.
    pub(crate) millis: bool,
    /// How `app.orders` references `app.t`. `None` if there is no `app.orders`.
    pub(crate) orders: Option<Reference>,
    /// How `app.child` references `app.t`. `None` if there is no `app.child`.
    pub(crate) child: Option<Reference>,
    /// Whether there is a `BEFORE DELETE FOR EACH ROW` trigger. It makes the reaper lock rows
    /// before it deletes them.
    pub(crate) before_trigger: bool,
}

/// How a row references the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reference {
    Cascade,
    /// A foreign key that does not cascade.
    NoAction,
    /// There is no foreign key: writers lock the referenced row themselves.
    Locked,
}

/// The number of operations of a writer, and the maximum time that its transactions hold their
/// locks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer {
    pub(crate) operations: u32,
    pub(crate) hold: Duration,
}

/// A reaper with one target that runs repeatedly.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "a bool for each optional key of the target")]
pub(crate) struct Reaper {
    pub(crate) table: &'static str,
    /// Retention of expired rows, in days.
    pub(crate) keep_expired: u32,
    /// Retention of revoked rows, in days. `None` if the target deletes only expired rows.
    pub(crate) keep_revoked: Option<u32>,
    pub(crate) pinned_stay: bool,
    pub(crate) open_orders_stay: bool,
    pub(crate) group: bool,
    pub(crate) children: bool,
    pub(crate) order: Option<&'static str>,
    pub(crate) chunk: u32,
    pub(crate) duty_cycle: &'static str,
}

/// A fault that is injected into the reapers, the tables or the server while rows are written and
/// deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nemesis {
    /// Sends SIGKILL to a reaper.
    Kill,
    /// Sends SIGSTOP to a reaper, and SIGCONT later.
    Freeze,
    /// Calls `pg_terminate_backend` for one of the connections of a reaper.
    Terminate,
    /// The proxy closes all connections and refuses new ones for a while.
    Cut,
    /// The proxy stops forwarding for a while.
    Stall,
    /// Another table takes the name of the target.
    Rename,
    /// Another table of the same name replaces the target in its schema.
    SwapSchemas,
    /// A partition is detached and attached again later. In the meantime, it may be a partition of
    /// another table.
    Detach,
    /// The due column is renamed, and a new column takes its name. According to the new column,
    /// half of the rows are live.
    ReplaceColumn,
    /// Another table, with more open orders, takes the name of the table that `where` reads.
    SwapOrders,
    /// Another table takes the name of the table of children.
    SwapChild,
    /// The server restarts.
    Restart,
    /// The server stops immediately and recovers from the WAL.
    Crash,
}

impl Plan {
    /// Draws the plan of a round. `scale` multiplies the number of operations and faults.
    pub(crate) fn draw(seed: u64, scale: f64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let partitions = if rng.u8(..10) < 4 { rng.u32(2..=4) } else { 0 };
        let disruption = *choose(
            &mut rng,
            &[
                None,
                None,
                Some(if partitions > 0 { Nemesis::Detach } else { Nemesis::Rename }),
                Some(if partitions > 0 { Nemesis::Detach } else { Nemesis::SwapSchemas }),
            ],
        );
        let stable = disruption.is_none();
        let key = rng.u8(..10) < 7;
        let reference = |rng: &mut Rng, unlikely: u8| {
            (stable && key && rng.u8(..10) >= unlikely).then(|| {
                *choose(rng, &[Reference::Cascade, Reference::Cascade, Reference::NoAction])
            })
        };
        // Orders do not use `NoAction`. It becomes `Locked`: without a foreign key, writers lock
        // the referenced row themselves.
        let orders = reference(&mut rng, 4).map(|found| match found {
            Reference::NoAction => Reference::Locked,
            cascade => cascade,
        });
        let child = reference(&mut rng, 7);
        let tables = Tables {
            partitions,
            key,
            millis: rng.u8(..4) == 0,
            orders,
            child,
            before_trigger: rng.u8(..4) == 0,
        };
        // All rows of a group are in one table, but they may be in different partitions.
        let grouped = rng.u8(..10) < 6 && (stable || partitions == 0);
        let reapers: Vec<Reaper> =
            (0..rng.usize(1..=3)).map(|n| Reaper::draw(&mut rng, n, &tables, grouped)).collect();
        let operations = scaled(rng.u32(150..400), scale);
        let writers = (0..rng.u32(2..=4))
            .map(|_| Writer {
                operations,
                hold: Duration::from_millis(*choose(&mut rng, &[0, 3, 10, 40])),
            })
            .collect();
        let proxied = rng.bool();
        let mut nemeses = Vec::new();
        for _ in 0..scaled(rng.u32(4..=10), scale) {
            nemeses.push(match rng.u8(..20) {
                0..=5 => Nemesis::Kill,
                6..=8 => Nemesis::Freeze,
                9..=14 => Nemesis::Terminate,
                15 if proxied => Nemesis::Cut,
                16 if proxied => Nemesis::Stall,
                17 if rng.bool() => Nemesis::Restart,
                18 if rng.bool() => Nemesis::Crash,
                _ => disruption.unwrap_or(Nemesis::Kill),
            });
        }
        // The disruption comes first, while most rows are still there.
        nemeses.extend(disruption);
        nemeses.reverse();
        let rows = rng.u32(1_000..3_000);
        for (possible, nemesis) in [
            (stable, Nemesis::ReplaceColumn),
            (orders.is_some(), Nemesis::SwapOrders),
            (child.is_some(), Nemesis::SwapChild),
        ] {
            if possible && rng.u8(..3) == 0 {
                nemeses.insert(rng.usize(..=nemeses.len().min(3)), nemesis);
            }
        }
        // A large group is checked again for each chunk, and a slow `where` is evaluated for each
        // row of the group.
        let quick = |reaper: &Reaper| !reaper.open_orders_stay && reaper.chunk >= 200;
        let large_group =
            grouped && reapers.iter().any(|reaper| reaper.group) && reapers.iter().all(quick);
        Self { seed, tables, rows, writers, reapers, nemeses, proxied, large_group }
    }
}

impl fmt::Display for Plan {
    /// Formats the plan on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tables { partitions, key, millis, orders, child, before_trigger } = self.tables;
        match partitions {
            0 => f.write_str("a table")?,
            many => write!(f, "{many} partitions")?,
        }
        for (is, what) in [
            (!key, "no key"),
            (millis, "bigint"),
            (before_trigger, "trigger"),
            (self.proxied, "proxy"),
            (self.large_group, "a large group"),
        ] {
            if is {
                write!(f, ", {what}")?;
            }
        }
        for (reference, what) in [(orders, "orders"), (child, "children")] {
            if let Some(reference) = reference {
                write!(f, ", {what} ({reference:?})")?;
            }
        }
        for reaper in &self.reapers {
            let Reaper { pinned_stay, open_orders_stay, group, children, order, chunk, .. } =
                reaper;
            write!(f, "; reaper of {} in chunks of {chunk}", reaper.table)?;
            for (is, what) in [
                (*pinned_stay, "pinned"),
                (*open_orders_stay, "where"),
                (*group, "group"),
                (*children, "children"),
            ] {
                if is {
                    write!(f, " {what}")?;
                }
            }
            if let Some(order) = order {
                write!(f, " {order}")?;
            }
        }
        write!(f, "; {:?}", self.nemeses)
    }
}

impl Reaper {
    fn draw(rng: &mut Rng, place: usize, tables: &Tables, grouped: bool) -> Self {
        // The partition `app.t_p0` may have its own reaper, in addition to the reapers of the whole
        // table.
        let table = if tables.partitions > 0 && place > 0 && rng.bool() {
            "app.t_p0"
        } else if rng.bool() {
            "app.t"
        } else {
            "t"
        };
        Self {
            table,
            keep_expired: rng.u32(1..=3),
            keep_revoked: rng.bool().then(|| rng.u32(1..=3)),
            pinned_stay: rng.u8(..3) == 0,
            open_orders_stay: tables.orders.is_some() && rng.u8(..4) > 0,
            // A group must be completely in the table of the target, so it cannot be used for one
            // partition.
            group: grouped && table != "app.t_p0" && rng.u8(..4) > 0,
            children: tables.child == Some(Reference::NoAction)
                || (tables.child == Some(Reference::Cascade) && rng.bool()),
            order: *choose(rng, &[None, Some("index"), Some("heap")]),
            chunk: *choose(rng, &[5, 20, 50, 200, 1_000]),
            duty_cycle: *choose(rng, &["1", "1", "0.5"]),
        }
    }

    /// Returns the due columns, each with its retention in days.
    pub(crate) fn reasons(&self) -> Vec<(&'static str, u32)> {
        let mut reasons = vec![("due_at", self.keep_expired)];
        reasons.extend(self.keep_revoked.map(|keep| ("revoked_at", keep)));
        reasons
    }

    /// Returns the `where` condition on the row `t`.
    pub(crate) fn filter(&self) -> Option<String> {
        let mut conditions = Vec::new();
        if self.pinned_stay {
            conditions.push("t.pinned IS NOT TRUE");
        }
        if self.open_orders_stay {
            conditions.push(
                "chaos.ponder(t.uid) AND NOT EXISTS \
                 (SELECT FROM app.orders o WHERE o.account = t.uid AND o.open OFFSET 0)",
            );
        }
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }

    /// Returns the reaper.toml of this reaper.
    pub(crate) fn config(&self, tables: &Tables) -> String {
        let unit = if tables.millis { ", unit = \"ms\"" } else { "" };
        let due: Vec<String> = self
            .reasons()
            .iter()
            .map(|(column, keep)| {
                format!(
                    "{{ reason = \"{column}\", column = \"{column}\", keep = \"{keep}d\"{unit} }}"
                )
            })
            .collect();
        let mut text = format!(
            "[[target]]\ntable = \"{}\"\ndue = [{}]\nchunk = {}\nconfirmed = true\n",
            self.table,
            due.join(", "),
            self.chunk
        );
        if let Some(filter) = self.filter() {
            let _ = writeln!(text, "where = \"{filter}\"");
        }
        if self.group {
            text.push_str("group = \"grp\"\n");
        }
        if self.children {
            text.push_str("children = [{ table = \"app.child\", column = \"parent\" }]\n");
        }
        if let Some(order) = self.order {
            let _ = writeln!(text, "order = \"{order}\"");
        }
        text
    }
}

pub(crate) fn choose<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small positive numbers"
)]
fn scaled(number: u32, scale: f64) -> u32 {
    ((f64::from(number) * scale).round() as u32).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_round_each_time() {
        for seed in 0..100 {
            let draw = || format!("{:?}", Plan::draw(seed, 1.0));
            assert_eq!(draw(), draw());
        }
    }
}
