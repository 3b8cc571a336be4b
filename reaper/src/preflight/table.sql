-- Returns the tables $1, whose due columns are $2. $3 is the event of their triggers and rules, as a
-- bit of pg_trigger.tgtype: 8 for DELETE, 16 for UPDATE. {trusted} contains the trusted roles; the owner
-- of a table is trusted as well. The policies are checked for each of the three commands that a
-- delete with FOR UPDATE requires.
SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.reltuples, c.relpages,
    pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::bigint,
    CURRENT_USER::pg_catalog.text, pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
    ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attisdropped
               AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')),
    pg_catalog.has_table_privilege(c.oid, 'DELETE'),
    pg_catalog.has_any_column_privilege(c.oid, 'UPDATE'),
    (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) CURRENT_USER),
    pg_catalog.pg_has_role(c.relowner, 'USAGE'),
    ARRAY (SELECT p FROM pg_catalog.unnest('{INSERT,UPDATE,TRUNCATE,REFERENCES,TRIGGER}'::pg_catalog.text[]) AS p
           WHERE pg_catalog.has_table_privilege(c.oid, p)),
    pg_catalog.row_security_active(c.oid),
    ARRAY (SELECT pg_catalog.format('%I', p.polname) FROM pg_catalog.pg_policy p
           WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND NOT p.polpermissive AND p.polcmd OPERATOR(pg_catalog.<>) 'a'
               AND coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'true') OPERATOR(pg_catalog.<>) 'true'
               AND EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r
                           WHERE r OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR pg_catalog.pg_has_role(r, 'USAGE'))),
    NOT EXISTS (SELECT FROM pg_catalog.unnest('{r,w,d}'::pg_catalog."char"[]) AS wanted WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_policy p
            WHERE p.polrelid OPERATOR(pg_catalog.=) c.oid AND p.polpermissive
                AND (p.polcmd OPERATOR(pg_catalog.=) '*' OR p.polcmd OPERATOR(pg_catalog.=) wanted)
                AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) OPERATOR(pg_catalog.=) 'true'
                AND EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) AS r
                            WHERE r OPERATOR(pg_catalog.=) 0::pg_catalog.oid OR pg_catalog.pg_has_role(r, 'USAGE')))),
    ARRAY (SELECT pg_catalog.format('%I', t.tgname) FROM pg_catalog.pg_trigger t
           WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
               AND (t.tgenabled OPERATOR(pg_catalog.=) 'O' OR t.tgenabled OPERATOR(pg_catalog.=) 'A')
               AND (t.tgtype::int OPERATOR(pg_catalog.&) $3::int) OPERATOR(pg_catalog.=) $3::int
           ORDER BY t.tgname),
    coalesce((SELECT o.option_value::boolean FROM pg_catalog.pg_options_to_table(c.reloptions) AS o
              WHERE o.option_name OPERATOR(pg_catalog.=) 'autovacuum_enabled'), true),
    ARRAY (SELECT coalesce(s.most_common_freqs[1], 0::real)
           FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY AS due (name, i)
           LEFT JOIN pg_catalog.pg_stats s ON s.schemaname OPERATOR(pg_catalog.=) n.nspname
               AND s.tablename OPERATOR(pg_catalog.=) c.relname AND s.attname OPERATOR(pg_catalog.=) due.name::pg_catalog.name
               AND NOT s.inherited
           ORDER BY i),
    ARRAY (SELECT coalesce(s.null_frac, 0::real)
           FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY AS due (name, i)
           LEFT JOIN pg_catalog.pg_stats s ON s.schemaname OPERATOR(pg_catalog.=) n.nspname
               AND s.tablename OPERATOR(pg_catalog.=) c.relname AND s.attname OPERATOR(pg_catalog.=) due.name::pg_catalog.name
               AND NOT s.inherited
           ORDER BY i),
    c.oid,
    -- A trigger, or a rule of the table's owner, runs with the privileges of the role that deletes.
    ARRAY (SELECT pg_catalog.format('%I (%s of %I)', t.tgname, p.oid::pg_catalog.regprocedure,
                      pg_catalog.pg_get_userbyid(p.proowner))
           FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
           WHERE t.tgrelid OPERATOR(pg_catalog.=) c.oid AND NOT t.tgisinternal
               AND t.tgenabled OPERATOR(pg_catalog.<>) 'D' AND (t.tgtype::int OPERATOR(pg_catalog.&) $3::int) OPERATOR(pg_catalog.=) $3::int
               AND NOT p.prosecdef AND p.proowner OPERATOR(pg_catalog.<>) c.relowner
               AND p.proowner OPERATOR(pg_catalog.<>) ALL ({trusted})
           ORDER BY t.tgname),
    ARRAY (SELECT pg_catalog.format('%I', r.rulename) FROM pg_catalog.pg_rewrite r
           WHERE r.ev_class OPERATOR(pg_catalog.=) c.oid AND r.ev_type OPERATOR(pg_catalog.=) CASE WHEN $3::int OPERATOR(pg_catalog.=) 8 THEN '4' ELSE '2' END::pg_catalog."char" AND r.is_instead
               AND r.ev_enabled OPERATOR(pg_catalog.=) ANY ('{O,A}'::pg_catalog."char"[])
           ORDER BY r.rulename),
    ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attisdropped
               AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, 'UPDATE'))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND pg_catalog.pg_relation_size(c.oid) IS NOT NULL
