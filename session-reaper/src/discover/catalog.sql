-- Returns the user tables with their columns that may contain a time. For a domain, the returned
-- type is its base type. The key is the primary key, or otherwise the shortest unique key without
-- nullable columns. Partitions are not returned as tables of their own: the row estimate of a
-- partitioned table is the sum over its partitions. The row estimate of a table that was never
-- analyzed is -1. The last column shows whether the table has a trigger (tgtype 8) or a rule
-- (ev_type '4') on DELETE, which may change other rows in any way. This query opens no user table
-- and waits for no lock on a user table.
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind = 'p',
    CASE c.relkind WHEN 'p' THEN (
        WITH RECURSIVE part (oid) AS (
            SELECT i.inhrelid FROM pg_inherits i WHERE i.inhparent = c.oid
            UNION ALL
            SELECT i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid)
        SELECT coalesce(sum(l.reltuples) FILTER (WHERE l.reltuples >= 0::float4), -1::float4)
        FROM part p JOIN pg_class l ON l.oid = p.oid AND l.relkind = 'r')
    ELSE c.reltuples END::float8,
    k.names, k.types, k.nullable,
    ARRAY (SELECT quote_ident(a.attname::text) FROM (
               SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1::int2] AS columns FROM pg_index i
               WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
                   AND i.indpred IS NULL AND i.indexprs IS NULL
                   AND NOT EXISTS (SELECT FROM pg_attribute a
                                   WHERE a.attrelid = c.oid AND NOT a.attnotnull
                                       AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1::int2]))
               ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) AS u
           CROSS JOIN LATERAL unnest(u.columns) WITH ORDINALITY AS part (attnum, n)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = part.attnum
           ORDER BY part.n),
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid),
    EXISTS (SELECT FROM pg_trigger t
            WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype::int4 & 8 <> 0)
        OR EXISTS (SELECT FROM pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '4')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(a.attname::text ORDER BY a.attnum), '{}'::text[]) AS names,
        coalesce(array_agg(format_type(b.oid, -1) ORDER BY a.attnum), '{}'::text[]) AS types,
        coalesce(array_agg(NOT a.attnotnull ORDER BY a.attnum), '{}'::bool[]) AS nullable
    FROM pg_attribute a
    JOIN pg_type y ON y.oid = a.atttypid
    CROSS JOIN LATERAL (SELECT coalesce(nullif(y.typbasetype, 0::oid), y.oid) AS oid) AS b
    WHERE a.attrelid = c.oid AND a.attnum > 0::int2 AND NOT a.attisdropped
        AND b.oid = ANY ('{timestamptz,timestamp,date,int4,int8}'::regtype[]::oid[])) AS k
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
    -- Exclude tables that belong to an extension.
    AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass::oid AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
