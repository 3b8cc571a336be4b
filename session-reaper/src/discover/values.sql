-- Of columns ($1 tables, $2 names): the bounds of the values that ANALYZE saw, in seconds since 1970, or as they are for
-- integers; nothing for those of which it saw none, or of which we may not know.
-- All of pg_stats at once and hashed: a look-up by name goes through every table of that name, and where each of 500 tenants has
-- a schema of the same tables that took more than 30 s.
WITH stats AS MATERIALIZED (
    SELECT p.schemaname, p.tablename, p.attname,
        array_cat(p.most_common_vals::text::text[], p.histogram_bounds::text::text[]) AS seen
    FROM pg_stats p WHERE p.attname = ANY ($2::text[]))
SELECT w.oid, w.name, min(v.number), max(v.number)
FROM unnest($1::oid[], $2::text[]) AS w (oid, name)
JOIN pg_attribute a ON a.attrelid = w.oid AND a.attname = w.name
JOIN pg_type y ON y.oid = a.atttypid
JOIN pg_class c ON c.oid = w.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN stats p ON p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
CROSS JOIN LATERAL (SELECT coalesce(nullif(y.typbasetype, 0), y.oid) AS oid) AS b
CROSS JOIN LATERAL unnest(p.seen) AS seen (text)
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN b.oid IN ('int4'::regtype, 'int8'::regtype) THEN seen.text::float8
        WHEN seen.text IN ('infinity', '-infinity') THEN NULL
        -- Dates go further than timestamps, into which some could not be cast.
        WHEN b.oid = 'date'::regtype THEN (seen.text::date - date '1970-01-01') * 86400.0
        WHEN b.oid IN ('timestamptz'::regtype, 'timestamp'::regtype)
            THEN extract(epoch FROM seen.text::timestamptz)::float8
    END AS number) AS v
GROUP BY w.oid, w.name
