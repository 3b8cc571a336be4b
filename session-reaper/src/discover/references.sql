-- Returns the foreign keys that reference one of the tables $1. A foreign key of a partitioned
-- table is returned once, without the copies that its partitions have.
SELECT k.confrelid, n.nspname::text, c.relname::text, k.confdeltype::text, k.conrelid = k.confrelid,
    (SELECT a.attname::text FROM pg_attribute a
     WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1] AND cardinality(k.conkey) = 1)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0::oid AND k.confrelid = ANY ($1::oid[])
ORDER BY n.nspname, c.relname, k.conname
