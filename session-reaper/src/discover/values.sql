-- Returns, for each column ($1 tables, $2 names), the values that ANALYZE has stored, each with the
-- share of rows that it represents, and the time of that ANALYZE. Times are in seconds since 1970;
-- integers are unchanged. A column is omitted if ANALYZE has stored no values for it or if the
-- current role must not read it. The query reads pg_stats once and hashes it, because a lookup by
-- name examines every table with that name. In a database with 500 tenants, each with a schema of
-- the same tables, lookups took more than 30 s.
WITH stats AS MATERIALIZED (
    SELECT p.schemaname, p.tablename, p.attname, p.inherited, p.null_frac::float8 AS nulls,
        p.most_common_vals::text::text[] AS common, p.most_common_freqs::float8[] AS shares,
        p.histogram_bounds::text::text[] AS bounds
    FROM pg_stats p WHERE p.attname = ANY ($2::text[]))
SELECT w.oid, w.name, array_agg(v.number ORDER BY v.number), array_agg(seen.share ORDER BY v.number),
    date_part('epoch', greatest(pg_stat_get_last_analyze_time(w.oid), pg_stat_get_last_autoanalyze_time(w.oid)))
FROM unnest($1::oid[], $2::text[]) AS w (oid, name)
JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = w.name
JOIN pg_type y ON y.oid = a.atttypid
JOIN pg_class c ON c.oid = w.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN stats p ON p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
    AND p.inherited = (c.relkind = 'p')
CROSS JOIN LATERAL (SELECT coalesce(nullif(y.typbasetype, 0::oid), y.oid) AS oid) AS b
CROSS JOIN LATERAL (
    SELECT common.value, common.share FROM unnest(p.common, p.shares) AS common (value, share)
    UNION ALL
    SELECT bound.value, rest.share / cardinality(p.bounds)::float8
    FROM unnest(p.bounds) AS bound (value)
    CROSS JOIN LATERAL (
        SELECT greatest(1::float8 - p.nulls - coalesce((SELECT sum(s.share) FROM unnest(p.shares) AS s (share)), 0::float8),
                        0::float8) AS share) AS rest) AS seen
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN b.oid IN ('int4'::regtype::oid, 'int8'::regtype::oid) THEN seen.value::float8
        WHEN seen.value IN ('infinity', '-infinity') THEN seen.value::float8
        -- The range of dates exceeds that of timestamps, so a cast to timestamp could fail.
        WHEN b.oid = 'date'::regtype::oid THEN (seen.value::date - '1970-01-01'::date)::float8 * 86400::float8
        WHEN b.oid IN ('timestamptz'::regtype::oid, 'timestamp'::regtype::oid)
            THEN date_part('epoch', seen.value::timestamptz)
    END AS number) AS v
WHERE v.number IS NOT NULL
GROUP BY w.oid, w.name
