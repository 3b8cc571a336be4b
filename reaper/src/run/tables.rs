//! The tables of a target, the statements on these tables, and the passes over each table (one pass
//! per reason why rows are due).

use std::time::Instant;

use chrono::{DateTime, Utc};

use crate::backlog::RowCount;
use crate::connection::db_error::DbError;
use crate::pass::scan_order::{self, TableStatistics};
use crate::pass::watermarks::{self, Watermarks};
use crate::pass::{Pass, PassPlan, Tally};
use crate::preflight::ChunkLimits;
use crate::run::lock;
use crate::run::remembered::Remembered;
use crate::run::worker::Worker;
use crate::sql::identity::Identity;
use crate::sql::query::Values;
use crate::sql::{Group, Only, PassSql};
use crate::stop_reason::StopReason;
use crate::target::catalog::{Child, Leaf, Located};
use crate::target::condition::ResolvedCondition;
use crate::target::due::Due;
use crate::target::name::TableName;
use crate::target::{Order, Target};

/// Returns one row if a table with this oid exists.
pub(crate) const IS_THERE: &str =
    "SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) $1::pg_catalog.oid";

pub(crate) struct Table {
    pub(crate) oid: u32,
    /// The schema-qualified name.
    pub(crate) name: TableName,
    /// The conditions from `where` of the target and of its reasons.
    pub(crate) conditions: Vec<ResolvedCondition>,
    /// The tables that contain the rows of this table, each with one pass per reason.
    pub(crate) leaves: Vec<(Leaf, Vec<PassSql>)>,
}

impl Table {
    /// Returns the oids of the table itself and of the tables that contain its rows.
    pub(crate) fn oids(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.oid).chain(self.leaves.iter().map(|(leaf, _)| leaf.oid))
    }
}

/// Takes the locks of a leaf (a table that stores rows of the target) and of the children, in
/// addition to the lock on the target's table, which the run already holds. Returns `false` if
/// another reaper holds one of these locks.
pub(crate) async fn lock_leaf(worker: &Worker<'_>, leaf: &LeafLocks) -> Result<bool, StopReason> {
    let (connection, statements) = (&worker.connection, 2);
    let tried = lock::try_tables(&connection.client, connection.pid(), &leaf.0);
    Ok(connection.deadline.with(statements, tried).await?.is_none())
}

/// Releases the locks that [`lock_leaf`] took.
pub(crate) async fn unlock_leaf(worker: &Worker<'_>, leaf: &LeafLocks) -> Result<(), StopReason> {
    let connection = &worker.connection;
    connection.deadline.with(1, lock::release_tables(&connection.client, &leaf.0)).await?;
    Ok(())
}

/// The tables whose locks are held while a leaf is processed, in the order of their oids.
pub(crate) struct LeafLocks(Vec<u32>);

impl LeafLocks {
    pub(crate) fn new(root: u32, leaf: &Leaf, passes: &[PassSql]) -> Self {
        let children = passes.iter().flat_map(|pass| &pass.children).map(|child| child.oid);
        let mut oids: Vec<u32> = children.chain([leaf.oid]).filter(|oid| *oid != root).collect();
        oids.sort_unstable();
        oids.dedup();
        Self(oids)
    }
}

/// Runs one pass per reason over one table. `due` is the number of rows that were counted for each
/// reason.
pub(crate) async fn of_leaf(
    (target, chunk_limits): (&Target, &ChunkLimits),
    leaf: &Leaf,
    passes: &[PassSql],
    due: &[RowCount],
    worker: &mut Worker<'_>,
    tallies: &mut [Tally],
) -> Result<(), StopReason> {
    worker.connection.forget_statements().await?;
    for (index, (sql, tally)) in passes.iter().zip(tallies).enumerate() {
        let due = due.get(index).copied().unwrap_or(RowCount::Uncounted);
        let (watermarks, paces) = (worker.watermarks, worker.paces);
        let chunk_limit = chunk_limits.get(&(leaf.oid, index)).copied();
        let mut pass = begin((target, index), leaf, (sql, chunk_limit), due, &mut *worker).await?;
        // Boxed because the statements of a chunk make this future large.
        let result = Box::pin(pass.work()).await;
        let key = (target.name.clone(), index, pass.sql.order);
        paces.keep(&key, &pass.pace, pass.tally.chunks, Utc::now());
        remember(watermarks, &(target.name.clone(), leaf.oid, index), &pass, result.is_ok());
        watermarks.keep_held(
            &(target.name.clone(), leaf.oid, index),
            &pass.sql.held,
            Instant::now(),
        );
        // A pass that did not complete may have left due rows.
        pass.tally.uncertain |= result.is_err();
        tally.add(pass.tally);
        result?;
    }
    Ok(())
}

/// Updates the watermark (the time up to which no due row is left) for the next run of this
/// process.
fn remember(watermarks: &Watermarks, key: &watermarks::Key, pass: &Pass<'_, '_>, ended: bool) {
    let Tally { left, uncertain, .. } = pass.tally;
    if ended && left == 0 && !uncertain && pass.sql.only.is_none() {
        watermarks.has_reached(
            key,
            pass.sql.due.examined(),
            pass.blocks_to_first_row,
            Instant::now(),
        );
    } else {
        watermarks.forget(key);
    }
}

/// Returns `true` if a partition no longer belongs to the target because it was dropped or
/// detached.
pub(crate) async fn is_gone(worker: &Worker<'_>, leaf: &Leaf) -> Result<bool, StopReason> {
    const ATTACHED: &str = "
        SELECT pg_catalog.count(*) FROM pg_catalog.pg_inherits i
        JOIN ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.oid[])) AS link (below, above)
            ON i.inhrelid OPERATOR(pg_catalog.=) link.below AND i.inhparent OPERATOR(pg_catalog.=) link.above
        WHERE NOT i.inhdetachpending";
    let path = &leaf.identity.path;
    let (below, above) = (&path[..path.len().saturating_sub(1)], path.get(1..).unwrap_or_default());
    let (client, deadline) = (&worker.connection.client, &worker.connection.deadline);
    let found = deadline.with(1, client.query_one(ATTACHED, &[&below, &above])).await;
    let found: i64 = found.and_then(|row| row.try_get(0))?;
    Ok(usize::try_from(found).ok() != Some(below.len()))
}

/// Creates a pass in the scan order (index order or heap order) that is expected to be faster.
async fn begin<'p, 'w>(
    (target, index): (&'p Target, usize),
    leaf: &Leaf,
    (sql, chunk_limit): (&PassSql, Option<u32>),
    due: RowCount,
    worker: &'p mut Worker<'w>,
) -> Result<Pass<'p, 'w>, StopReason> {
    worker.connection.wait_for_locks(None).await?;
    let (client, deadline) = (&worker.connection.client, &worker.connection.deadline);
    let statistics = deadline.with(2, TableStatistics::of(client, leaf, sql)).await?;
    let Some(statistics) = statistics else {
        return Err(StopReason::TableGone(format!("{} no longer exists", leaf.table.quoted())));
    };
    let chosen = target.order.map(|order| (order, "the configuration says so"));
    let (order, why) = chosen.unwrap_or_else(|| statistics.choose(due));
    // Blocks are measured only for a pass that begins at the start of the index: a pass that begins
    // at a watermark skips the dead entries before the watermark, and a pass with a condition does
    // not use a watermark.
    let measured = order == Order::Index
        && sql.from.is_none()
        && sql.only.is_none()
        && statistics.has_many_dead();
    let blocks_to_first_row = if measured { blocks_to_first_row(worker, sql).await? } else { None };
    let reason = target.reasons.get(index).map_or("", |reason| reason.name.as_str());
    let simple = sql.children.is_empty() && sql.only.is_none();
    let key = (target.name.clone(), index, order);
    let first_size = worker.paces.first_size(&key, simple, Utc::now());
    let name = match order {
        Order::Index => "index",
        Order::Heap => "heap",
    };
    // A run over many tables without due rows would write one line for each of them.
    let nothing_due = due == RowCount::Rows(0);
    macro_rules! pass_started {
        ($level:ident) => {
            tracing::$level!(
                event = "pass_started",
                target_table = target.name,
                reason,
                table = leaf.table.quoted(),
                %due,
                order = name,
                why,
                "pass started"
            )
        };
    }
    if nothing_due {
        pass_started!(debug);
    } else {
        pass_started!(info);
    }
    let plan = PassPlan {
        target: &target.name,
        reason,
        sql: sql.ordered(order),
        statistics,
        has_key: !leaf.key.is_empty(),
        fixed_order: target.order.is_some(),
        fixed_chunk: target.chunk,
        // In heap order, no index is used.
        chunk_limit: chunk_limit.filter(|_| order == Order::Index),
        blocks_to_first_row,
        first_size,
    };
    Ok(Pass::new(plan, worker))
}

/// Returns the number of blocks that the server reads to find the first row. Returns `None` if a
/// timeout was reached. No error is returned in this case, because the pass will also reach the
/// timeout and report it.
async fn blocks_to_first_row(
    worker: &Worker<'_>,
    sql: &PassSql,
) -> Result<Option<u64>, StopReason> {
    let (client, deadline) = (&worker.connection.client, &worker.connection.deadline);
    match deadline
        .with(1, scan_order::blocks_to_first_row(client, sql))
        .await
        .map_err(DbError::from)
    {
        Ok(blocks) => Ok(Some(blocks)),
        Err(DbError::Timeout(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Builds the statements of the pass for each reason why rows are due. The cutoff, before which
/// rows are due, is the start of the run by the database's clock minus the `keep` of the reason.
pub(crate) fn passes(
    target: &Target,
    located: Located,
    started_at: DateTime<Utc>,
    remembered: &Remembered,
) -> Result<Table, String> {
    let watermarks = &remembered.watermarks;
    let keyless = located.leaves.iter().find(|leaf| leaf.key.is_empty());
    if let Some(leaf) = keyless.filter(|_| remembered.logs_keyless(&target.name)) {
        tracing::warn!(
            event = "no_unique_key",
            target_table = target.name,
            table = leaf.table.quoted(),
            "no primary key and no unique, non-null key: rows with equal timestamps are indistinguishable and are always locked before deletion"
        );
    }
    let mut conditions: Vec<ResolvedCondition> = located.condition.iter().cloned().collect();
    conditions.extend(located.of_reasons.iter().flatten().cloned());
    let reasons = target.reasons.iter().zip(located.due.into_iter().zip(located.of_reasons));
    let due = reasons
        .map(|(reason, column)| {
            let due = Due::new(reason, target.ancient, column, started_at)?;
            Ok::<_, String>(Due { set: located.set.clone(), ..due })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let group = located.group.and_then(|column| {
        let (equals, table) = (column.equals.clone()?, located.table.to_string());
        Some(Group { column, equals, table, reasons: due.clone() })
    });
    let condition = located.condition;
    let in_condition = conditions.iter().flat_map(ResolvedCondition::reads);
    let read: Vec<Identity> = group
        .iter()
        .map(|group| located.identity.with_columns([&group.column.name].into_iter()))
        .chain(in_condition.map(|relation| Identity::of_name(relation.oid, relation.name.clone())))
        .collect();
    let only = |due: &Due| {
        let keeps = condition.is_some() || due.condition.is_some() || group.is_some();
        keeps.then(|| Only {
            filter: condition.clone(),
            of_reason: due.condition.clone(),
            group: group.clone(),
        })
    };
    let children: Vec<Identity> =
        located.children.iter().map(|child| child.identity.with_columns(child.columns())).collect();
    let now = Instant::now();
    let passes = |leaf: &Leaf| {
        let columns = due.iter().map(|due| &due.column).chain(&leaf.key).map(|column| &column.name);
        let columns =
            columns.chain(&target.group).chain(located.children.iter().flat_map(Child::refers_to));
        let columns = columns.chain(target.set.iter().map(|set| &set.column));
        // `where` may read any column.
        let this = if target.conditions().next().is_some() {
            leaf.identity.clone()
        } else {
            leaf.identity.with_columns(columns)
        };
        let tables: Vec<Identity> = std::iter::once(this).chain(children.iter().cloned()).collect();
        let pass = |(index, this): (usize, &Due)| PassSql {
            oid: leaf.oid,
            // A pass with a condition does not use a watermark: a row that the condition kept
            // earlier may be deletable now.
            from: only(this)
                .is_none()
                .then(|| watermarks.from(&(target.name.clone(), leaf.oid, index), now))
                .flatten(),
            table: leaf.table.to_string(),
            order: Order::Index,
            due: this.clone(),
            key: leaf.key.clone(),
            earlier: due[..index].to_vec(),
            only: only(this),
            children: located.children.clone(),
            tables: tables.clone(),
            read: read.clone(),
            held: watermarks.held(&(target.name.clone(), leaf.oid, index), now),
            values: Values::Bound,
        };
        due.iter().enumerate().map(pass).collect()
    };
    let leaves = located.leaves.iter().map(|leaf| (leaf.clone(), passes(leaf))).collect();
    Ok(Table { oid: located.oid, name: located.table, conditions, leaves })
}
