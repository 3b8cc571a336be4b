-- Returns the objects that the view $1 in pg_temp depends on, except built-in objects and the table
-- $2, on which the view is defined. A relation counts as running code if it is a view or has
-- row-level security, because the functions in the view or in the policies run with the privileges
-- of the reader.
WITH trusted AS (
    {trusted}),
needed AS (
    SELECT DISTINCT d.refclassid, d.refobjid
    FROM pg_catalog.pg_class v
    JOIN pg_catalog.pg_rewrite w ON w.ev_class OPERATOR(pg_catalog.=) v.oid
    JOIN pg_catalog.pg_depend d ON d.objid OPERATOR(pg_catalog.=) w.oid
        AND d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass::pg_catalog.oid
    WHERE v.relname OPERATOR(pg_catalog.=) $1::pg_catalog.name
        AND v.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
        AND NOT (d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid
                 AND d.refobjid OPERATOR(pg_catalog.=) ANY (ARRAY[v.oid, $2]))),
owned AS (
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::pg_catalog.oid AS class, c.oid, c.relowner AS owner,
        c.relkind OPERATOR(pg_catalog.=) 'v' OR c.relrowsecurity AS runs, n.nspname, c.relname
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass::pg_catalog.oid, p.oid, p.proowner, true, NULL, NULL
    FROM pg_catalog.pg_proc p
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid, o.oid, o.oprowner, true, NULL, NULL
    FROM pg_catalog.pg_operator o
    UNION ALL
    SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass::pg_catalog.oid, o.oid, p.proowner, true, NULL, NULL
    FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) o.oprcode::pg_catalog.oid
    UNION ALL
    SELECT 'pg_catalog.pg_type'::pg_catalog.regclass::pg_catalog.oid, y.oid, y.typowner,
        y.typtype OPERATOR(pg_catalog.=) 'd', NULL, NULL
    FROM pg_catalog.pg_type y)
SELECT DISTINCT pg_catalog.pg_describe_object(needed.refclassid, needed.refobjid, 0),
    pg_catalog.pg_get_userbyid(owned.owner)::pg_catalog.text,
    NOT owned.runs OR owned.owner OPERATOR(pg_catalog.=) ANY (SELECT trusted.oid FROM trusted),
    CASE WHEN owned.relname IS NOT NULL THEN owned.oid END,
    owned.nspname::pg_catalog.text, owned.relname::pg_catalog.text
FROM needed JOIN owned ON owned.class OPERATOR(pg_catalog.=) needed.refclassid AND owned.oid OPERATOR(pg_catalog.=) needed.refobjid
ORDER BY 1, 2
