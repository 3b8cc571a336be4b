use insta::assert_snapshot;

use super::*;
use crate::target::name::{Ident, TableName};

fn column(name: &str, sql_type: &str) -> Column {
    let equals = Some(Operator::new(&Ident::new("pg_catalog"), "="));
    Column {
        name: Ident::new(name),
        sql_type: sql_type.to_owned(),
        cast: format!("pg_catalog.{sql_type}"),
        equals,
    }
}

fn text(text: &str) -> Text {
    Text(text.to_owned())
}

fn due(name: &str, cutoff: &str) -> Due {
    Due {
        set: Vec::new(),
        column: column(name, "timestamptz"),
        cutoff: text(cutoff),
        floor: None,
        skipped: None,
        counts: Counts::Instant,
        condition: None,
    }
}

/// Returns a statement as it would be written without schema qualification.
fn plain(query: &Query<'_>) -> String {
    let mut text = query.text.clone();
    for operator in ["=", "<>", "<", "<=", ">", ">=", "||"] {
        text = text.replace(&format!("OPERATOR(pg_catalog.{operator})"), operator);
    }
    text.replace("pg_catalog.", "")
}

fn pass() -> PassSql {
    PassSql {
        oid: 4711,
        table: r#""app"."sessions""#.to_owned(),
        due: due("revoked_at", "c"),
        key: vec![column("id", "uuid")],
        earlier: vec![due("expires_at", "e")],
        only: None,
        order: Order::Index,
        from: None,
        children: Vec::new(),
        tables: Vec::new(),
        read: Vec::new(),
        held: Held::default(),
        values: Values::Bound,
    }
}

fn between() -> KeyRange {
    let cursor = |time: &str, id: &str| Some(vec![text(time), text(id)]);
    KeyRange { low: cursor("1", "a"), high: cursor("2", "b") }
}

#[test]
fn probe_finds_the_end_of_a_key_range_in_the_index() {
    let (pass, from_the_start) = (pass(), KeyRange::default());
    assert_snapshot!(
        plain(&pass.probe(&from_the_start, &9)),
        @r#"SELECT m.c0::text, m.c1::text FROM (SELECT t."revoked_at" AS c0, t."id" AS c1 FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" OFFSET $2 LIMIT 1) AS m"#
    );
}

#[test]
fn delete_skips_locked_rows_of_a_key_range() {
    let (pass, between) = (pass(), between());
    let delete = pass.delete(&between, &9, &7, LockWait::SkipLocked);
    assert_snapshot!(
        plain(&delete),
        @r#"DELETE FROM ONLY "app"."sessions" t WHERE t.ctid = ANY (ARRAY (SELECT t.ctid FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at", t."id") > ($2::timestamptz, $3::uuid) AND (t."revoked_at", t."id") <= ($4::timestamptz, $5::uuid) AND t.tableoid = 4711::oid ORDER BY t."revoked_at", t."id" FOR UPDATE SKIP LOCKED)) AND t.tableoid = 4711::oid AND CASE WHEN pg_backend_pid() = $6::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END"#
    );
    assert_eq!(
        format!("{:?}", delete.params),
        r#"[Text("c"), Text("1"), Text("a"), Text("2"), Text("b"), 7]"#
    );
}

#[test]
fn count_excludes_rows_that_are_due_by_an_earlier_pass() {
    let (pass, from_the_start) = (pass(), KeyRange::default());
    assert_snapshot!(
        plain(&pass.count(&from_the_start, &99)),
        @r#"SELECT count(*) FILTER (WHERE fresh), count(*), extract(epoch FROM coalesce(min(due) FILTER (WHERE isfinite(due)), min(due)))::float8 FROM (SELECT t."revoked_at" AS due, true AND (t."expires_at" < $3::timestamptz) IS NOT TRUE AS fresh FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" LIMIT $2) AS found"#
    );
}

#[test]
fn filter_and_group_do_not_change_key_ranges() {
    let reasons = vec![due("expires_at", "e"), due("revoked_at", "c")];
    let (column, equals) =
        (column("family", "uuid"), Operator::new(&Ident::new("pg_catalog"), "="));
    let group = Group { column, equals, table: r#""app"."whole""#.to_owned(), reasons };
    let only = Only {
        filter: Some(ResolvedCondition::unseen("t.kind = 'x' -- why")),
        of_reason: None,
        group: Some(group),
    };
    let pass = PassSql { only: Some(only), earlier: Vec::new(), key: Vec::new(), ..pass() };
    let (all, some) = (KeyRange::default(), KeyRange { low: Some(vec![text("1")]), high: None });
    assert_snapshot!(
        plain(&pass.probe(&all, &9)),
        @r#"SELECT m.c0::text FROM (SELECT t."revoked_at" AS c0 FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at" OFFSET $2 LIMIT 1) AS m"#
    );
    assert_snapshot!(
        plain(&pass.delete(&some, &9, &7, LockWait::Locked)),
        @r#"
WITH reaped_whole AS MATERIALIZED (SELECT p.of_group FROM (SELECT DISTINCT d.of_group FROM (SELECT t."family"::uuid AS of_group FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at") > ($2::timestamptz) AND t.tableoid = 4711::oid AND t.xmax = pg_current_xact_id_if_assigned()::xid OFFSET 0) AS d WHERE d.of_group IS NOT NULL) AS p WHERE (NOT EXISTS (SELECT FROM (SELECT p.of_group AS of_row) AS one, "app"."whole" t WHERE t."family"::uuid = one.of_row AND (((t."expires_at" < $3::timestamptz) OR (t."revoked_at" < $4::timestamptz)) AND CASE WHEN (
t.kind = 'x' -- why
) THEN true ELSE false END AND t.xmax = pg_current_xact_id_if_assigned()::xid) IS NOT TRUE OFFSET 0)) IS TRUE) DELETE FROM ONLY "app"."sessions" t WHERE t.ctid = ANY (ARRAY (SELECT t.ctid FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at") > ($2::timestamptz) AND t.tableoid = 4711::oid AND CASE WHEN t."family" IS NULL THEN (t."family" IS NULL AND CASE WHEN (
t.kind = 'x' -- why
) THEN true ELSE false END AND t.xmax = pg_current_xact_id_if_assigned()::xid) ELSE t."family"::uuid = ANY (SELECT w.of_group FROM reaped_whole w) END ORDER BY t."revoked_at" LIMIT $5 FOR UPDATE SKIP LOCKED)) AND t.tableoid = 4711::oid AND CASE WHEN pg_backend_pid() = $6::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END
"#
    );
}

#[test]
fn name_cannot_break_out_of_its_quotes() {
    assert_eq!(Ident::new("Sess\"; DROP TABLE x; --").to_string(), r#""Sess""; DROP TABLE x; --""#);
}

#[test]
fn key_range_in_heap_order_is_a_range_of_blocks() {
    let pass = pass().ordered(Order::Heap);
    let cursor = |block: &str| Some(vec![text(block)]);
    let blocks = KeyRange { low: cursor("(8,0)"), high: cursor("(16,0)") };
    let delete = pass.delete(&blocks, &9, &7, LockWait::SkipLocked);
    assert_snapshot!(
        plain(&delete),
        @r#"DELETE FROM ONLY "app"."sessions" t WHERE t.ctid = ANY (ARRAY (SELECT t.ctid FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND t.ctid > $2::tid AND t.ctid <= $3::tid AND t.tableoid = 4711::oid LIMIT $4 FOR UPDATE SKIP LOCKED)) AND t.tableoid = 4711::oid AND CASE WHEN pg_backend_pid() = $5::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END"#
    );
}

#[test]
fn delete_without_a_prior_lock_contains_the_condition() {
    let (pass, between) = (pass(), between());
    assert_snapshot!(
        plain(&pass.delete(&between, &9, &7, LockWait::Wait)),
        @r#"DELETE FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at", t."id") > ($2::timestamptz, $3::uuid) AND (t."revoked_at", t."id") <= ($4::timestamptz, $5::uuid) AND t.tableoid = 4711::oid AND CASE WHEN pg_backend_pid() = $6::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END"#
    );
    let heap = pass.ordered(Order::Heap);
    let (everything, blocks) = (KeyRange::default(), LockWait::Wait);
    let blocks = plain(&heap.delete(&everything, &9, &7, blocks));
    assert_eq!(
        blocks,
        r#"DELETE FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND t.tableoid = 4711::oid AND CASE WHEN pg_backend_pid() = $2::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END"#
    );
}

#[test]
fn children_go_with_their_parents_unless_they_are_too_many() {
    let child = Child {
        oid: 4712,
        table: TableName::parse("app.tokens").unwrap(),
        references: vec![Reference {
            column: column("session_id", "uuid"),
            refers_to: Ident::new("id"),
        }],
        identity: Identity {
            oid: 4712,
            table: TableName::parse("app.tokens").unwrap(),
            columns: Vec::new(),
            path: vec![4712],
        },
    };
    let pass = PassSql { children: vec![child], earlier: Vec::new(), ..pass() };
    let all = KeyRange::default();
    assert_snapshot!(
        plain(&pass.probe(&all, &9)),
        @r#"SELECT m.c0::text, m.c1::text FROM (SELECT t."revoked_at" AS c0, t."id" AS c1 FROM ONLY "app"."sessions" t LEFT JOIN LATERAL (SELECT FROM ONLY "app"."tokens" c WHERE c."session_id" = t."id" OFFSET 0) AS r ON true WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" OFFSET $2 LIMIT 1) AS m"#
    );
    assert_snapshot!(
        plain(&pass.delete(&all, &9, &7, LockWait::SkipLocked)),
        @r#"WITH reaped_held AS MATERIALIZED (SELECT t.ctid FROM ONLY "app"."sessions" t WHERE t."revoked_at" < $1::timestamptz AND t.tableoid = 4711::oid ORDER BY t."revoked_at", t."id" FOR UPDATE SKIP LOCKED), reaped_parents AS MATERIALIZED (SELECT t."id" AS key0_0 FROM ONLY "app"."sessions" t WHERE t.ctid = ANY (ARRAY (SELECT h.ctid FROM reaped_held h)) AND t.tableoid = 4711::oid), reaped_found0 AS MATERIALIZED (SELECT r.ctid FROM reaped_parents p, LATERAL (SELECT c.ctid FROM ONLY "app"."tokens" c WHERE c."session_id" = p.key0_0 AND c.tableoid = 4712::oid FOR UPDATE) AS r LIMIT $3), reaped_children0 AS (DELETE FROM ONLY "app"."tokens" c WHERE c.ctid = ANY (ARRAY (SELECT f.ctid FROM reaped_found0 f)) AND c.tableoid = 4712::oid AND CASE WHEN pg_backend_pid() = $2::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END RETURNING 1), reaped AS (DELETE FROM ONLY "app"."sessions" t WHERE t.ctid = ANY (ARRAY (SELECT h.ctid FROM reaped_held h)) AND t.tableoid = 4711::oid AND CASE WHEN pg_backend_pid() = $2::int4 THEN true ELSE ('session-reaper: not the server process that holds its lock, but '::text || pg_backend_pid()::text)::bool END AND (SELECT count(*) FROM reaped_found0) < $3::int8 AND (SELECT count(*) FROM reaped_found0) = (SELECT count(*) FROM reaped_children0) RETURNING 1) SELECT count(*), ARRAY[(SELECT count(*) FROM reaped_found0)], ARRAY[(SELECT count(*) FROM reaped_children0)] FROM reaped"#
    );
}

#[test]
fn statement_can_contain_its_values_as_literals() {
    let (pass, between) = (PassSql { earlier: Vec::new(), ..pass() }.written(), between());
    let probe = pass.probe(&between, &9);
    assert!(probe.params.is_empty());
    assert!(plain(&probe).contains(r#"t."revoked_at" < 'c'::timestamptz"#), "{}", probe.text);
    assert!(probe.text.ends_with("OFFSET 9 LIMIT 1) AS m"), "{}", probe.text);
}

#[test]
fn cursor_in_the_index_replaces_the_floor() {
    let floored = |name: &str, cutoff: &str| Due { floor: Some(text("f")), ..due(name, cutoff) };
    let pass = PassSql {
        due: floored("revoked_at", "c"),
        earlier: vec![floored("expires_at", "e")],
        ..pass()
    }
    .written();
    let (all, between) = (KeyRange::default(), between());
    let both = r#"t."revoked_at" < 'c'::timestamptz AND t."revoked_at" >= 'f'::timestamptz"#;
    for statement in [
        plain(&pass.probe(&all, &9)),
        plain(&pass.delete(&all, &9, &7, LockWait::SkipLocked)),
        plain(&pass.delete(&all, &9, &7, LockWait::Wait)),
        plain(&pass.count(&all, &9)),
        plain(&pass.newest(&9)),
    ] {
        assert!(statement.contains(both), "{statement}");
    }
    let filter = r#"t."revoked_at" < 'c'::timestamptz AND CASE WHEN t."revoked_at" >= 'f'::timestamptz THEN true ELSE false END"#;
    for statement in [
        plain(&pass.ordered(Order::Heap).delete(&between, &9, &7, LockWait::Wait)),
        plain(&pass.ordered(Order::Heap).delete(&between, &9, &7, LockWait::SkipLocked)),
        plain(&pass.sample(1.0)),
    ] {
        assert!(statement.contains(filter), "{statement}");
    }
    let fresh = r#"(t."expires_at" < 'e'::timestamptz AND CASE WHEN t."expires_at" >= 'f'::timestamptz THEN true ELSE false END) IS NOT TRUE"#;
    assert!(plain(&pass.count(&all, &9)).contains(fresh));
    assert!(!plain(&pass.delete(&between, &9, &7, LockWait::Wait)).contains("'f'"));
    assert_snapshot!(
        plain(&pass.ancient().unwrap()),
        @r#"SELECT t."revoked_at"::text FROM ONLY "app"."sessions" t WHERE t."revoked_at" < 'f'::timestamptz ORDER BY t."revoked_at" LIMIT 1"#
    );
}
