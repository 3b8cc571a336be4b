-- Tables of users, with the columns that could be a time or that are wanted by name (in lower case, without underscores: $1).
-- Of a domain what is below it. The key: the primary one, else the shortest that is unique and never null. Partitions are
-- their table's; the estimate of a table that was never analysed is -1. Nothing here opens a table or waits for its lock.
SELECT c.oid, n.nspname::text, c.relname::text, pg_table_is_visible(c.oid), c.relkind = 'p',
    CASE c.relkind WHEN 'p' THEN (
        WITH RECURSIVE part (oid) AS (
            SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.oid
            UNION ALL
            SELECT i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid)
        SELECT coalesce(sum(l.reltuples) FILTER (WHERE l.reltuples >= 0), -1)
        FROM part p JOIN pg_class l ON l.oid = p.oid AND l.relkind = 'r')
    ELSE c.reltuples END::float8,
    k.names, k.types, k.nullable,
    ARRAY (SELECT quote_ident(a.attname) FROM (
               SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS columns FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                   AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND NOT EXISTS (SELECT FROM pg_attribute a
                                   WHERE a.attrelid = c.oid AND NOT a.attnotnull
                                       AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
               ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS u
           CROSS JOIN LATERAL unnest(u.columns) WITH ORDINALITY AS part (attnum, n)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.attnum
           ORDER BY part.n)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text ORDER BY a.attnum) AS names,
        array_agg(format_type(b.oid, -1) ORDER BY a.attnum) AS types,
        array_agg(NOT a.attnotnull ORDER BY a.attnum) AS nullable
    FROM pg_attribute a
    JOIN pg_type y ON y.oid = a.atttypid
    CROSS JOIN LATERAL (SELECT coalesce(nullif(y.typbasetype, 0), y.oid) AS oid) AS b
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND (b.oid = ANY ('{timestamptz,timestamp,date,int4,int8}'::regtype[])
             OR lower(replace(a.attname, '_', '')) = ANY ($1::text[]))) AS k
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
    AND k.names IS NOT NULL
    -- What an extension made is the extension's.
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
