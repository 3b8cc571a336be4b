use super::super::name::TableName;
use super::*;

fn column(name: &str, sql_type: &str) -> Column {
    Column { name: Ident::new(name), sql_type: sql_type.to_owned() }
}

fn text(text: &str) -> Text {
    Text(text.to_owned())
}

fn due(name: &str, cutoff: &str) -> Due {
    Due { column: column(name, "timestamptz"), cutoff: text(cutoff), floor: None, counts: Counts::Instant }
}

fn pass() -> PassSql {
    PassSql {
        table: Ident::new("sessions").to_string(),
        due: due("revoked_at", "c"),
        key: vec![column("id", "uuid")],
        earlier: vec![due("expires_at", "e")],
        only: None,
        order: Order::Index,
        from: None,
        children: Vec::new(),
        values: Values::Bound,
    }
}

fn between() -> Stretch {
    let mark = |time: &str, id: &str| Some(vec![text(time), text(id)]);
    Stretch { low: mark("1", "a"), high: mark("2", "b") }
}

#[test]
fn a_probe_reads_where_a_stretch_ends_from_the_index() {
    let (pass, from_the_start) = (pass(), Stretch::default());
    assert_eq!(
        pass.probe(&from_the_start, &9).text,
        r#"SELECT t."revoked_at"::text, t."id"::text FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" OFFSET $2 LIMIT 1"#
    );
}

#[test]
fn a_delete_takes_the_due_rows_of_a_stretch_that_nobody_holds() {
    let (pass, between) = (pass(), between());
    let delete = pass.delete(&between, &9, &7, Manner::PassingOver);
    assert_eq!(
        delete.text,
        r#"DELETE FROM ONLY "sessions" WHERE ctid = ANY (ARRAY (SELECT t.ctid FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at", t."id") > ($2::timestamptz, $3::uuid) AND (t."revoked_at", t."id") <= ($4::timestamptz, $5::uuid) ORDER BY t."revoked_at", t."id" FOR UPDATE SKIP LOCKED)) AND CASE WHEN pg_backend_pid() = $6 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END"#
    );
    assert_eq!(format!("{:?}", delete.params), r#"[Text("c"), Text("1"), Text("a"), Text("2"), Text("b"), 7]"#);
}

#[test]
fn a_count_leaves_out_what_an_earlier_pass_has_counted() {
    let (pass, from_the_start) = (pass(), Stretch::default());
    assert_eq!(
        pass.count(&from_the_start, &99).text,
        r#"SELECT count(*) FILTER (WHERE fresh), count(*), extract(epoch FROM coalesce(min(due) FILTER (WHERE isfinite(due)), min(due)))::float8 FROM (SELECT t."revoked_at" AS due, true AND (t."expires_at" < $3::timestamptz) IS NOT TRUE AS fresh FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" LIMIT $2) AS found"#
    );
}

#[test]
fn a_filter_and_a_group_decide_about_rows_and_not_about_stretches() {
    let reasons = vec![due("expires_at", "e"), due("revoked_at", "c")];
    let group = Group { column: Ident::new("family"), table: "\"whole\"".to_owned(), reasons };
    let only = Only { filter: Some(ResolvedCondition::unseen("t.kind = 'x' -- why")), group: Some(group) };
    let pass = PassSql { only: Some(only), earlier: Vec::new(), key: Vec::new(), ..pass() };
    let (all, some) = (Stretch::default(), Stretch { low: Some(vec![text("1")]), high: None });
    assert_eq!(
        pass.probe(&all, &9).text,
        r#"SELECT t."revoked_at"::text FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at" OFFSET $2 LIMIT 1"#
    );
    assert_eq!(
        pass.delete(&some, &9, &7, Manner::PassingOver).text,
        r#"DELETE FROM ONLY "sessions" WHERE ctid = ANY (ARRAY (SELECT t.ctid FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at") > ($2::timestamptz) AND CASE WHEN (
t.kind = 'x' -- why
) THEN true ELSE false END AND (NOT EXISTS (SELECT FROM (SELECT t."family" AS of_row) AS one, "whole" t WHERE t."family" = one.of_row AND (((t."expires_at" < $3::timestamptz) OR (t."revoked_at" < $4::timestamptz)) AND CASE WHEN (
t.kind = 'x' -- why
) THEN true ELSE false END) IS NOT TRUE OFFSET 0)) IS TRUE ORDER BY t."revoked_at" LIMIT $5 FOR UPDATE SKIP LOCKED)) AND CASE WHEN pg_backend_pid() = $6 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END"#
    );
}

#[test]
fn no_name_is_anything_but_a_name() {
    assert_eq!(Ident::new("Sess\"; DROP TABLE x; --").to_string(), r#""Sess""; DROP TABLE x; --""#);
}

#[test]
fn in_the_order_of_the_heap_a_stretch_is_a_range_of_blocks() {
    let pass = pass().ordered(Order::Heap);
    let mark = |block: &str| Some(vec![text(block)]);
    let blocks = Stretch { low: mark("(8,0)"), high: mark("(16,0)") };
    let delete = pass.delete(&blocks, &9, &7, Manner::PassingOver);
    assert_eq!(
        delete.text,
        r#"DELETE FROM ONLY "sessions" WHERE ctid = ANY (ARRAY (SELECT t.ctid FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz AND t.ctid > $2::tid AND t.ctid <= $3::tid LIMIT $4 FOR UPDATE SKIP LOCKED)) AND CASE WHEN pg_backend_pid() = $5 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END"#
    );
}

#[test]
fn without_a_lock_first_the_condition_is_looked_at_by_the_delete_itself() {
    let (pass, between) = (pass(), between());
    assert_eq!(
        pass.delete(&between, &9, &7, Manner::Waiting).text,
        r#"DELETE FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz AND (t."revoked_at", t."id") > ($2::timestamptz, $3::uuid) AND (t."revoked_at", t."id") <= ($4::timestamptz, $5::uuid) AND CASE WHEN pg_backend_pid() = $6 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END"#
    );
    let blocks = pass.ordered(Order::Heap).delete(&Stretch::default(), &9, &7, Manner::Waiting).text;
    assert_eq!(
        blocks,
        r#"DELETE FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz AND CASE WHEN pg_backend_pid() = $2 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END"#
    );
}

#[test]
fn children_go_with_their_parents_unless_they_are_too_many() {
    let child = Child {
        table: TableName::parse("tokens").unwrap(),
        column: Ident::new("session_id"),
        refers_to: Ident::new("id"),
    };
    let pass = PassSql { children: vec![child], earlier: Vec::new(), ..pass() };
    let all = Stretch::default();
    assert_eq!(
        pass.probe(&all, &9).text,
        r#"SELECT t."revoked_at"::text, t."id"::text FROM ONLY "sessions" t LEFT JOIN LATERAL (SELECT FROM ONLY "tokens" c WHERE c."session_id" = t."id" OFFSET 0) AS r ON true WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" OFFSET $2 LIMIT 1"#
    );
    assert_eq!(
        pass.delete(&all, &9, &7, Manner::PassingOver).text,
        r#"WITH reaped_held AS MATERIALIZED (SELECT t.ctid FROM ONLY "sessions" t WHERE t."revoked_at" < $1::timestamptz ORDER BY t."revoked_at", t."id" FOR UPDATE SKIP LOCKED), reaped_parents AS MATERIALIZED (SELECT t."id" AS key0 FROM ONLY "sessions" t WHERE t.ctid = ANY (ARRAY (SELECT ctid FROM reaped_held))), reaped_found0 AS MATERIALIZED (SELECT r.ctid FROM reaped_parents p, LATERAL (SELECT c.ctid FROM ONLY "tokens" c WHERE c."session_id" = p.key0 FOR UPDATE) AS r LIMIT $3), reaped_children0 AS (DELETE FROM ONLY "tokens" WHERE ctid = ANY (ARRAY (SELECT ctid FROM reaped_found0)) AND CASE WHEN pg_backend_pid() = $2 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END RETURNING 1), reaped AS (DELETE FROM ONLY "sessions" WHERE ctid = ANY (ARRAY (SELECT ctid FROM reaped_held)) AND CASE WHEN pg_backend_pid() = $2 THEN true ELSE ('session-reaper: not the server process that holds its lock, but ' || pg_backend_pid())::boolean END AND (SELECT count(*) FROM reaped_found0) < $3 AND (SELECT count(*) FROM reaped_found0) = (SELECT count(*) FROM reaped_children0) RETURNING 1) SELECT count(*), ARRAY[(SELECT count(*) FROM reaped_found0)], ARRAY[(SELECT count(*) FROM reaped_children0)] FROM reaped"#
    );
}

#[test]
fn a_statement_can_be_written_out() {
    let (pass, between) = (PassSql { earlier: Vec::new(), ..pass() }.written(), between());
    let probe = pass.probe(&between, &9);
    assert!(probe.params.is_empty());
    assert!(probe.text.contains(r#"t."revoked_at" < 'c'::timestamptz"#), "{}", probe.text);
    assert!(probe.text.ends_with("OFFSET 9 LIMIT 1"), "{}", probe.text);
}

#[test]
fn a_floor_is_a_condition_until_a_mark_in_the_index_stands_for_it() {
    let floored = |name: &str, cutoff: &str| Due { floor: Some(text("f")), ..due(name, cutoff) };
    let pass =
        PassSql { due: floored("revoked_at", "c"), earlier: vec![floored("expires_at", "e")], ..pass() }.written();
    let (all, between) = (Stretch::default(), between());
    let both = r#"t."revoked_at" < 'c'::timestamptz AND t."revoked_at" >= 'f'::timestamptz"#;
    for statement in [
        pass.probe(&all, &9).text,
        pass.delete(&all, &9, &7, Manner::PassingOver).text,
        pass.delete(&all, &9, &7, Manner::Waiting).text,
        pass.ordered(Order::Heap).delete(&between, &9, &7, Manner::Waiting).text,
        pass.ordered(Order::Heap).delete(&between, &9, &7, Manner::PassingOver).text,
        pass.count(&all, &9).text,
        pass.newest(&9).text,
        pass.sample(1.0).text,
    ] {
        assert!(statement.contains(both), "{statement}");
    }
    let fresh = r#"(t."expires_at" < 'e'::timestamptz AND t."expires_at" >= 'f'::timestamptz) IS NOT TRUE"#;
    assert!(pass.count(&all, &9).text.contains(fresh));
    assert!(!pass.delete(&between, &9, &7, Manner::Waiting).text.contains("'f'"));
    assert_eq!(
        pass.ancient().unwrap().text,
        r#"SELECT t."revoked_at"::text FROM ONLY "sessions" t WHERE t."revoked_at" < 'f'::timestamptz ORDER BY t."revoked_at" LIMIT 1"#
    );
}
