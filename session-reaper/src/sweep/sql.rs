//! The text of every statement of the loop. This is the one place that builds SQL from a target.
//!
//! A *mark* is a place in the index of a pass: the due time and the key of a row. Its values travel as text and are
//! cast to the column's own type by the server, so that they are exact for every type, `infinity` included.
//!
//! **Every column is qualified with `t`**: in `SELECT due::text … ORDER BY due` the bare name would mean the text.

use std::fmt::Write as _;

use tokio_postgres::types::ToSql;

use super::catalog::Column;

/// The due time and the key of one row, as text.
pub(super) type Mark = Vec<String>;

/// A stretch of the index: after `low`, up to and with `high`. Without one it is open there.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    pub(super) low: Option<Mark>,
    pub(super) high: Option<Mark>,
}

/// A statement and its parameters, numbered as they were pushed.
pub(super) struct Query<'a> {
    pub(super) text: String,
    pub(super) params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Query<'a> {
    fn new() -> Self {
        Self { text: String::new(), params: Vec::new() }
    }

    /// Takes the value in and returns its placeholder.
    fn bind(&mut self, value: &'a (dyn ToSql + Sync)) -> String {
        self.params.push(value);
        format!("${}", self.params.len())
    }
}

/// One pass: a table in the order of one of its due columns.
#[derive(Clone, Debug)]
pub(super) struct PassSql {
    /// Quoted.
    pub(super) table: String,
    pub(super) due: Column,
    pub(super) key: Vec<Column>,
    /// Rows whose time is before it are due: text, like a mark.
    pub(super) cutoff: String,
    /// The due columns and cutoffs of the passes before this one: what is due by them is counted there.
    pub(super) earlier: Vec<(Column, String)>,
}

impl PassSql {
    /// Where a stretch of `*rows + 1` rows would end: at most one row, the mark. Reads the index alone.
    pub(super) fn probe<'a>(&'a self, within: &'a Stretch, rows: &'a i64) -> Query<'a> {
        let mut query = Query::new();
        let due = self.due_within(within, &mut query);
        let offset = query.bind(rows);
        let marks = self.columns().map(|column| format!("t.{}::text", column.name)).collect::<Vec<_>>().join(", ");
        query.text = format!(
            "SELECT {marks} FROM {} t WHERE {due} ORDER BY {} OFFSET {offset} LIMIT 1",
            self.table,
            self.names()
        );
        query
    }

    /// Deletes what is due in a stretch and not locked. One row: how many went, and who did it.
    ///
    /// The rows are locked first, by `FOR UPDATE SKIP LOCKED`, which also looks at the condition again when a row was
    /// updated between snapshot and lock. Their `ctid`s are then good for as long as the statement runs, and cost no
    /// second look into an index. The condition on the back end's pid is false on every connection but the one that
    /// holds the lock: nothing goes when a pooler has put another one in its place.
    pub(super) fn delete<'a>(&'a self, within: &'a Stretch, pid: &'a i32) -> Query<'a> {
        let mut query = Query::new();
        let due = self.due_within(within, &mut query);
        let pid = query.bind(pid);
        let (table, order) = (&self.table, self.names());
        query.text = format!(
            "WITH gone AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY (\
             SELECT t.ctid FROM {table} t WHERE {due} ORDER BY {order} FOR UPDATE SKIP LOCKED\
             )) AND pg_backend_pid() = {pid} RETURNING 1) \
             SELECT count(*), pg_backend_pid() FROM gone"
        );
        query
    }

    /// Counts what is due in a stretch, looking at `*cap` rows at the most. One row: how many of them are not due by an
    /// earlier pass, how many there were, and the time of the oldest (in seconds since 1970, null without one).
    pub(super) fn count<'a>(&'a self, within: &'a Stretch, cap: &'a i64) -> Query<'a> {
        let mut query = Query::new();
        let due = self.due_within(within, &mut query);
        let cap = query.bind(cap);
        let mut fresh = String::from("true");
        for (column, cutoff) in &self.earlier {
            let cutoff = query.bind(cutoff);
            let _ = write!(fresh, " AND (t.{} < {cutoff}::text::{}) IS NOT TRUE", column.name, column.sql_type);
        }
        query.text = format!(
            "SELECT count(*) FILTER (WHERE fresh), count(*), \
             extract(epoch FROM min(due))::float8 FROM (\
             SELECT t.{} AS due, {fresh} AS fresh FROM {} t WHERE {due} ORDER BY {} LIMIT {cap}) AS found",
            self.due.name,
            self.table,
            self.names()
        );
        query
    }

    /// `t` is due, and in the stretch. The row comparisons are conditions of the index.
    fn due_within<'a>(&'a self, within: &'a Stretch, query: &mut Query<'a>) -> String {
        let cutoff = query.bind(&self.cutoff);
        let mut condition = format!("t.{} < {cutoff}::text::{}", self.due.name, self.due.sql_type);
        for (mark, operator) in [(&within.low, ">"), (&within.high, "<=")] {
            if let Some(mark) = mark {
                let values: Vec<String> = self
                    .columns()
                    .zip(mark)
                    .map(|(column, value)| format!("{}::text::{}", query.bind(value), column.sql_type))
                    .collect();
                let _ = write!(condition, " AND ({}) {operator} ({})", self.names(), values.join(", "));
            }
        }
        condition
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        std::iter::once(&self.due).chain(&self.key)
    }

    /// `t.due, t.key, …`
    fn names(&self) -> String {
        self.columns().map(|column| format!("t.{}", column.name)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::super::target::Ident;
    use super::*;

    fn column(name: &str, sql_type: &str) -> Column {
        Column { name: Ident::new(name), sql_type: sql_type.to_owned() }
    }

    fn pass() -> PassSql {
        PassSql {
            table: Ident::new("sessions").to_string(),
            due: column("revoked_at", "timestamptz"),
            key: vec![column("id", "uuid")],
            cutoff: "c".to_owned(),
            earlier: vec![(column("expires_at", "timestamptz"), "e".to_owned())],
        }
    }

    fn between() -> Stretch {
        let mark = |time: &str, id: &str| Some(vec![time.to_owned(), id.to_owned()]);
        Stretch { low: mark("1", "a"), high: mark("2", "b") }
    }

    #[test]
    fn a_probe_reads_where_a_stretch_ends_from_the_index() {
        let (pass, from_the_start) = (pass(), Stretch::default());
        assert_eq!(
            pass.probe(&from_the_start, &9).text,
            r#"SELECT t."revoked_at"::text, t."id"::text FROM "sessions" t WHERE t."revoked_at" < $1::text::timestamptz ORDER BY t."revoked_at", t."id" OFFSET $2 LIMIT 1"#
        );
    }

    #[test]
    fn a_delete_takes_the_due_rows_of_a_stretch_that_nobody_holds() {
        let (pass, between) = (pass(), between());
        let delete = pass.delete(&between, &7);
        assert_eq!(
            delete.text,
            r#"WITH gone AS (DELETE FROM "sessions" WHERE ctid = ANY (ARRAY (SELECT t.ctid FROM "sessions" t WHERE t."revoked_at" < $1::text::timestamptz AND (t."revoked_at", t."id") > ($2::text::timestamptz, $3::text::uuid) AND (t."revoked_at", t."id") <= ($4::text::timestamptz, $5::text::uuid) ORDER BY t."revoked_at", t."id" FOR UPDATE SKIP LOCKED)) AND pg_backend_pid() = $6 RETURNING 1) SELECT count(*), pg_backend_pid() FROM gone"#
        );
        assert_eq!(format!("{:?}", delete.params), r#"["c", "1", "a", "2", "b", 7]"#);
    }

    #[test]
    fn a_count_leaves_out_what_an_earlier_pass_has_counted() {
        let (pass, from_the_start) = (pass(), Stretch::default());
        assert_eq!(
            pass.count(&from_the_start, &99).text,
            r#"SELECT count(*) FILTER (WHERE fresh), count(*), extract(epoch FROM min(due))::float8 FROM (SELECT t."revoked_at" AS due, true AND (t."expires_at" < $3::text::timestamptz) IS NOT TRUE AS fresh FROM "sessions" t WHERE t."revoked_at" < $1::text::timestamptz ORDER BY t."revoked_at", t."id" LIMIT $2) AS found"#
        );
    }

    #[test]
    fn no_name_is_anything_but_a_name() {
        assert_eq!(Ident::new("Sess\"; DROP TABLE x; --").to_string(), r#""Sess""; DROP TABLE x; --""#);
    }
}
