-- The table $1 and those below it, which its rows are in; with the columns of $1. No name is looked up on the search path.
WITH RECURSIVE tree AS (
    SELECT $1::pg_catalog.oid AS oid
    UNION
    SELECT i.inhrelid FROM tree t JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) t.oid)
SELECT $1::pg_catalog.oid, c.oid, c.relkind::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
    ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0
               AND NOT a.attisdropped
           ORDER BY a.attnum),
    ARRAY (SELECT pg_catalog.format_type(
                      CASE WHEN y.typbasetype OPERATOR(pg_catalog.=) 0::pg_catalog.oid THEN y.oid ELSE y.typbasetype END, -1)
           FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type y ON y.oid OPERATOR(pg_catalog.=) a.atttypid
           WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.oid AND a.attnum OPERATOR(pg_catalog.>) 0
               AND NOT a.attisdropped
           ORDER BY a.attnum),
    ARRAY (SELECT a.attname::pg_catalog.text FROM (
               SELECT i.indrelid, (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1] AS columns
               FROM pg_catalog.pg_index i
               WHERE i.indrelid OPERATOR(pg_catalog.=) c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                   AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND NOT EXISTS (
                       SELECT FROM pg_catalog.pg_attribute a
                       WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND NOT a.attnotnull
                           AND a.attnum OPERATOR(pg_catalog.=)
                               ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]))
               ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS k
           CROSS JOIN LATERAL pg_catalog.unnest(k.columns) WITH ORDINALITY AS part (attnum, n)
           JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.indrelid
               AND a.attnum OPERATOR(pg_catalog.=) part.attnum
           ORDER BY part.n)
FROM tree JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) tree.oid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
ORDER BY c.oid OPERATOR(pg_catalog.<>) $1::pg_catalog.oid, n.nspname, c.relname
