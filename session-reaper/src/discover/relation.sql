-- Runs while the table $1 is locked. Returns the number of blocks of the table and the current
-- time. Returns no row if the table is no longer named $2.$3 or if the owner of the table cannot
-- act as the current role.
SELECT pg_relation_size(c.oid) / current_setting('block_size')::int8, date_part('epoch', clock_timestamp())
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles me ON me.rolname = current_user
WHERE c.oid = $1::oid AND n.nspname = $2::text AND c.relname = $3::text AND c.relkind = 'r'
    AND pg_has_role(c.relowner, me.oid, 'MEMBER')
