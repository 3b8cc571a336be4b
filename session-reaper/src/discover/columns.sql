-- Returns all columns of the tables $1, in order. For a domain, the returned type is its base type.
SELECT a.attrelid, a.attname::text, format_type(b.oid, -1), NOT a.attnotnull
FROM pg_attribute a
JOIN pg_type y ON y.oid = a.atttypid
CROSS JOIN LATERAL (SELECT coalesce(nullif(y.typbasetype, 0::oid), y.oid) AS oid) AS b
WHERE a.attrelid = ANY ($1::oid[]) AND a.attnum > 0::int2 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum
