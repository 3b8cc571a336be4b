-- Returns the table $1 and its descendants, which contain the rows of $1. Each table is returned
-- with its columns, its key, and the path from this table up to $1. No name is looked up on the
-- search path.
WITH RECURSIVE tree AS (
    SELECT $1::pg_catalog.oid AS oid, ARRAY[$1::pg_catalog.oid] AS path
    UNION ALL
    SELECT i.inhrelid, i.inhrelid OPERATOR(pg_catalog.||) t.path
    FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid
    WHERE NOT i.inhdetachpending)
SELECT c.oid, c.relkind::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, tree.path,
    ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
               AND NOT a.attisdropped ORDER BY a.attnum),
    ARRAY (SELECT a.attnum FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
               AND NOT a.attisdropped ORDER BY a.attnum),
    ARRAY (SELECT a.atttypid FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0::pg_catalog.int2
               AND NOT a.attisdropped ORDER BY a.attnum),
    ARRAY (SELECT a.attname::pg_catalog.text FROM (
               SELECT i.indrelid, (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1::pg_catalog.int2] AS columns
               FROM pg_catalog.pg_index i
               WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                   AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND NOT EXISTS (
                       SELECT FROM pg_catalog.pg_attribute a
                       WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attnotnull
                           AND a.attnum OPERATOR(pg_catalog.=)
                               ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1::pg_catalog.int2]))
                   AND NOT EXISTS (
                       SELECT FROM pg_catalog.pg_opclass o
                       WHERE o.oid OPERATOR(pg_catalog.=) ANY (i.indclass::pg_catalog.oid[])
                           AND o.opcnamespace OPERATOR(pg_catalog.<>) 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid)
               ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS k
           CROSS JOIN LATERAL pg_catalog.unnest(k.columns) WITH ORDINALITY AS part (attnum, n)
           JOIN pg_catalog.pg_attribute a
               ON a.attrelid OPERATOR(pg_catalog.=) k.indrelid AND a.attnum OPERATOR(pg_catalog.=) part.attnum
           ORDER BY part.n)
FROM (SELECT DISTINCT ON (oid) oid, path FROM tree ORDER BY oid, path) AS tree
JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) tree.oid
JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
ORDER BY c.oid OPERATOR(pg_catalog.<>) $1, n.nspname, c.relname
