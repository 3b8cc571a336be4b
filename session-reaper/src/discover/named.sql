-- Returns columns that have no foreign key of their own and whose names, in lower case and without
-- underscores, match one of the patterns $1. Such a column may still reference rows of another
-- table.
SELECT c.oid, n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, -1)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname::text, 'pg_')
    AND a.attnum > 0::int2 AND NOT a.attisdropped
    AND lower(replace(a.attname::text, '_', '')) LIKE ANY ($1::text[])
    AND NOT EXISTS (SELECT FROM pg_constraint k
                    WHERE k.conrelid = a.attrelid AND k.contype = 'f' AND k.conkey = ARRAY[a.attnum])
ORDER BY n.nspname, c.relname, a.attnum
