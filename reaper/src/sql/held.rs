//! Rows whose deletion fails: the conditions that exclude them, and the statements that find them.
//! A pass (the work for one reason on one table) leaves such rows.

use std::fmt::Write as _;

use super::{Group, KeyRange, Only, PassSql};
use crate::connection::db_error::Constraint;
use crate::sql::operator::EQ;
use crate::sql::query::Query;
use crate::target::Order;
use crate::target::catalog::Column;

/// The rows that a pass leaves because their deletion fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The foreign keys whose referencing rows prevent the deletion.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// The hashes of the rows or groups for which a trigger raises an error. [`PassSql::hash`]
    /// describes the hashes.
    pub(crate) by_triggers: Vec<String>,
    /// The hashes of all other rows or groups whose deletion fails.
    pub(crate) by_errors: Vec<String>,
}

/// A foreign key that references the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    pub(crate) constraint: Constraint,
    /// The quoted name of the referencing table.
    pub(crate) table: String,
    /// The condition that the row `c` of that table references the row `t`.
    pub(crate) refers: String,
}

/// The statements that count the due rows whose deletion fails, by cause; `None` if there are no
/// such rows.
pub(crate) struct HeldRows<'a> {
    pub(crate) foreign_keys: Option<Query<'a>>,
    pub(crate) triggers: Option<Query<'a>>,
    pub(crate) errors: Option<Query<'a>>,
}

impl ForeignKey {
    /// Returns the condition that no row references `t`. `OFFSET 0` keeps the subquery a lookup in
    /// the index on the referencing columns.
    fn is_free(&self) -> String {
        format!("(NOT EXISTS (SELECT FROM {} c WHERE {} OFFSET 0))", self.table, self.refers)
    }
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.foreign_keys.is_empty() && self.hashes().next().is_none()
    }

    pub(crate) fn hashes(&self) -> impl Iterator<Item = &str> {
        self.by_triggers.iter().chain(&self.by_errors).map(String::as_str)
    }
}

impl PassSql {
    /// Returns the hash that identifies the group of the row `t` or, for a target without groups,
    /// the row itself. Keys may contain secrets, so only their hashes are kept.
    ///
    /// If the table has no key, the row is identified by its position and by the transaction that
    /// wrote it. An update changes both, so the new version of the row is tried again.
    fn hash(&self) -> String {
        let row = format!("pg_catalog.md5({})", self.identity());
        match self.only.as_ref().and_then(|only| only.group.as_ref()) {
            None => row,
            Some(Group { column: Column { name, cast, .. }, .. }) => {
                format!("COALESCE(pg_catalog.md5(t.{name}::{cast}::pg_catalog.text), {row})")
            }
        }
    }

    /// Returns the text that identifies the row `t` or its group.
    fn identity(&self) -> String {
        if self.key.is_empty() {
            return "t.ctid::pg_catalog.text OPERATOR(pg_catalog.||) t.xmin::pg_catalog.text"
                .to_owned();
        }
        let mut text = String::new();
        for (index, column) in self.key.iter().enumerate() {
            let between = if index > 0 {
                " OPERATOR(pg_catalog.||) E'\\x1f'::pg_catalog.text OPERATOR(pg_catalog.||) "
            } else {
                ""
            };
            // Writing to a String cannot fail.
            let _ = write!(text, "{between}t.{}::pg_catalog.text", column.name);
        }
        text
    }

    /// Returns the condition that the hash of `t` is one of `hashes`, or `None` if there are none.
    /// Hashes are hexadecimal, so they can be literals.
    fn is_one_of<'h>(&self, hashes: impl IntoIterator<Item = &'h str>) -> Option<String> {
        let hashes: Vec<&str> = hashes.into_iter().collect();
        (!hashes.is_empty()).then(|| {
            format!("{} {EQ} ANY ('{{{}}}'::pg_catalog.text[])", self.hash(), hashes.join(","))
        })
    }

    /// Returns the condition that no row references `t` through a foreign key of [`Held`].
    pub(super) fn is_free(&self) -> Option<String> {
        let keys: Vec<String> = self.held.foreign_keys.iter().map(ForeignKey::is_free).collect();
        (!keys.is_empty()).then(|| keys.join(" AND "))
    }

    /// Returns the condition that the deletion of `t` is not known to fail.
    pub(super) fn is_not_held(&self) -> Option<String> {
        let mut conditions: Vec<String> = self.is_free().into_iter().collect();
        let rejected = self.is_one_of(self.held.hashes());
        conditions.extend(rejected.map(|rejected| format!("NOT ({rejected})")));
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }

    /// Returns the ctid and the hash of due rows in a key range, for at most `*most` rows and
    /// in an unspecified order.
    pub(crate) fn keys<'a>(&'a self, within: &'a KeyRange, most: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let held = self.is_not_held().map(|held| format!(" AND {held}")).unwrap_or_default();
        let (table, this, hash) = (&self.table, self.this_table("t"), self.hash());
        let order = match self.order {
            Order::Index => format!(" ORDER BY {}", self.names()),
            Order::Heap => String::new(),
        };
        let most = query.bind(most);
        query.text = format!(
            "SELECT t.ctid::pg_catalog.text, {hash} FROM ONLY {table} t WHERE {due} AND {this}{held}{order} LIMIT {most}"
        );
        query
    }

    /// Returns the statements that count the due rows whose deletion fails: one statement for the
    /// rows that foreign keys reference, and one for each other cause. Each statement counts at
    /// most `*cap` rows. A row that is due for several reasons is counted only for the first of
    /// these reasons.
    pub(crate) fn held_rows<'a>(&'a self, within: &'a KeyRange, cap: &'a i64) -> HeldRows<'a> {
        let count = |held: &dyn Fn(&mut Query<'a>) -> String| {
            let mut query = Query::new(self.values);
            let due = self.due_within(within, &mut query);
            let (fresh, held) = (self.fresh(&mut query), held(&mut query));
            let cap = query.bind(cap);
            query.text = format!(
                "SELECT pg_catalog.count(*) FROM (SELECT FROM ONLY {} t WHERE {due} AND {} AND {fresh} \
                 AND {held} LIMIT {cap}) AS held",
                self.table,
                self.this_table("t"),
            );
            query
        };
        let rejected = |hashes: &[String]| {
            let rejected = self.is_one_of(hashes.iter().map(String::as_str));
            rejected.map(|rejected| count(&|_| rejected.clone()))
        };
        HeldRows {
            foreign_keys: (!self.held.foreign_keys.is_empty())
                .then(|| count(&|query| self.is_referenced(query))),
            triggers: rejected(&self.held.by_triggers),
            errors: rejected(&self.held.by_errors),
        }
    }

    /// Returns the condition that `t` could be deleted if no foreign key referenced it or a row of
    /// its group.
    fn is_referenced<'a>(&'a self, query: &mut Query<'a>) -> String {
        let free = self.is_free().unwrap_or_else(|| "true".to_owned());
        let only = self.only.as_ref();
        let held = match only.and_then(|only| only.group.as_ref().map(|group| (only, group))) {
            None => format!("NOT ({free})"),
            Some((only, group)) => {
                let column = &group.column.name;
                let of_row = format!("SELECT t.{column}::{} AS of_row", group.column.cast);
                let whole = only.is_whole(group, &of_row, None, query);
                let free_group = only.is_whole(group, &of_row, Some(&free), query);
                format!(
                    "CASE WHEN t.{column} IS NULL THEN NOT ({free}) ELSE {whole} AND NOT {free_group} END"
                )
            }
        };
        // The filter may fail for a row that is identified by its hash.
        let filter = only.and_then(Only::filter_of_row).unwrap_or_else(|| "true".to_owned());
        let deletable = match self.is_one_of(self.held.hashes()) {
            Some(rejected) => format!("CASE WHEN {rejected} THEN false ELSE {filter} END"),
            None => filter,
        };
        format!("CASE WHEN {deletable} THEN {held} ELSE false END")
    }
}
