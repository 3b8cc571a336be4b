//! The statements that lock and delete rows.
//!
//! Whether a row may be deleted depends either on its own contents, or also on the contents of
//! other rows: the rows of its group, and the rows that a subquery in `where` reads. In the first
//! case, one statement locks the row, evaluates the condition again on its current version, and
//! deletes it. In the second case, this is not sufficient: after locking a row, PostgreSQL
//! re-evaluates the condition with the new version of *this* row only. For any other row that was
//! just changed, PostgreSQL still uses the version from the beginning of the statement. Such rows
//! are therefore deleted by two statements in one transaction:
//!
//! 1. [`PassSql::lock`] locks the rows that appear to be deletable and all other rows of their
//!    groups, and skips locked rows.
//! 2. [`PassSql::delete`] then has a newer snapshot. It deletes the rows that may be deleted
//!    according to this snapshot, if this transaction has locked these rows and all other rows of
//!    their groups. A row is locked by this transaction if its `xmax` is the ID of the transaction.
//!
//! A transaction that changes a row of a group afterwards waits for the lock and then finds the row
//! deleted. A row that another transaction has inserted into a group is not visible until that
//! transaction commits. If this row has a foreign key to a row that is deleted, the check of the
//! foreign key waits for the lock, too.

use std::fmt::Write as _;

use super::{Group, KeyRange, LockWait, Only, PassSql};
use crate::sql::identity::NOT_OURS;
use crate::sql::operator::{EQ, GT, LE, LT, NE};
use crate::sql::query::{Query, Text};
use crate::target::Order;

/// The maximum number of rows of groups (rows that are deleted only together) that are locked in
/// one chunk (transaction). If a group has more rows, the whole table is locked instead, because
/// each row lock is written to the WAL: the locks of one family of 300,000 rows took 32.5 MB.
const GROUP_LOCK_ROWS: i64 = 10_000;

/// The condition that this transaction has locked `t`.
const LOCKED_BY_US: &str =
    "t.xmax OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid";

/// Returns the alias of a referenced value: the value that column number `column` of child table
/// number `child` references.
fn key(child: usize, column: usize) -> String {
    format!("key{child}_{column}")
}

impl PassSql {
    /// Returns the statement that deletes the due rows in a key range, or sets columns of these
    /// rows. If a key range may have any number of rows, at most `*most` rows are deleted. The
    /// command tag contains the number of deleted rows. If the target has children, the statement
    /// is a query that returns one row, for [`super::with_children`].
    ///
    /// [`LockWait::SkipLocked`] first locks the rows with `FOR UPDATE SKIP LOCKED`, which evaluates
    /// the condition again if a row was updated between the snapshot and the lock. The `ctid`s of
    /// these rows are then stable until the statement ends, and no second index lookup is
    /// necessary. [`LockWait::Wait`] deletes without locking first and waits for locked rows; the
    /// condition is evaluated again on the current version of such a row. [`LockWait::Locked`] is
    /// used after [`PassSql::lock`], and [`LockWait::TableLocked`] for groups that are too large to
    /// be locked row by row.
    ///
    /// The server process `*pid` holds the lock of the target. In any other server process, the
    /// statement raises an error, so nothing is deleted if a pooler has switched to another
    /// process.
    pub(crate) fn delete<'a>(
        &'a self,
        within: &'a KeyRange,
        most: &'a i64,
        pid: &'a i32,
        lock_wait: LockWait,
    ) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let (groups, only) = self.decided(&due, lock_wait, &mut query);
        // If the target has no conditions, only the rows whose deletion fails are excluded.
        let only = only.or_else(|| self.is_not_held());
        let only = only.map(|only| format!(" AND {only}")).unwrap_or_default();
        let order = match (self.order, lock_wait) {
            (Order::Index, LockWait::SkipLocked | LockWait::Locked | LockWait::TableLocked)
                if self.key.is_empty() =>
            {
                format!(" ORDER BY {} LIMIT {}", self.names(), query.bind(most))
            }
            (Order::Index, _) => format!(" ORDER BY {}", self.names()),
            (Order::Heap, LockWait::Wait) if self.children.is_empty() => String::new(),
            (Order::Heap, _) => format!(" LIMIT {}", query.bind(most)),
        };
        let (table, this) = (&self.table, self.this_table("t"));
        let ours = format!(
            "CASE WHEN pg_catalog.pg_backend_pid() {EQ} {}::pg_catalog.int4 THEN true \
             ELSE ('{NOT_OURS}'::pg_catalog.text OPERATOR(pg_catalog.||) pg_catalog.pg_backend_pid()::pg_catalog.text)::pg_catalog.bool END",
            query.bind(pid)
        );
        let free = format!(
            "SELECT t.ctid FROM ONLY {table} t WHERE {due} AND {this}{only}{order} FOR UPDATE SKIP LOCKED"
        );
        query.text = match (self.children.as_slice(), lock_wait) {
            ([], LockWait::Wait) => {
                format!("{} WHERE {due} AND {this}{only} AND {ours}", self.verb())
            }
            ([], _) => {
                let groups = groups.map(|groups| format!("WITH {groups} ")).unwrap_or_default();
                format!(
                    "{groups}{} WHERE t.ctid {EQ} ANY (ARRAY ({free})) AND {this} AND {ours}",
                    self.verb()
                )
            }
            (_, _) => {
                let most = query.bind(most);
                self.delete_with_children(groups, &free, &ours, &most)
            }
        };
        query
    }

    /// Returns the ways of treating locked rows that this pass may use.
    pub(crate) fn lock_waits(&self) -> &'static [LockWait] {
        match &self.only {
            None => &[LockWait::SkipLocked, LockWait::Wait],
            Some(Only { group: None, .. }) => &[LockWait::Locked],
            Some(Only { group: Some(_), .. }) => &[LockWait::Locked, LockWait::TableLocked],
        }
    }

    /// Returns the statement that deletes child rows first, at most `most` of each child table. If
    /// fewer than `most` rows were found in each table, so that no child row is left, the statement
    /// also deletes the parents.
    ///
    /// The statement waits for locked child rows, as a cascade or the check of a foreign key would.
    /// Because the lateral subquery locks its rows, it is also executed as an index lookup on the
    /// child table for each parent.
    fn delete_with_children(
        &self,
        groups: Option<String>,
        free: &str,
        ours: &str,
        most: &str,
    ) -> String {
        let (table, this) = (&self.table, self.this_table("t"));
        let mut parts: Vec<String> = groups.into_iter().collect();
        parts.push(format!("reaped_held AS MATERIALIZED ({free})"));
        let held = format!("{EQ} ANY (ARRAY (SELECT h.ctid FROM reaped_held h)) AND {this}");
        let mut keys = Vec::new();
        for (n, child) in self.children.iter().enumerate() {
            let columns = child.refers_to().enumerate();
            keys.extend(columns.map(|(m, column)| format!("t.{column} AS {}", key(n, m))));
        }
        let keys = keys.join(", ");
        // A row that was updated after the snapshot is excluded: it is not deleted here, so its
        // children must stay, too.
        parts.push(format!(
            "reaped_parents AS MATERIALIZED (SELECT {keys} FROM ONLY {table} t WHERE t.ctid {held})"
        ));
        let (mut whole, mut found, mut deleted) = (String::new(), Vec::new(), Vec::new());
        for (n, child) in self.children.iter().enumerate() {
            let refers = child.refers_to_values("c", |m| format!("p.{}", key(n, m)));
            let of = &child.table;
            let that = format!("c.tableoid {EQ} {}::pg_catalog.oid", child.oid);
            parts.push(format!(
                "reaped_found{n} AS MATERIALIZED (SELECT r.ctid FROM reaped_parents p, LATERAL \
                 (SELECT c.ctid FROM ONLY {of} c WHERE {refers} AND {that} FOR UPDATE) AS r LIMIT {most})"
            ));
            parts.push(format!(
                "reaped_children{n} AS (DELETE FROM ONLY {of} c WHERE c.ctid {EQ} ANY (ARRAY (SELECT f.ctid FROM reaped_found{n} f)) \
                 AND {that} AND {ours} RETURNING 1)"
            ));
            found.push(format!("(SELECT pg_catalog.count(*) FROM reaped_found{n})"));
            deleted.push(format!("(SELECT pg_catalog.count(*) FROM reaped_children{n})"));
            let _ = write!(
                whole,
                " AND {} {LT} {most}::pg_catalog.int8 AND {} {EQ} {}",
                found[n], found[n], deleted[n]
            );
        }
        parts.push(format!("reaped AS (DELETE FROM ONLY {table} t WHERE t.ctid {held} AND {ours}{whole} RETURNING 1)"));
        let (found, deleted) = (found.join(", "), deleted.join(", "));
        format!(
            "WITH {} SELECT pg_catalog.count(*), ARRAY[{found}], ARRAY[{deleted}] FROM reaped",
            parts.join(", ")
        )
    }

    /// Returns the statement that locks the rows in a key range that appear to be deletable, and
    /// the other rows of their groups, except for the `refused` groups. Its result is one row, for
    /// [`super::Locked::of`].
    pub(crate) fn lock<'a>(
        &'a self,
        within: &'a KeyRange,
        most: &'a i64,
        refused: &'a Text,
    ) -> Option<Query<'a>> {
        let only = self.only.as_ref()?;
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let (table, this) = (&self.table, self.this_table("t"));
        let filter = self.filter(only).map(|filter| format!(" AND {filter}")).unwrap_or_default();
        let Some(group) = &only.group else {
            let order = match self.order {
                Order::Index if self.key.is_empty() => {
                    format!(" ORDER BY {} LIMIT {}", self.names(), query.bind(most))
                }
                Order::Index => format!(" ORDER BY {}", self.names()),
                Order::Heap => format!(" LIMIT {}", query.bind(most)),
            };
            query.text = format!(
                "SELECT pg_catalog.count(*), '{{}}'::pg_catalog.text[], 0::pg_catalog.int8, 0::pg_catalog.int8 FROM \
                 (SELECT t.ctid FROM ONLY {table} t WHERE {due} AND {this}{filter}{order} FOR UPDATE SKIP LOCKED) AS held"
            );
            return Some(query);
        };
        let (column, cast, whole) = (&group.column.name, &group.column.cast, &group.table);
        let refused = format!(
            "d.of_group::pg_catalog.text {NE} ALL ({}::pg_catalog.text[])",
            query.bind(refused)
        );
        let looks_whole =
            self.is_whole((only, group), "SELECT p.of_group AS of_row", None, &mut query);
        let (is_in, limit) =
            (group.is("t", "s.of_group"), format!("{GROUP_LOCK_ROWS}::pg_catalog.int8"));
        // The number of groups is limited to the maximum number of rows: if blocks are full of due
        // rows, the remaining groups follow in a later chunk. The key range is nevertheless read as
        // a whole, because the CTE and OFFSET 0 are an optimization fence. Without the fence, the
        // planner could scan an index on the group column instead of the key range, to find a few
        // groups or to read them in order.
        let most = format!("{}::pg_catalog.int8", query.bind(most));
        let size = format!(
            "(SELECT FROM {whole} t WHERE {} LIMIT {})",
            group.is("t", "p.of_group"),
            GROUP_LOCK_ROWS + 1
        );
        query.text = format!(
            "WITH reaped_here AS MATERIALIZED (\
             SELECT DISTINCT d.of_group FROM (SELECT t.{column}::{cast} AS of_group FROM ONLY {table} t \
             WHERE {due} AND {this}{filter} OFFSET 0) AS d WHERE d.of_group IS NOT NULL AND {refused}), \
             reaped_groups AS MATERIALIZED (\
             SELECT p.of_group, (SELECT pg_catalog.count(*) FROM {size} AS m) AS n FROM reaped_here p WHERE {looks_whole} \
             LIMIT {most} OPERATOR(pg_catalog.+) 1::pg_catalog.int8), \
             reaped_sized AS MATERIALIZED (\
             SELECT of_group, n, n {GT} {limit} AS large, \
             pg_catalog.sum(n) FILTER (WHERE n {LE} {limit}) OVER (ROWS UNBOUNDED PRECEDING) {LE} {limit}::pg_catalog.numeric \
             AND pg_catalog.row_number() OVER (ROWS UNBOUNDED PRECEDING) {LE} {most} AS fits \
             FROM reaped_groups), \
             reaped_held AS MATERIALIZED (\
             SELECT s.of_group FROM reaped_sized s, LATERAL (SELECT t.ctid FROM {whole} t WHERE {is_in} FOR UPDATE SKIP LOCKED) AS r \
             WHERE s.fits AND NOT s.large), \
             reaped_alone AS MATERIALIZED (\
             SELECT t.ctid FROM ONLY {table} t WHERE {due} AND {this}{filter} AND t.{column} IS NULL FOR UPDATE SKIP LOCKED) \
             SELECT (SELECT pg_catalog.count(*) FROM reaped_held) OPERATOR(pg_catalog.+) (SELECT pg_catalog.count(*) FROM reaped_alone), \
             ARRAY (SELECT x.of_group::pg_catalog.text FROM (\
             SELECT s.of_group, s.n FROM reaped_sized s WHERE s.fits AND NOT s.large \
             UNION ALL SELECT h.of_group, (-1)::pg_catalog.int8 FROM reaped_held h) AS x \
             GROUP BY x.of_group HAVING pg_catalog.sum(x.n) {NE} 0::pg_catalog.numeric), \
             (SELECT pg_catalog.count(*) FROM reaped_sized s WHERE s.large), \
             (SELECT pg_catalog.count(*) FROM reaped_sized s WHERE NOT s.large AND s.fits IS NOT TRUE)"
        );
        Some(query)
    }

    /// Returns the additional conditions for deleting `t`: a CTE (`WITH` query) that finds the
    /// groups that may be deleted, and the condition itself.
    fn decided<'a>(
        &'a self,
        due: &str,
        lock_wait: LockWait,
        query: &mut Query<'a>,
    ) -> (Option<String>, Option<String>) {
        let Some(only) = &self.only else { return (None, None) };
        let filter = self.filter(only);
        let locked = match lock_wait {
            LockWait::TableLocked => None,
            LockWait::Locked => Some(LOCKED_BY_US),
            // If other rows determine whether a row may be deleted, the row is never deleted
            // without being locked first.
            LockWait::SkipLocked | LockWait::Wait => Some("false"),
        };
        let Some(group) = &only.group else {
            let all: Vec<String> = filter.into_iter().chain(locked.map(str::to_owned)).collect();
            return (None, Some(all.join(" AND ")));
        };
        let (groups, decided) = self.decided_by_group(only, group, due, locked, query);
        (Some(groups), Some(decided))
    }

    /// Does the same as [`Self::decided`] for a target with groups. The CTE decides only once for
    /// each group whether it may be deleted, no matter how many of its rows are in the key range.
    fn decided_by_group<'a>(
        &'a self,
        only: &'a Only,
        group: &'a Group,
        due: &str,
        locked: Option<&str>,
        query: &mut Query<'a>,
    ) -> (String, String) {
        let (column, cast, table) = (&group.column.name, &group.column.cast, &self.table);
        let mut alone = vec![format!("t.{column} IS NULL")];
        alone.extend(self.filter(only));
        alone.extend(locked.map(str::to_owned));
        let mut among = String::new();
        for condition in self.is_not_held().iter().map(String::as_str).chain(locked) {
            let _ = write!(among, " AND {condition}");
        }
        let whole = self.is_whole((only, group), "SELECT p.of_group AS of_row", locked, query);
        let groups = format!(
            "reaped_whole AS MATERIALIZED (SELECT p.of_group FROM (\
             SELECT DISTINCT d.of_group FROM (SELECT t.{column}::{cast} AS of_group FROM ONLY {table} t \
             WHERE {due} AND {}{among} OFFSET 0) AS d WHERE d.of_group IS NOT NULL) AS p WHERE {whole})",
            self.this_table("t")
        );
        // A row of a group that is whole may be due for another reason only.
        let of_reason =
            only.of_reason.as_ref().map(|condition| format!(" AND {}", condition.case()));
        // Inside a CASE, this condition remains a hash table lookup for each row of the key range
        // and does not become a join.
        let decided = format!(
            "CASE WHEN t.{column} IS NULL THEN ({}) ELSE t.{column}::{cast} {} ANY (SELECT w.of_group FROM reaped_whole w){} END",
            alone.join(" AND "),
            group.equals,
            of_reason.unwrap_or_default()
        );
        (groups, decided)
    }

    /// Returns the condition that `row` belongs to the table that was examined.
    pub(super) fn this_table(&self, row: &str) -> String {
        format!("{row}.tableoid {EQ} {}::pg_catalog.oid", self.oid)
    }
}
