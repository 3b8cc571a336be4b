//! The read-only statements: how many rows are due, and how many rows of a table would be deleted.

use super::{KeyRange, Only, PassSql};
use crate::sql::operator::LT;
use crate::sql::query::Query;
use crate::target::Order;
use crate::target::catalog::Column;

impl PassSql {
    /// Returns the query that counts the due rows in a key range. The query examines at most `*cap`
    /// rows. Its result is one row, for [`super::Counted::of`].
    pub(crate) fn count<'a>(&'a self, within: &'a KeyRange, cap: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due_within(within, &mut query);
        let cap = query.bind(cap);
        let fresh = self.fresh(&mut query);
        let (name, table) = (&self.due.column.name, &self.table);
        let order = match self.order {
            Order::Index => format!(" ORDER BY {}", self.names()),
            Order::Heap => String::new(),
        };
        let columns = format!("t.{name} AS due, {fresh} AS fresh");
        let from = format!("FROM ONLY {table} t WHERE {due}{order} LIMIT {cap}");
        query.text = match &self.only {
            None => match self.is_not_held() {
                None => format!(
                    "SELECT pg_catalog.count(*) FILTER (WHERE fresh), pg_catalog.count(*), {} FROM (SELECT {columns} {from}) AS found",
                    self.due.oldest("")
                ),
                Some(held) => format!(
                    "SELECT pg_catalog.count(*) FILTER (WHERE fresh AND free), pg_catalog.count(*), {}, \
                     pg_catalog.count(*) FILTER (WHERE free) FROM (SELECT {columns}, {held} AS free {from}) AS found",
                    self.due.oldest("free")
                ),
            },
            Some(only) => {
                let counts = format!(
                    "pg_catalog.count(*) FILTER (WHERE fresh AND free), pg_catalog.count(*), {}, \
                     pg_catalog.count(*) FILTER (WHERE free)",
                    self.due.oldest("free")
                );
                self.looked_at(
                    (only, self.filter(only)),
                    &counts,
                    &columns,
                    "true",
                    &from,
                    &mut query,
                )
            }
        };
        query
    }

    /// Returns the query for the oldest time before the year 2000, as text, in at most one row.
    /// Returns `None` if the target treats such times like any other time.
    pub(crate) fn ancient(&self) -> Option<Query<'_>> {
        let floor = self.due.floor.as_ref()?;
        let mut query = Query::new(self.values);
        let Column { name, cast, .. } = &self.due.column;
        let floor = query.bind(floor);
        query.text = format!(
            "SELECT t.{name}::pg_catalog.text FROM ONLY {} t WHERE t.{name} {LT} {floor}::{cast} ORDER BY t.{name} LIMIT 1",
            self.table
        );
        Some(query)
    }

    /// Returns the query that examines the last `*cap` due rows, and finds the newest due time of
    /// those rows that may be deleted. Its result is one row that contains this time in seconds
    /// since 1970, or NULL if none of the examined rows may be deleted.
    pub(crate) fn newest<'a>(&'a self, cap: &'a i64) -> Query<'a> {
        let mut query = Query::new(self.values);
        let due = self.due.time(&mut query);
        let cap = query.bind(cap);
        let back = self
            .columns()
            .map(|column| format!("t.{} DESC", column.name))
            .collect::<Vec<_>>()
            .join(", ");
        let (name, table) = (&self.due.column.name, &self.table);
        let columns = format!("t.{name} AS due");
        let from = format!("FROM ONLY {table} t WHERE {due} ORDER BY {back} LIMIT {cap}");
        query.text = match &self.only {
            None => format!(
                "SELECT {} FROM (SELECT {columns} {from}) AS found",
                self.due.epoch("pg_catalog.max(due)")
            ),
            Some(only) => {
                let newest = self.due.epoch("pg_catalog.max(due) FILTER (WHERE free)");
                let filtered = (only, only.filter_of_row());
                self.looked_at(filtered, &newest, &columns, "true", &from, &mut query)
            }
        };
        query
    }

    /// Returns the query that counts the rows in a sample of about `percent` % of a table's blocks,
    /// and the rows of the sample that may be deleted because they are due for this reason or an
    /// earlier one.
    pub(crate) fn sample(&self, percent: f64) -> Query<'_> {
        let mut query = Query::new(self.values);
        let reasons = self.earlier.iter().chain([&self.due]);
        let due = reasons
            .map(|due| format!("({})", due.filter(&mut query)))
            .collect::<Vec<_>>()
            .join(" OR ");
        let from = format!("FROM ONLY {} t TABLESAMPLE pg_catalog.system ({percent})", self.table);
        query.text = match &self.only {
            None => format!(
                "SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {due}) {from}"
            ),
            Some(only) => {
                let counts = "pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE free)";
                self.looked_at(
                    (only, only.filter()),
                    counts,
                    "true AS row",
                    &format!("({due}) IS TRUE"),
                    &from,
                    &mut query,
                )
            }
        };
        query
    }
}

impl PassSql {
    /// Returns a query that computes the aggregates `results` over the rows `t` in `from`. The
    /// aggregates may use the `columns` of `t`. They may also use the column `free`, which is
    /// `true` if a row satisfies `wanted` and may be deleted.
    ///
    /// The query decides only once for each group whether its rows may be deleted, no matter how
    /// many rows of the group were found. If it decided for each row, the number of lookups would
    /// be quadratic in the size of the group.
    fn looked_at<'a>(
        &'a self,
        (only, filter): (&'a Only, Option<String>),
        results: &str,
        columns: &str,
        wanted: &str,
        from: &str,
        query: &mut Query<'a>,
    ) -> String {
        let passes = filter.unwrap_or_else(|| "true".to_owned());
        let passes = format!("CASE WHEN {wanted} THEN {passes} ELSE false END");
        let Some(group) = &only.group else {
            return format!(
                "SELECT {results} FROM (SELECT {columns}, {passes} AS free {from}) AS found"
            );
        };
        let (column, cast, equals) = (&group.column.name, &group.column.cast, &group.equals);
        let whole = self.is_whole((only, group), "SELECT p.of_group AS of_row", None, query);
        format!(
            "WITH reaped_seen AS MATERIALIZED (\
             SELECT {columns}, {passes} AS passes, t.{column}::{cast} AS of_group {from}), \
             reaped_whole AS MATERIALIZED (\
             SELECT p.of_group FROM (SELECT DISTINCT s.of_group FROM reaped_seen s WHERE s.passes AND s.of_group IS NOT NULL) AS p \
             WHERE {whole}) \
             SELECT {results} FROM (SELECT s.*, CASE WHEN NOT s.passes THEN false WHEN s.of_group IS NULL THEN true \
             ELSE s.of_group {equals} ANY (SELECT w.of_group FROM reaped_whole w) END AS free FROM reaped_seen s) AS found"
        )
    }
}
