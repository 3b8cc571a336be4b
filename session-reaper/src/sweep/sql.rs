//! The text of every statement of the loop. This is the one place that builds SQL from a target.
//!
//! A *mark* is a place in the index of a pass: the due time and the key of a row. Its values travel as text and are
//! cast to the column's own type by the server, so that they are exact for every type, `infinity` included.
//!
//! Where a table has no key, marks are due times alone, and rows of one time are in one stretch.
//!
//! A target's *filter* and *group* are conditions on a row that was found by its place in the index: they never say
//! where a stretch begins or ends, so that what they keep is examined once and left behind.
//!
//! **Every column is qualified with `t`**: in `SELECT due::text … ORDER BY due` the bare name would mean the text.

use std::fmt::Write as _;

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::catalog::Column;
use super::due::{Counts, Due};
use super::name::Ident;

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
    pub(super) due: Due,
    /// Empty when the table has none.
    pub(super) key: Vec<Column>,
    /// What the passes before this one go by: what is due by them is counted there.
    pub(super) earlier: Vec<Due>,
    /// `None` when every row that is due may go.
    pub(super) only: Option<Only>,
}

/// Which of the due rows may go.
#[derive(Clone, Debug)]
pub(super) struct Only {
    /// SQL on the row `t`.
    pub(super) filter: Option<String>,
    /// With every reason of the target.
    pub(super) group: Option<(Ident, Vec<Due>)>,
}

/// What [`PassSql::count`] found.
pub(super) struct Counted {
    /// Due and free to go, and not due by an earlier pass.
    pub(super) fresh: i64,
    /// Due and free to go.
    pub(super) all: i64,
    /// Looked at.
    pub(super) seen: i64,
    /// Of `all`, in seconds since 1970.
    pub(super) oldest: Option<f64>,
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
        let only = self.only_these(&mut query).map(|only| format!(" AND {only}")).unwrap_or_default();
        let pid = query.bind(pid);
        let (table, order) = (&self.table, self.names());
        query.text = format!(
            "WITH gone AS (DELETE FROM {table} WHERE ctid = ANY (ARRAY (\
             SELECT t.ctid FROM {table} t WHERE {due}{only} ORDER BY {order} FOR UPDATE SKIP LOCKED\
             )) AND pg_backend_pid() = {pid} RETURNING 1) \
             SELECT count(*), pg_backend_pid() FROM gone"
        );
        query
    }

    /// Counts what is due in a stretch, looking at `*cap` rows at the most. One row, for [`Counted::of`].
    pub(super) fn count<'a>(&'a self, within: &'a Stretch, cap: &'a i64) -> Query<'a> {
        let mut query = Query::new();
        let due = self.due_within(within, &mut query);
        let cap = query.bind(cap);
        let mut fresh = String::from("true");
        for earlier in &self.earlier {
            let _ = write!(fresh, " AND ({}) IS NOT TRUE", earlier.condition(&mut query));
        }
        let (name, table, order) = (&self.due.column.name, &self.table, self.names());
        query.text = match self.only_these(&mut query) {
            None => format!(
                "SELECT count(*) FILTER (WHERE fresh), count(*), {} FROM (\
                 SELECT t.{name} AS due, {fresh} AS fresh FROM {table} t WHERE {due} ORDER BY {order} LIMIT {cap}) AS found",
                self.due.epoch("min(due)")
            ),
            Some(only) => format!(
                "SELECT count(*) FILTER (WHERE fresh AND free), count(*), {}, count(*) FILTER (WHERE free) FROM (\
                 SELECT t.{name} AS due, {fresh} AS fresh, {only} AS free FROM {table} t WHERE {due} ORDER BY {order} \
                 LIMIT {cap}) AS found",
                self.due.epoch("min(due) FILTER (WHERE free)")
            ),
        };
        query
    }

    /// What else must be true of `t`. A condition in `IS TRUE` is of no use to an index or a join: it is looked at row by
    /// row, and the place in the index alone decides what is read.
    ///
    /// A group: none of its rows is not due. `OFFSET 0` and the name in a sub-select of its own keep it one look into the
    /// index on the group for each row; a plain `NOT EXISTS` became a hash anti join that read the whole table for each
    /// chunk (300,000 rows: 38 ms against 4 ms).
    fn only_these<'a>(&'a self, query: &mut Query<'a>) -> Option<String> {
        let only = self.only.as_ref()?;
        let mut conditions = Vec::new();
        let filter = only.filter.as_ref().map(|filter| format!("(\n{filter}\n) IS TRUE"));
        conditions.extend(filter.clone());
        if let Some((group, reasons)) = &only.group {
            let due: Vec<String> = reasons.iter().map(|due| due.condition(query)).collect();
            let due = format!("({})", due.join(" OR "));
            let due = filter.map(|filter| format!("{due} AND {filter}")).unwrap_or(due);
            conditions.push(format!(
                "(NOT EXISTS (SELECT FROM (SELECT t.{group} AS of_row) AS one, {} t \
                 WHERE t.{group} = one.of_row AND ({due}) IS NOT TRUE OFFSET 0)) IS TRUE",
                self.table
            ));
        }
        Some(conditions.join(" AND "))
    }

    /// `t` is due, and in the stretch. The row comparisons are conditions of the index.
    fn due_within<'a>(&'a self, within: &'a Stretch, query: &mut Query<'a>) -> String {
        let mut condition = self.due.condition(query);
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
        let cutoff = query.bind(&self.cutoff);
        format!("t.{} < {cutoff}::text::{}", self.column.name, self.column.sql_type)
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

impl Counted {
    /// Reads the row of [`PassSql::count`].
    pub(super) fn of(row: &Row) -> Self {
        let seen = row.get(1);
        // Without a filter all that was seen is free to go.
        let all = if row.len() > 3 { row.get(3) } else { seen };
        Self { fresh: row.get(0), all, seen, oldest: row.get(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, sql_type: &str) -> Column {
        Column { name: Ident::new(name), sql_type: sql_type.to_owned() }
    }

    fn due(name: &str, cutoff: &str) -> Due {
        Due { column: column(name, "timestamptz"), cutoff: cutoff.to_owned(), counts: Counts::Instant }
    }

    fn pass() -> PassSql {
        PassSql {
            table: Ident::new("sessions").to_string(),
            due: due("revoked_at", "c"),
            key: vec![column("id", "uuid")],
            earlier: vec![due("expires_at", "e")],
            only: None,
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
    fn a_filter_and_a_group_decide_about_rows_and_not_about_stretches() {
        let group = (Ident::new("family"), vec![due("expires_at", "e"), due("revoked_at", "c")]);
        let only = Only { filter: Some("t.kind = 'x' -- why".to_owned()), group: Some(group) };
        let pass = PassSql { only: Some(only), earlier: Vec::new(), key: Vec::new(), ..pass() };
        let (all, some) = (Stretch::default(), Stretch { low: Some(vec!["1".to_owned()]), high: None });
        assert_eq!(
            pass.probe(&all, &9).text,
            r#"SELECT t."revoked_at"::text FROM "sessions" t WHERE t."revoked_at" < $1::text::timestamptz ORDER BY t."revoked_at" OFFSET $2 LIMIT 1"#
        );
        assert_eq!(
            pass.delete(&some, &7).text,
            r#"WITH gone AS (DELETE FROM "sessions" WHERE ctid = ANY (ARRAY (SELECT t.ctid FROM "sessions" t WHERE t."revoked_at" < $1::text::timestamptz AND (t."revoked_at") > ($2::text::timestamptz) AND (
t.kind = 'x' -- why
) IS TRUE AND (NOT EXISTS (SELECT FROM (SELECT t."family" AS of_row) AS one, "sessions" t WHERE t."family" = one.of_row AND ((t."expires_at" < $3::text::timestamptz OR t."revoked_at" < $4::text::timestamptz) AND (
t.kind = 'x' -- why
) IS TRUE) IS NOT TRUE OFFSET 0)) IS TRUE ORDER BY t."revoked_at" FOR UPDATE SKIP LOCKED)) AND pg_backend_pid() = $5 RETURNING 1) SELECT count(*), pg_backend_pid() FROM gone"#
        );
    }

    #[test]
    fn no_name_is_anything_but_a_name() {
        assert_eq!(Ident::new("Sess\"; DROP TABLE x; --").to_string(), r#""Sess""; DROP TABLE x; --""#);
    }
}
