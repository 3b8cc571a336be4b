//! The text of every statement of the loop. This is the one place that builds SQL from a target.
//!
//! A *mark* is a place in the order of a pass: in that of an index the due time and the key of a row, in that of the heap
//! the beginning of a block. Its values travel as [`Text`].
//!
//! Where a table has no key, marks in the index are due times alone, and rows of one time are in one stretch.
//!
//! A target's *filter* and *group* are conditions on a row that was found by its place: they never say where a stretch
//! begins or ends, so that what they keep is examined once and left behind.
//!
//! **Every column is qualified with `t`**: in `SELECT due::text … ORDER BY due` the bare name would mean the text. **Every
//! table is `ONLY` that table**: a `ctid` means nothing in the tables that inherit from it.

mod answer;
mod query;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

pub(super) use answer::{Counted, mark, with_children};
pub(super) use query::{Query, Text, Values};

use super::catalog::{Child, Column};
use super::condition::ResolvedCondition;
use super::due::{Counts, Due};
use super::name::Ident;
use super::target::Order;

/// A place: the due time and the key of one row, or a block, as text.
pub(super) type Mark = Vec<Text>;

/// What the server says when a statement that deletes comes to another process than it was made for.
pub(super) const NOT_OURS: &str = "session-reaper: not the server process that holds its lock, but ";

/// What lies between two places: after `low`, up to and with `high`. Without one it is open there.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub(super) low: Option<Mark>,
    pub(super) high: Option<Mark>,
}

/// One pass: a table in the order of one of its due columns, or of its blocks.
#[derive(Clone, Debug)]
pub(super) struct PassSql {
    /// Quoted.
    pub(super) table: String,
    pub(super) order: Order,
    pub(super) due: Due,
    /// Empty when the table has none.
    pub(super) key: Vec<Column>,
    /// What the passes before this one go by: what is due by them is counted there.
    pub(super) earlier: Vec<Due>,
    /// `None` when every row that is due may go.
    pub(super) only: Option<Only>,
    /// Nothing that is due lies before this due time: an earlier run was there.
    pub(super) from: Option<Text>,
    /// They go first.
    pub(super) children: Vec<Child>,
    pub(super) values: Values,
}

/// What a delete does about a row that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Leaves it.
    PassingOver,
    /// Waits, up to `lock_timeout`, and is given up then. For as long as nobody holds a row: it takes half the time.
    Waiting,
}

/// Which of the due rows may go.
#[derive(Clone, Debug)]
pub(super) struct Only {
    /// On the row `t`.
    pub(super) filter: Option<ResolvedCondition>,
    pub(super) group: Option<Group>,
}

/// Rows that go together.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) column: Ident,
    /// Quoted: the whole table, of which the pass may see a partition.
    pub(super) table: String,
    /// Every reason of the target.
    pub(super) reasons: Vec<Due>,
}

impl PassSql {
    /// The same in another order.
    pub(super) fn ordered(&self, order: Order) -> Self {
        Self { order, ..self.clone() }
    }

    /// The same with its values written out.
    pub(super) fn written(&self) -> Self {
        Self { values: Values::Written, ..self.clone() }
    }

    /// Where a stretch of `*rows + 1` rows would end, children counted: at most one row, the mark. Reads indexes alone.
    ///
    /// A parent is there once for each of its children, and once without any. `OFFSET 0` keeps it one look into a child's
    /// index for each parent, in the parents' order, so that it ends where it has seen enough.
    pub(super) fn probe<'a>(&'a self, within: &'a Stretch, rows: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let offset = query.bind(rows);
        let marks = self.columns().map(|column| format!("t.{}::text", column.name)).collect::<Vec<_>>().join(", ");
        let child = |child: &Child| {
            format!("SELECT FROM ONLY {} c WHERE c.{} = t.{}", child.table, child.column, child.refers_to)
        };
        let children = match self.children.as_slice() {
            [] => String::new(),
            children => {
                let each = children.iter().map(child).collect::<Vec<_>>().join(" UNION ALL ");
                format!(" LEFT JOIN LATERAL ({each} OFFSET 0) AS r ON true")
            }
        };
        query.text = format!(
            "SELECT {marks} FROM ONLY {} t{children} WHERE {due} ORDER BY {} OFFSET {offset} LIMIT 1",
            self.table,
            self.names()
        );
        query
    }

    /// Deletes what is due in a stretch: `*most` rows at the most where a stretch may have any number of them. It tells how many
    /// rows went; with children it is a query that has one row, for [`with_children`].
    ///
    /// [`Manner::PassingOver`] locks the rows first, by `FOR UPDATE SKIP LOCKED`, which also looks at the condition again when a
    /// row was updated between snapshot and lock. Their `ctid`s are then good for as long as the statement runs, and cost no
    /// second look into an index. [`Manner::Waiting`] deletes without, and waits for a row that somebody holds; the condition
    /// is looked at again on the row as it is then.
    ///
    /// On every server process but `*pid`, the one that holds the lock, the statement is an error: nothing goes when a pooler has
    /// put another one in its place.
    pub(super) fn delete<'a>(&'a self, within: &'a Stretch, most: &'a i64, pid: &'a i32, manner: Manner) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let only = self.only_these(&mut query).map(|only| format!(" AND {only}")).unwrap_or_default();
        let order = match (self.order, manner) {
            (Order::Index, Manner::PassingOver) if self.key.is_empty() => {
                format!(" ORDER BY {} LIMIT {}", self.names(), query.bind(most))
            }
            (Order::Index, _) => format!(" ORDER BY {}", self.names()),
            (Order::Heap, Manner::Waiting) if self.children.is_empty() => String::new(),
            (Order::Heap, _) => format!(" LIMIT {}", query.bind(most)),
        };
        let table = &self.table;
        let ours = format!(
            "CASE WHEN pg_backend_pid() = {} THEN true ELSE ('{NOT_OURS}' || pg_backend_pid())::boolean END",
            query.bind(pid)
        );
        let free = format!("SELECT t.ctid FROM ONLY {table} t WHERE {due}{only}{order} FOR UPDATE SKIP LOCKED");
        query.text = match (self.children.as_slice(), manner) {
            ([], Manner::PassingOver) => {
                format!("DELETE FROM ONLY {table} WHERE ctid = ANY (ARRAY ({free})) AND {ours}")
            }
            ([], Manner::Waiting) => format!("DELETE FROM ONLY {table} t WHERE {due}{only} AND {ours}"),
            (_, _) => {
                let most = query.bind(most);
                self.delete_with_children(&free, &ours, &most)
            }
        };
        query
    }

    /// Children first, `most` of each table; when that was fewer than there may be, their parents go, too.
    ///
    /// A child that somebody holds is waited for: the parent's own cascade, or its absence, would not pass it over either. The
    /// lock in the lateral sub-select also keeps it one look into the child's index for each parent.
    fn delete_with_children(&self, free: &str, ours: &str, most: &str) -> String {
        let table = &self.table;
        let mut parts = vec![format!("reaped_held AS MATERIALIZED ({free})")];
        let held = "ANY (ARRAY (SELECT ctid FROM reaped_held))";
        let keys = self.children.iter().enumerate();
        let keys = keys.map(|(n, child)| format!("t.{} AS key{n}", child.refers_to)).collect::<Vec<_>>().join(", ");
        // Not of a row that was updated after the snapshot: it is not deleted here, so its children stay, too.
        parts.push(format!("reaped_parents AS MATERIALIZED (SELECT {keys} FROM ONLY {table} t WHERE t.ctid = {held})"));
        let (mut whole, mut found, mut deleted) = (String::new(), Vec::new(), Vec::new());
        for (n, child) in self.children.iter().enumerate() {
            let (of, column) = (&child.table, &child.column);
            parts.push(format!(
                "reaped_found{n} AS MATERIALIZED (SELECT r.ctid FROM reaped_parents p, LATERAL \
                 (SELECT c.ctid FROM ONLY {of} c WHERE c.{column} = p.key{n} FOR UPDATE) AS r LIMIT {most})"
            ));
            parts.push(format!(
                "reaped_children{n} AS (DELETE FROM ONLY {of} WHERE ctid = ANY (ARRAY (SELECT ctid FROM reaped_found{n})) \
                 AND {ours} RETURNING 1)"
            ));
            found.push(format!("(SELECT count(*) FROM reaped_found{n})"));
            deleted.push(format!("(SELECT count(*) FROM reaped_children{n})"));
            let _ = write!(whole, " AND {} < {most} AND {} = {}", found[n], found[n], deleted[n]);
        }
        parts.push(format!("reaped AS (DELETE FROM ONLY {table} WHERE ctid = {held} AND {ours}{whole} RETURNING 1)"));
        let (found, deleted) = (found.join(", "), deleted.join(", "));
        format!("WITH {} SELECT count(*), ARRAY[{found}], ARRAY[{deleted}] FROM reaped", parts.join(", "))
    }

    /// A stretch may have any number of rows, and no more than a chunk of them is taken: by blocks, and where rows of one time
    /// cannot be told apart.
    pub(super) fn is_limited(&self) -> bool {
        self.order == Order::Heap || self.key.is_empty()
    }

    /// Counts what is due in a stretch, looking at `*cap` rows at the most. One row, for [`Counted::of`].
    pub(super) fn count<'a>(&'a self, within: &'a Stretch, cap: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let cap = query.bind(cap);
        let fresh = self.fresh(&mut query);
        let (name, table) = (&self.due.column.name, &self.table);
        let order = match self.order {
            Order::Index => format!(" ORDER BY {}", self.names()),
            Order::Heap => String::new(),
        };
        query.text = match self.only_these(&mut query) {
            None => format!(
                "SELECT count(*) FILTER (WHERE fresh), count(*), {} FROM (\
                 SELECT t.{name} AS due, {fresh} AS fresh FROM ONLY {table} t WHERE {due}{order} LIMIT {cap}) AS found",
                self.due.oldest("")
            ),
            Some(only) => format!(
                "SELECT count(*) FILTER (WHERE fresh AND free), count(*), {}, count(*) FILTER (WHERE free) FROM (\
                 SELECT t.{name} AS due, {fresh} AS fresh, {only} AS free FROM ONLY {table} t WHERE {due}{order} \
                 LIMIT {cap}) AS found",
                self.due.oldest("free")
            ),
        };
        query
    }

    /// The oldest time before the year 2000, as text: at most one row. `None` where such a time is like any other.
    pub(super) fn ancient(&self) -> Option<Query<'_>> {
        let floor = self.due.floor.as_ref()?;
        let mut query = Query::new(self.values);
        let Column { name, sql_type } = &self.due.column;
        let floor = query.bind(floor);
        query.text = format!(
            "SELECT t.{name}::text FROM ONLY {} t WHERE t.{name} < {floor}::{sql_type} ORDER BY t.{name} LIMIT 1",
            self.table
        );
        Some(query)
    }

    /// The newest due time that may go, in seconds since 1970, of the last `*cap` that are due. One row; null without one.
    pub(super) fn newest<'a>(&'a self, cap: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due.condition(&mut query);
        let cap = query.bind(cap);
        let free = self.only_these(&mut query).unwrap_or_else(|| "true".to_owned());
        let back = self.columns().map(|column| format!("t.{} DESC", column.name)).collect::<Vec<_>>().join(", ");
        let (name, table) = (&self.due.column.name, &self.table);
        query.text = format!(
            "SELECT {} FROM (SELECT t.{name} AS due, {free} AS free FROM ONLY {table} t WHERE {due} ORDER BY {back} \
             LIMIT {cap}) AS found",
            self.due.epoch("max(due) FILTER (WHERE free)")
        );
        query
    }

    /// Counts the rows of about `percent` of a table's blocks, and those of them that are due by this reason or an earlier
    /// one and may go.
    pub(super) fn sample(&self, percent: f64) -> Query<'_> {
        let mut query = Query::new(self.values);
        let reasons = self.earlier.iter().chain([&self.due]);
        let due = reasons.map(|due| format!("({})", due.condition(&mut query))).collect::<Vec<_>>().join(" OR ");
        let only = self.only_these(&mut query).map(|only| format!(" AND {only}")).unwrap_or_default();
        query.text = format!(
            "SELECT count(*), count(*) FILTER (WHERE ({due}){only}) FROM ONLY {} t TABLESAMPLE SYSTEM ({percent})",
            self.table
        );
        query
    }

    /// `t` is not due by an earlier pass.
    fn fresh<'a>(&'a self, query: &mut Query<'a>) -> String {
        let mut fresh = String::from("true");
        for earlier in &self.earlier {
            let _ = write!(fresh, " AND ({}) IS NOT TRUE", earlier.condition(query));
        }
        fresh
    }

    /// What else must be true of `t`. A condition in a CASE is of no use to an index or a join: it is evaluated row by row, and
    /// the place in the index alone decides what is read.
    ///
    /// A group: none of its rows is not due. `OFFSET 0` and the name in a sub-select of its own keep it one look into the
    /// index on the group for each row; a plain `NOT EXISTS` became a hash anti join that read the whole table for each
    /// chunk (300,000 rows: 38 ms against 4 ms).
    fn only_these<'a>(&'a self, query: &mut Query<'a>) -> Option<String> {
        let only = self.only.as_ref()?;
        let mut conditions = Vec::new();
        let filter = only.filter.as_ref().map(ResolvedCondition::sql);
        let filter = filter.map(|filter| format!("CASE WHEN (\n{filter}\n) THEN true ELSE false END"));
        conditions.extend(filter.clone());
        if let Some(Group { column, table, reasons }) = &only.group {
            let due: Vec<String> = reasons.iter().map(|due| format!("({})", due.condition(query))).collect();
            let due = format!("({})", due.join(" OR "));
            let due = filter.map(|filter| format!("{due} AND {filter}")).unwrap_or(due);
            conditions.push(format!(
                "(NOT EXISTS (SELECT FROM (SELECT t.{column} AS of_row) AS one, {table} t \
                 WHERE t.{column} = one.of_row AND ({due}) IS NOT TRUE OFFSET 0)) IS TRUE"
            ));
        }
        Some(conditions.join(" AND "))
    }

    /// `t` is due, and in the stretch. The row comparisons are conditions of the index.
    fn due_within<'a>(&'a self, within: &'a Stretch, query: &mut Query<'a>) -> String {
        // Behind a mark in the index nothing is older than the mark.
        let marked = self.order == Order::Index && within.low.is_some();
        let mut condition = if marked { self.due.is_past(query) } else { self.due.condition(query) };
        if let (Order::Index, None, Some(from)) = (self.order, &within.low, &self.from) {
            let Column { name, sql_type } = &self.due.column;
            let _ = write!(condition, " AND t.{name} >= {}::{sql_type}", query.bind(from));
        }
        for (mark, operator) in [(&within.low, ">"), (&within.high, "<=")] {
            let Some(mark) = mark else { continue };
            match self.order {
                Order::Index => {
                    let columns = self.columns().zip(mark);
                    let values: Vec<String> =
                        columns.map(|(column, value)| format!("{}::{}", query.bind(value), column.sql_type)).collect();
                    let _ = write!(condition, " AND ({}) {operator} ({})", self.names(), values.join(", "));
                }
                // No row is at the beginning of a block itself: places in one are counted from 1.
                Order::Heap => {
                    for value in mark {
                        let _ = write!(condition, " AND t.ctid {operator} {}::tid", query.bind(value));
                    }
                }
            }
        }
        condition
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.due.column).chain(&self.key)
    }

    /// `t.due, t.key, …`
    fn names(&self) -> String {
        self.columns().map(|column| format!("t.{}", column.name)).collect::<Vec<_>>().join(", ")
    }
}

impl Due {
    /// `t` is due by it.
    fn condition<'a>(&'a self, query: &mut Query<'a>) -> String {
        let mut condition = self.is_past(query);
        if let Some(floor) = &self.floor {
            let floor = query.bind(floor);
            let _ = write!(condition, " AND t.{} >= {floor}::{}", self.column.name, self.column.sql_type);
        }
        condition
    }

    /// The time of `t` is before the cutoff.
    fn is_past<'a>(&'a self, query: &mut Query<'a>) -> String {
        let cutoff = query.bind(&self.cutoff);
        format!("t.{} < {cutoff}::{}", self.column.name, self.column.sql_type)
    }

    /// The oldest value among `due`, of which `-infinity` is the oldest only when there is no other.
    fn oldest(&self, filter: &str) -> String {
        let only = |conditions: &[&str]| {
            let conditions: Vec<&str> = conditions.iter().filter(|one| !one.is_empty()).copied().collect();
            if conditions.is_empty() { String::new() } else { format!(" FILTER (WHERE {})", conditions.join(" AND ")) }
        };
        let all = format!("min(due){}", only(&[filter]));
        match self.counts {
            Counts::PerSecond(_) => self.epoch(&all),
            Counts::Instant | Counts::Local(_) => {
                self.epoch(&format!("coalesce(min(due){}, {all})", only(&[filter, "isfinite(due)"])))
            }
        }
    }

    /// A value of the column in seconds since 1970.
    fn epoch(&self, value: &str) -> String {
        match &self.counts {
            Counts::Instant => format!("extract(epoch FROM {value})::float8"),
            Counts::Local(zone) => format!("extract(epoch FROM ({value})::timestamp AT TIME ZONE '{zone}')::float8"),
            Counts::PerSecond(many) => format!("({value})::float8 / {many}"),
        }
    }
}
