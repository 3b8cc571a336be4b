-- Runs while the table $1 is locked. Returns a row only if the table is still named $2.$3 and its
-- owner could act as the current role: the number of its blocks and the current time.
SELECT pg_relation_size(c.oid) / current_setting('block_size')::int8, date_part('epoch', clock_timestamp())
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles me ON me.rolname = current_user
WHERE c.oid = $1::oid AND n.nspname = $2::text AND c.relname = $3::text AND c.relkind = 'r'
    AND pg_has_role(c.relowner, me.oid, 'MEMBER')
