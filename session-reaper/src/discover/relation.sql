-- Under its lock: whether the table $1 is still the one called $2.$3, with an owner who could act as the current role, how
-- many blocks it has, and what time it is.
SELECT pg_relation_size(c.oid) / current_setting('block_size')::int8, date_part('epoch', clock_timestamp())
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles me ON me.rolname = current_user
WHERE c.oid = $1::oid AND n.nspname = $2::text AND c.relname = $3::text AND c.relkind = 'r'
    AND pg_has_role(c.relowner, me.oid, 'MEMBER')
