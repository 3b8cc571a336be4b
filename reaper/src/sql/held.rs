//! Rows that cannot be deleted: the conditions that exclude them, and the statements that find them.

use std::fmt::Write as _;

use super::{KeyRange, PassSql};
use crate::connection::db_error::Constraint;
use crate::sql::operator::{EQ, NE};
use crate::sql::query::Query;
use crate::target::Order;

/// The rows that a pass leaves, because their deletion fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The foreign keys whose referencing rows prevent the deletion.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// The hashes of the keys of all other rows whose deletion fails.
    pub(crate) hashes: Vec<String>,
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

impl ForeignKey {
    /// Returns the condition that no row references `t`. `OFFSET 0` keeps the subquery a lookup in
    /// the index on the referencing columns.
    fn is_free(&self) -> String {
        format!("(NOT EXISTS (SELECT FROM {} c WHERE {} OFFSET 0))", self.table, self.refers)
    }
}

impl Held {
    pub(crate) fn is_empty(&self) -> bool {
        self.foreign_keys.is_empty() && self.hashes.is_empty()
    }
}

impl PassSql {
    /// Returns a hash of the key of `t`. Keys may contain secrets, so only their hashes are kept.
    fn key_hash(&self) -> String {
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
        format!("pg_catalog.md5({text})")
    }

    /// Returns the condition that the deletion of `t` is not known to fail. Hashes are hexadecimal,
    /// so they can be literals.
    pub(super) fn is_not_held(&self) -> Option<String> {
        let mut conditions: Vec<String> =
            self.held.foreign_keys.iter().map(ForeignKey::is_free).collect();
        if !self.held.hashes.is_empty() {
            conditions.push(format!(
                "{} {NE} ALL ('{{{}}}'::pg_catalog.text[])",
                self.key_hash(),
                self.held.hashes.join(",")
            ));
        }
        (!conditions.is_empty()).then(|| conditions.join(" AND "))
    }

    /// Returns the ctid and the key hash of due rows in a key range, for at most `*most` rows and
    /// in an unspecified order.
    pub(crate) fn keys<'a>(&'a self, within: &'a KeyRange, most: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let held = self.is_not_held().map(|held| format!(" AND {held}")).unwrap_or_default();
        let (table, this, hash) = (&self.table, self.this_table("t"), self.key_hash());
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

    /// Returns the statements that count the due rows whose deletion fails: one statement for each
    /// foreign key, and one for the rows that are known by their hashes. Each statement counts at
    /// most `*cap` rows.
    pub(crate) fn held_rows<'a>(&'a self, within: &'a KeyRange, cap: &'a i64) -> Vec<Query<'a>> {
        let keys = self.held.foreign_keys.iter().map(|key| format!("NOT {}", key.is_free()));
        let hashes = (!self.held.hashes.is_empty()).then(|| {
            let hashes = self.held.hashes.join(",");
            format!("{} {EQ} ANY ('{{{hashes}}}'::pg_catalog.text[])", self.key_hash())
        });
        let count = |held: String| {
            let mut query = Query::new(self.values);
            let due = self.due_within(within, &mut query);
            let cap = query.bind(cap);
            query.text = format!(
                "SELECT pg_catalog.count(*) FROM (SELECT FROM ONLY {} t WHERE {due} AND {} AND {held} \
                 LIMIT {cap}) AS held",
                self.table,
                self.this_table("t"),
            );
            query
        };
        keys.chain(hashes).map(count).collect()
    }
}
