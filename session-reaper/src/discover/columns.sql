-- Of columns ($1 tables, $2 names): whether a pass can walk along an index, and the bounds of the values that ANALYZE saw,
-- in seconds since 1970 or as they are for integers; null where it saw none, or where we may not know.
-- Whether an index is for `column IS NOT NULL` alone (nulltesttype 1) stands in the tree of its predicate. What would put
-- the tree into words (pg_get_expr, pg_get_indexdef) takes a lock on the table, and waits for it.
SELECT w.oid, w.name,
    EXISTS (SELECT FROM pg_index i
            JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_am m ON m.oid = x.relam AND m.amname = 'btree'
            WHERE i.indrelid = w.oid AND i.indisvalid AND i.indisready AND i.indkey[0] = a.attnum
                AND (i.indpred IS NULL OR i.indpred::text ~
                     format('^\{NULLTEST :arg \{VAR :varno 1 :varattno %s [^{}]*\} :nulltesttype 1 [^{}]*\}$', a.attnum))),
    s.lowest, s.highest
FROM unnest($1::oid[], $2::text[]) AS w (oid, name)
JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = w.name
JOIN pg_type y ON y.oid = a.atttypid
JOIN pg_class c ON c.oid = w.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT coalesce(nullif(y.typbasetype, 0), y.oid) AS oid) AS b
CROSS JOIN LATERAL (
    SELECT min(v.number) AS lowest, max(v.number) AS highest
    FROM pg_stats p
    CROSS JOIN LATERAL unnest(array_cat(p.most_common_vals::text::text[], p.histogram_bounds::text::text[])) AS seen (text)
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN b.oid IN ('int4'::regtype, 'int8'::regtype) THEN seen.text::float8
            WHEN seen.text IN ('infinity', '-infinity') THEN NULL
            -- Dates go further than timestamps, into which some could not be cast.
            WHEN b.oid = 'date'::regtype THEN (seen.text::date - date '1970-01-01') * 86400.0
            WHEN b.oid IN ('timestamptz'::regtype, 'timestamp'::regtype)
                THEN extract(epoch FROM seen.text::timestamptz)::float8
        END AS number) AS v
    WHERE p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname) AS s
