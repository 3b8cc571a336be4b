-- Returns the columns of the tables $1, each with the oid of its table, its type (for a domain, the base type) and the
-- equality operator of that type.
SELECT a.attname::pg_catalog.text, pg_catalog.format_type(y.oid, -1),
    pg_catalog.concat(pg_catalog.quote_ident(n.nspname::pg_catalog.text), '.', pg_catalog.quote_ident(y.typname::pg_catalog.text)),
    CASE WHEN built_in.it THEN 'pg_catalog' ELSE own.schema END, CASE WHEN built_in.it THEN '=' ELSE own.name END,
    a.attrelid
FROM pg_catalog.pg_attribute a
CROSS JOIN LATERAL (
    WITH RECURSIVE below AS (
        SELECT y.oid, y.typbasetype FROM pg_catalog.pg_type y WHERE y.oid OPERATOR(pg_catalog.=) a.atttypid
        UNION ALL
        SELECT y.oid, y.typbasetype FROM below b
        JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) b.typbasetype)
    SELECT b.oid FROM below b WHERE b.typbasetype OPERATOR(pg_catalog.=) 0::pg_catalog.oid) AS base
JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) base.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) y.typnamespace
CROSS JOIN LATERAL (
    SELECT n.oid OPERATOR(pg_catalog.=) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
        OR y.typtype OPERATOR(pg_catalog.=) ANY ('{e,r,m,c}'::pg_catalog."char"[])
        OR y.typcategory OPERATOR(pg_catalog.=) 'A'::pg_catalog."char") AS built_in (it)
LEFT JOIN LATERAL (
    SELECT s.nspname::pg_catalog.text, o.oprname::pg_catalog.text
    FROM pg_catalog.pg_opclass k
    JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) k.opcmethod
    JOIN pg_catalog.pg_amop p ON p.amopfamily OPERATOR(pg_catalog.=) k.opcfamily
        AND p.amoplefttype OPERATOR(pg_catalog.=) y.oid AND p.amoprighttype OPERATOR(pg_catalog.=) y.oid
        AND p.amopstrategy OPERATOR(pg_catalog.=) CASE WHEN m.amname::pg_catalog.text OPERATOR(pg_catalog.=) 'btree' THEN 3::pg_catalog.int2 ELSE 1::pg_catalog.int2 END
    JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) p.amopopr
    JOIN pg_catalog.pg_namespace s ON s.oid OPERATOR(pg_catalog.=) o.oprnamespace
    WHERE k.opcdefault AND k.opcintype OPERATOR(pg_catalog.=) y.oid
        AND m.amname::pg_catalog.text OPERATOR(pg_catalog.=) ANY (ARRAY['btree', 'hash'])
    ORDER BY m.amname LIMIT 1) AS own (schema, name) ON true
WHERE a.attrelid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[]) AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
