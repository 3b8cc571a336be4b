//! Chooses the scan order of a pass (the work on one table for one reason): index order or heap
//! order.
//!
//! In index order, a pass reads only due rows. However, if the due rows are spread over the whole
//! table, each row is in another block, and the same blocks are read again and again. The following
//! table shows the measured speeds, in thousands of rows per second, for a table of 1.2 million
//! rows, of which 600,000 were due:
//!
//! | due rows | index order | heap order | index order, no row locks | heap order, no row locks |
//! |---|---|---|---|---|
//! | clustered | 510 to 670 | 810 | 1,380 | 1,410 |
//! | spread out | 170 to 280 | 635 | 220 | 1,090 |

use std::collections::HashSet;

use serde_json::Value;
use tokio_postgres::{Client, Error};

use crate::backlog::RowCount;
use crate::connection::auxiliary::AuxiliaryConnection;
use crate::sql::{KeyRange, PassSql};
use crate::target::Order;
use crate::target::catalog::Leaf;
use crate::time::as_f64;

/// If more rows than this have the same due time, heap order is better: the index cannot
/// distinguish these rows, or each chunk must sort them.
pub(crate) const CROWD: u32 = 10_000;

/// If fewer rows than this are due, the choice of the scan order has no noticeable effect.
const MANY: f64 = 50_000.0;

/// If at least this share of the table is due, heap order is faster even if due rows are clustered.
/// With a share of 0.55, heap order took 0.7 times as long as index order.
const LARGE_SHARE: f64 = 0.3;

/// The minimum correlation between index order and heap order at which rows count as clustered.
const TOGETHER: f64 = 0.7;

/// If a table has fewer dead rows than this, the dead entries of its index fill so few blocks that
/// they are not measured.
const MANY_DEAD: i64 = 20_000;

/// The statistics of a table, from the catalog and the planner, that determine the scan order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TableStatistics {
    /// The current number of blocks in the table.
    pub(crate) blocks: u64,
    /// The last estimate of the number of rows; negative if there is none.
    rows: f64,
    /// The planner's estimate of the number of due rows.
    estimated: f64,
    /// The correlation between index order and heap order, from -1 to 1. `None` if there are no
    /// statistics for the due column.
    correlation: Option<f64>,
    /// The share of the rows that have the most common due time.
    commonest: f64,
    /// The number of blocks at the time when `rows` was estimated.
    pages: f64,
    /// Whether a trigger or a rule may prevent the deletion of rows.
    pub(crate) trigger: bool,
    /// The number of dead rows that no vacuum has processed, as counted by the server.
    dead: i64,
    /// `true` if the index does not order rows with the same due time, so that these rows must be
    /// sorted.
    pub(crate) ties: bool,
}

/// A scan order and the reason for it.
pub(crate) type Choice = (Order, &'static str);

const FIGURES: &str = "
    SELECT coalesce(pg_catalog.pg_relation_size(c.oid), 0)
            OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::bigint,
        c.reltuples::double precision, s.correlation::double precision,
        coalesce((s.most_common_freqs)[1], 0)::double precision, c.relpages::double precision,
        -- A trigger BEFORE DELETE FOR EACH ROW (pg_trigger.h) or a rule ON DELETE (pg_rewrite.h) may keep a row. Up to
        -- PostgreSQL 14, a partition's copy of its parent's trigger is an internal trigger.
        EXISTS (SELECT FROM pg_catalog.pg_trigger g
                WHERE g.tgrelid OPERATOR(pg_catalog.=) c.oid AND g.tgenabled OPERATOR(pg_catalog.<>) 'D'
                    AND (g.tgtype::int OPERATOR(pg_catalog.&) 11) OPERATOR(pg_catalog.=) 11)
            OR EXISTS (SELECT FROM pg_catalog.pg_rewrite w
                       WHERE w.ev_class OPERATOR(pg_catalog.=) c.oid AND w.ev_type OPERATOR(pg_catalog.=) '4'
                           AND w.ev_enabled OPERATOR(pg_catalog.<>) 'D'),
        pg_catalog.pg_stat_get_dead_tuples(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
        LEFT JOIN pg_catalog.pg_stats s ON s.schemaname OPERATOR(pg_catalog.=) n.nspname
            AND s.tablename OPERATOR(pg_catalog.=) c.relname AND s.attname OPERATOR(pg_catalog.=) $2::pg_catalog.name
            AND NOT s.inherited
    WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

impl TableStatistics {
    /// Reads the statistics from the catalog, and the plan of the probe (the query that finds the
    /// end of a chunk), which is not executed. Returns `None` if the table no longer exists.
    pub(crate) async fn of(
        client: &Client,
        leaf: &Leaf,
        pass: &PassSql,
    ) -> Result<Option<Self>, Error> {
        let Some(figures) =
            client.query_opt(FIGURES, &[&leaf.oid, &pass.due.column.name.as_str()]).await?
        else {
            return Ok(None);
        };
        let (all, first) = (KeyRange::default(), 0);
        let pass = pass.ordered(Order::Index).written();
        let explain = format!("EXPLAIN (FORMAT JSON) {}", pass.probe(&all, &first).text);
        let plan: Value = client.query_one(&explain, &[]).await?.get(0);
        let nodes = nodes(&plan);
        let scan = nodes.iter().find(|node| node["Relation Name"].is_string());
        Ok(Some(Self {
            blocks: u64::try_from(figures.get::<_, i64>(0)).unwrap_or(0),
            rows: figures.get(1),
            estimated: scan.and_then(|node| node["Plan Rows"].as_f64()).unwrap_or(0.0),
            correlation: figures.get(2),
            commonest: figures.get(3),
            pages: figures.get(4),
            trigger: figures.get(5),
            dead: figures.get(6),
            ties: nodes
                .iter()
                .any(|node| node["Node Type"].as_str().is_some_and(|kind| kind.ends_with("Sort"))),
        }))
    }

    /// Returns whether the indexes may have so many dead entries that scanning them takes a
    /// noticeable time.
    pub(crate) fn has_many_dead(&self) -> bool {
        self.dead >= MANY_DEAD
    }

    /// Returns the number of rows per block according to the statistics.
    pub(crate) fn rows_a_block(&self) -> Option<f64> {
        (self.rows > 0.0 && self.pages > 0.0).then(|| self.rows / self.pages)
    }

    /// Chooses the scan order for the counted number of due rows.
    pub(crate) fn choose(&self, counted: RowCount) -> Choice {
        let due = match counted {
            RowCount::Rows(rows) => as_f64(rows),
            RowCount::More => self.estimated.max(MANY),
            RowCount::Uncounted => self.estimated,
        };
        if self.ties && self.commonest * self.rows > f64::from(CROWD) {
            return (
                Order::Heap,
                "too many rows share one time, and the index cannot distinguish them",
            );
        }
        if self.trigger {
            return (Order::Index, "a trigger may keep rows");
        }
        if due < MANY || due < as_f64(self.blocks) {
            return (Order::Index, "fewer due rows than the table has blocks");
        }
        if self.correlation.is_some_and(|correlation| correlation.abs() >= TOGETHER)
            && due < LARGE_SHARE * self.rows
        {
            return (Order::Index, "due rows are clustered in a part of the table");
        }
        (Order::Heap, "a due row a block or more")
    }
}

/// Returns those of the tables `oids` whose indexes may have so many dead entries that scanning
/// them takes a noticeable time.
pub(crate) async fn many_dead(
    auxiliary: &AuxiliaryConnection,
    oids: &[u32],
) -> Result<HashSet<u32>, Error> {
    const DEAD: &str = "SELECT t.oid FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
        WHERE pg_catalog.pg_stat_get_dead_tuples(t.oid) OPERATOR(pg_catalog.>=) $2";
    let rows = auxiliary.rows(DEAD, &[&oids, &MANY_DEAD]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

/// Returns the number of blocks in a table.
pub(crate) async fn blocks(client: &Client, oid: u32) -> Result<u64, Error> {
    const SIZE: &str = "SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid::pg_catalog.regclass)
        OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::pg_catalog.int8";
    // The size is NULL if the table has been dropped in the meantime.
    let size: Option<i64> = client.query_one(SIZE, &[&oid]).await?.try_get(0)?;
    Ok(size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0))
}

/// Returns the number of index and table blocks that the server reads to find the first row of a
/// pass in index order.
///
/// The statistics do not contain this number. They include the number of dead rows, but do not show
/// whether a vacuum has removed the index entries of these rows, or where these entries are.
/// Therefore, the probe (the query that finds the end of a chunk) is executed once under EXPLAIN
/// ANALYZE, which counts blocks exactly. The count does not depend on the speed of the machine.
pub(crate) async fn blocks_to_first_row(client: &Client, pass: &PassSql) -> Result<u64, Error> {
    let pass = pass.ordered(Order::Index).written();
    let probe = pass.probe(&KeyRange::default(), &0).text;
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, FORMAT JSON) {probe}");
    let plan: Value = client.query_one(&explain, &[]).await?.try_get(0)?;
    // The counts of the topmost node include the counts of all nodes below it.
    let blocks = |kind: &str| plan[0]["Plan"][kind].as_u64().unwrap_or(0);
    Ok(blocks("Shared Hit Blocks") + blocks("Shared Read Blocks"))
}

/// Returns all nodes of a plan.
pub(crate) fn nodes(plan: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    let mut open: Vec<&Value> =
        plan.as_array().into_iter().flatten().map(|plan| &plan["Plan"]).collect();
    while let Some(node) = open.pop() {
        found.push(node);
        open.extend(node["Plans"].as_array().into_iter().flatten());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: TableStatistics = TableStatistics {
        blocks: 60_000,
        rows: 1e6,
        estimated: 2e5,
        correlation: Some(0.0),
        commonest: 0.0,
        pages: 60_000.0,
        trigger: false,
        dead: 0,
        ties: false,
    };

    #[test]
    fn heap_order_is_chosen_if_nearly_all_blocks_must_be_read() {
        let order = |statistics: TableStatistics, counted| statistics.choose(counted).0;
        assert_eq!(order(TABLE, RowCount::Rows(59_999)), Order::Index);
        assert_eq!(order(TABLE, RowCount::Rows(60_000)), Order::Heap);
        assert_eq!(order(TABLE, RowCount::More), Order::Heap, "according to the estimate");
        assert_eq!(
            order(TableStatistics { estimated: 1.0, ..TABLE }, RowCount::Uncounted),
            Order::Index
        );
        assert_eq!(
            order(TableStatistics { correlation: None, ..TABLE }, RowCount::Rows(200_000)),
            Order::Heap
        );
        let together = TableStatistics { correlation: Some(-0.99), ..TABLE };
        assert_eq!(order(together, RowCount::Rows(200_000)), Order::Index);
        assert_eq!(order(together, RowCount::Rows(500_000)), Order::Heap);
        assert_eq!(
            order(TableStatistics { blocks: 10, ..TABLE }, RowCount::Rows(49_999)),
            Order::Index,
            "too few to matter"
        );
    }

    #[test]
    fn heap_order_is_chosen_for_many_indistinguishable_rows() {
        let crowded = TableStatistics { commonest: 0.5, ties: true, ..TABLE };
        assert_eq!(crowded.choose(RowCount::Rows(7)).0, Order::Heap);
        assert_eq!(
            TableStatistics { ties: false, ..crowded }.choose(RowCount::Rows(7)).0,
            Order::Index
        );
    }
}
