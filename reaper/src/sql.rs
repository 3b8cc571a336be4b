//! The text of every statement of a pass (the work on one table for one reason). This is the only
//! module that builds SQL from a target.
//!
//! A *cursor* is a position in the scan order of a pass: in index order, the due time and the key
//! of a row; in heap order, the beginning of a block. The values of a cursor are passed as
//! [`Text`].
//!
//! If a table has no key, a cursor in index order is a due time only, and rows with the same due
//! time belong to one key range.
//!
//! A target's *filter* (the condition `where`) and *group* (rows that are deleted only together)
//! are conditions on a row that was found by its position. They never determine where a key range
//! begins or ends. A pass therefore examines each row only once, even if these conditions exclude
//! the row from deletion, and continues after that row.
//!
//! **Every column is qualified with `t`**: in `SELECT due::text … ORDER BY due`, the unqualified
//! name in `ORDER BY` would refer to the converted text. **Every table is read with `ONLY`**,
//! except the whole table of a group: a `ctid` is meaningful only within one table, and not in
//! tables that inherit from it. **Every table, type, function and operator is schema-qualified**:
//! see [`operator`]. **Every statement that visits rows also names the oid of the table**: see
//! [`identity`].

mod answer;
mod count;
mod delete;
pub(crate) mod held;
pub(crate) mod identity;
pub(crate) mod operator;
pub(crate) mod query;
mod set;
#[cfg(test)]
mod tests;
mod transaction;

use std::fmt::Write as _;

pub(crate) use answer::{Counted, Locked, cursor, with_children};
pub(crate) use transaction::Around;

use crate::sql::held::Held;
use crate::sql::identity::Identity;
use crate::sql::operator::{GE, GT, LE, LT, Operator};
use crate::sql::query::{Query, Text, Values};
use crate::target::Order;
use crate::target::catalog::{Child, Column, Reference};
use crate::target::condition::ResolvedCondition;
use crate::target::due::{Counts, Due};

/// A position in the scan order, as text: the due time and the key of a row, or the beginning of a
/// block.
pub(crate) type Cursor = Vec<Text>;

/// The rows between two cursors: after `low`, up to and including `high`. `None` means that the
/// range is unbounded on that side.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyRange {
    pub(crate) low: Option<Cursor>,
    pub(crate) high: Option<Cursor>,
}

/// The statements of one pass over a table, in the order of a due column or of the blocks of the
/// table.
#[derive(Clone, Debug)]
pub(crate) struct PassSql {
    pub(crate) oid: u32,
    /// The quoted, schema-qualified name of the table.
    pub(crate) table: String,
    pub(crate) order: Order,
    pub(crate) due: Due,
    /// The key columns. Empty if the table has no key.
    pub(crate) key: Vec<Column>,
    /// The conditions of the earlier reasons of the target. A row that is due for an earlier reason
    /// is counted only for that reason.
    pub(crate) earlier: Vec<Due>,
    /// The filter and the group; `None` if every due row may be deleted.
    pub(crate) only: Option<Only>,
    /// The watermark of an earlier run, which is a due time: no due row is older.
    pub(crate) from: Option<Text>,
    /// The child tables, whose rows are deleted first.
    pub(crate) children: Vec<Child>,
    /// The tables from which rows are deleted. The table of the pass is the first one.
    pub(crate) tables: Vec<Identity>,
    /// The tables that determine which due rows may be deleted: the table of the group (rows that
    /// are deleted together), and the tables that `where` reads.
    pub(crate) read: Vec<Identity>,
    /// The rows whose deletion is known to fail.
    pub(crate) held: Held,
    pub(crate) values: Values,
}

/// How a DELETE treats locked rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockWait {
    /// Skips locked rows.
    SkipLocked,
    /// Waits for locked rows. The statement fails if it waits longer than `lock_timeout`. Used
    /// until the pass encounters a locked row, because deleting without locking first takes half
    /// the time.
    Wait,
    /// Deletes only rows that [`PassSql::lock`] has locked. Used for a target in which other rows
    /// determine whether a row may be deleted.
    Locked,
    /// Does not check for locked rows, because the transaction has locked the whole table.
    TableLocked,
}

/// Conditions that restrict which due rows may be deleted.
#[derive(Clone, Debug)]
pub(crate) struct Only {
    /// The condition of the target on the row `t`.
    pub(crate) filter: Option<ResolvedCondition>,
    /// The condition of the reason on the row `t`.
    pub(crate) of_reason: Option<ResolvedCondition>,
    pub(crate) group: Option<Group>,
}

/// Rows that are deleted together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) column: Column,
    /// The equality operator of the column.
    pub(crate) equals: Operator,
    /// The quoted, schema-qualified name of the whole table. The pass itself may process only one
    /// partition of it.
    pub(crate) table: String,
    /// The conditions of all reasons of the target.
    pub(crate) reasons: Vec<Due>,
}

impl PassSql {
    /// Returns the same pass in another scan order.
    pub(crate) fn ordered(&self, order: Order) -> Self {
        Self { order, ..self.clone() }
    }

    /// Returns the same pass whose statements contain literals instead of parameters.
    pub(crate) fn written(&self) -> Self {
        Self { values: Values::Written, ..self.clone() }
    }

    /// Returns the probe: the statement that finds the end of a key range of `*rows + 1` rows,
    /// including the rows of child tables. The statement returns at most one row, the cursor, and
    /// reads only indexes.
    ///
    /// In the result of the join, a parent occurs once for each of its child rows, or once if it
    /// has none. `OFFSET 0` makes the planner execute the subquery as one index lookup on the child
    /// table for each parent, in the order of the parents. The scan therefore stops as soon as
    /// enough rows are found. The casts are outside the subquery. Inside, they would be evaluated
    /// for each row that `OFFSET` skips (1.08 ms instead of 0.23 ms for 5,000 rows).
    pub(crate) fn probe<'a>(&'a self, within: &'a KeyRange, rows: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let offset = query.bind(rows);
        let numbered = || self.columns().enumerate();
        let columns = numbered().map(|(n, column)| format!("t.{} AS c{n}", column.name));
        let cursor = numbered().map(|(n, _)| format!("m.c{n}::pg_catalog.text"));
        let (columns, cursor): (Vec<String>, Vec<String>) = (columns.collect(), cursor.collect());
        let child = |child: &Child| {
            format!("SELECT FROM ONLY {} c WHERE {}", child.table, child.refers("c", "t"))
        };
        let children = match self.children.as_slice() {
            [] => String::new(),
            children => {
                let each = children.iter().map(child).collect::<Vec<_>>().join(" UNION ALL ");
                format!(" LEFT JOIN LATERAL ({each} OFFSET 0) AS r ON true")
            }
        };
        query.text = format!(
            "SELECT {} FROM (SELECT {} FROM ONLY {} t{children} WHERE {due} \
             ORDER BY {} OFFSET {offset} LIMIT 1) AS m",
            cursor.join(", "),
            columns.join(", "),
            self.table,
            self.names()
        );
        query
    }

    /// Returns `true` if the statement must limit how many rows are deleted, because a key range
    /// may have any number of rows. This is the case in heap order, and for a table without a key,
    /// in which rows with the same due time cannot be distinguished.
    pub(crate) fn is_limited(&self) -> bool {
        self.order == Order::Heap || self.key.is_empty()
    }

    /// Returns whether rows are deleted only together with their group.
    pub(crate) fn is_grouped(&self) -> bool {
        self.only.as_ref().is_some_and(|only| only.group.is_some())
    }

    /// Returns the condition that `t` is not due for an earlier reason of the target.
    fn fresh<'a>(&'a self, query: &mut Query<'a>) -> String {
        let mut fresh = String::from("true");
        for earlier in &self.earlier {
            let _ = write!(fresh, " AND ({}) IS NOT TRUE", earlier.filter(query));
        }
        fresh
    }

    /// Returns the condition that `t` is due and in the key range. The server can use the row
    /// comparisons in it as index conditions.
    fn due_within<'a>(&'a self, within: &'a KeyRange, query: &mut Query<'a>) -> String {
        // After a cursor in index order, no row is older than the cursor, so the lower bound of the
        // due time (`floor`) need not be checked.
        let mut condition = match (self.order, &within.low) {
            (Order::Index, Some(_)) => self.due.is_past(query),
            (Order::Index, None) => self.due.time(query),
            (Order::Heap, _) => self.due.filter_of_time(query),
        };
        if let (Order::Index, None, Some(from)) = (self.order, &within.low, &self.from) {
            let Column { name, cast, .. } = &self.due.column;
            let _ = write!(condition, " AND t.{name} {GE} {}::{cast}", query.bind(from));
        }
        for (cursor, operator) in [(&within.low, GT), (&within.high, LE)] {
            let Some(cursor) = cursor else { continue };
            match self.order {
                Order::Index => {
                    let columns = self.columns().zip(cursor);
                    let values: Vec<String> = columns
                        .map(|(column, value)| format!("{}::{}", query.bind(value), column.cast))
                        .collect();
                    let _ = write!(
                        condition,
                        " AND ({}) {operator} ({})",
                        self.names(),
                        values.join(", ")
                    );
                }
                // No row is at the beginning of a block: positions within a block are counted from
                // 1.
                Order::Heap => {
                    for value in cursor {
                        let _ = write!(
                            condition,
                            " AND t.ctid {operator} {}::pg_catalog.tid",
                            query.bind(value)
                        );
                    }
                }
            }
        }
        condition
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.due.column).chain(&self.key)
    }

    /// Returns `t.due, t.key, …`.
    fn names(&self) -> String {
        self.columns().map(|column| format!("t.{}", column.name)).collect::<Vec<_>>().join(", ")
    }
}

impl PassSql {
    /// Returns the condition that all rows of a group may be deleted and are not known to be
    /// referenced by foreign keys. See [`Only::is_whole`].
    fn is_whole<'a>(
        &'a self,
        (only, group): (&'a Only, &'a Group),
        of_row: &str,
        and: Option<&str>,
        query: &mut Query<'a>,
    ) -> String {
        let and: Vec<String> = self.is_free().into_iter().chain(and.map(str::to_owned)).collect();
        let and = (!and.is_empty()).then(|| and.join(" AND "));
        only.is_whole(group, of_row, and.as_deref(), query)
    }

    /// Returns the filter on `t`, including the condition that excludes the rows whose deletion
    /// fails. The latter comes first, because evaluating the filter for such a row may raise an
    /// error.
    fn filter(&self, only: &Only) -> Option<String> {
        match (only.filter_of_row(), self.is_not_held()) {
            (Some(filter), Some(held)) => {
                Some(format!("CASE WHEN NOT ({held}) THEN false ELSE {filter} END"))
            }
            (filter, None) => filter,
            (None, held) => held,
        }
    }
}

impl Only {
    /// Returns the condition of the target on `t`.
    fn filter(&self) -> Option<String> {
        self.filter.as_ref().map(ResolvedCondition::case)
    }

    /// Returns the conditions of the target and of the reason on `t`.
    fn filter_of_row(&self) -> Option<String> {
        match (&self.filter, &self.of_reason) {
            (Some(filter), Some(of_reason)) => Some(format!(
                "CASE WHEN (\n{}\n) THEN {} ELSE false END",
                filter.sql(),
                of_reason.case()
            )),
            (filter, of_reason) => {
                filter.as_ref().or(of_reason.as_ref()).map(ResolvedCondition::case)
            }
        }
    }

    /// Returns the condition that all rows of a group may be deleted. `of_row` is a query that
    /// returns one row with the group's value in a column named `of_row`; `and` is an additional
    /// condition on each row.
    ///
    /// `OFFSET 0` and the separate subquery for the value make the planner execute this condition
    /// as one lookup in the index on the group. A plain `NOT EXISTS` became a hash anti join, which
    /// read the whole table for each chunk (300,000 rows: 38 ms instead of 4 ms).
    fn is_whole<'a>(
        &'a self,
        group: &'a Group,
        of_row: &str,
        and: Option<&str>,
        query: &mut Query<'a>,
    ) -> String {
        let due: Vec<String> =
            group.reasons.iter().map(|due| format!("({})", due.filter(query))).collect();
        let mut may_go = vec![format!("({})", due.join(" OR "))];
        may_go.extend(self.filter());
        may_go.extend(and.map(str::to_owned));
        let (table, is_in) = (&group.table, group.is("t", "one.of_row"));
        format!(
            "(NOT EXISTS (SELECT FROM ({of_row}) AS one, {table} t WHERE {is_in} AND ({}) IS NOT TRUE OFFSET 0)) IS TRUE",
            may_go.join(" AND ")
        )
    }
}

impl Group {
    /// Returns the condition that `row` belongs to the group with `value`.
    fn is(&self, row: &str, value: &str) -> String {
        // The cast to the base type is necessary, because a domain could have an operator of its
        // own.
        let Column { name, cast, .. } = &self.column;
        format!("{row}.{name}::{cast} {} {value}", self.equals)
    }
}

impl Child {
    /// Returns the condition that `child` references `parent`.
    fn refers(&self, child: &str, parent: &str) -> String {
        self.refers_to_values(child, |n| format!("{parent}.{}", self.references[n].refers_to))
    }

    /// Returns the condition that `child` references a row. `value` returns the value of the
    /// referenced column with the given number.
    fn refers_to_values(&self, child: &str, value: impl Fn(usize) -> String) -> String {
        let references = self.references.iter().enumerate();
        let each: Vec<String> =
            references.map(|(n, reference)| reference.refers_to_value(child, &value(n))).collect();
        each.join(" AND ")
    }
}

impl Reference {
    fn refers_to_value(&self, child: &str, value: &str) -> String {
        let Column { name, cast, equals, .. } = &self.column;
        match equals {
            Some(equals) if equals.is_built_in() => format!("{child}.{name} {equals} {value}"),
            Some(equals) => format!("{child}.{name}::{cast} {equals} {value}::{cast}"),
            // The catalog lookup rejects a child whose column has no equality operator.
            None => "false".to_owned(),
        }
    }
}

impl Due {
    /// Returns the condition on the due column of `t` that limits a scan of the index on this
    /// column. The other condition of the reason is not included, because it does not limit what
    /// the scan reads.
    fn time<'a>(&'a self, query: &mut Query<'a>) -> String {
        let mut condition = self.is_past(query);
        if let Some(floor) = &self.floor {
            let floor = query.bind(floor);
            let _ =
                write!(condition, " AND t.{} {GE} {floor}::{}", self.column.name, self.column.cast);
        }
        condition
    }

    /// Returns the condition that `t` is due for this reason.
    fn filter<'a>(&'a self, query: &mut Query<'a>) -> String {
        let time = self.filter_of_time(query);
        match &self.condition {
            Some(condition) => format!("{time} AND {}", condition.case()),
            None => time,
        }
    }

    /// Returns the same condition as [`Due::time`] for rows that are not found through the index on
    /// the column.
    ///
    /// The comparison with the floor (the year 2000) is inside a CASE, so that the planner does not
    /// estimate how many rows it excludes. For this estimate, the planner would read the index from
    /// its start to the first row that exists. It would thereby read the entries of all rows that
    /// were deleted since the last VACUUM, which takes 2.1 ms instead of 0.3 ms for each chunk.
    fn filter_of_time<'a>(&'a self, query: &mut Query<'a>) -> String {
        let mut condition = self.is_past(query);
        if let Some(floor) = &self.floor {
            let floor = query.bind(floor);
            let Column { name, cast, .. } = &self.column;
            let _ = write!(
                condition,
                " AND CASE WHEN t.{name} {GE} {floor}::{cast} THEN true ELSE false END"
            );
        }
        condition
    }

    /// Returns the condition that the due time of `t` is past, regardless of the floor (the year
    /// 2000; see `Due::floor`), and that a column of `t` is still to be set, if the target sets
    /// columns.
    fn is_past<'a>(&'a self, query: &mut Query<'a>) -> String {
        let Column { name, cast, .. } = &self.column;
        let mut condition = format!("t.{name} {LT} {}::{cast}", query.bind(&self.cutoff));
        if let Some((from, to)) = &self.skipped {
            let (from, to) = (query.bind(from), query.bind(to));
            let _ = write!(
                condition,
                " AND (t.{name} {LT} {from}::{cast} OR t.{name} {GE} {to}::{cast})"
            );
        }
        if let Some(differs) = self.differs("t.") {
            let _ = write!(condition, " AND {differs}");
        }
        condition
    }

    /// Returns the aggregate for the oldest value of `due`. The result is `-infinity` only if there
    /// is no other value.
    fn oldest(&self, filter: &str) -> String {
        let only = |conditions: &[&str]| {
            let conditions: Vec<&str> =
                conditions.iter().filter(|one| !one.is_empty()).copied().collect();
            if conditions.is_empty() {
                String::new()
            } else {
                format!(" FILTER (WHERE {})", conditions.join(" AND "))
            }
        };
        let all = format!("pg_catalog.min(due){}", only(&[filter]));
        match self.counts {
            Counts::PerSecond(_) => self.epoch(&all),
            Counts::Instant | Counts::Local(_) => {
                let finite = only(&[filter, "pg_catalog.isfinite(due)"]);
                self.epoch(&format!("coalesce(pg_catalog.min(due){finite}, {all})"))
            }
        }
    }

    /// Returns the expression that converts a value of the column to seconds since 1970.
    fn epoch(&self, value: &str) -> String {
        match &self.counts {
            Counts::Instant => format!("extract(epoch FROM {value})::pg_catalog.float8"),
            Counts::Local(zone) => {
                format!(
                    "extract(epoch FROM ({value})::pg_catalog.timestamp AT TIME ZONE '{zone}')::pg_catalog.float8"
                )
            }
            Counts::PerSecond(many) => {
                format!(
                    "({value})::pg_catalog.float8 OPERATOR(pg_catalog./) {many}::pg_catalog.float8"
                )
            }
        }
    }
}
