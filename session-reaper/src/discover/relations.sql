-- Returns the relations that contain the rows of the tables $1: the table itself, or, if the table
-- is partitioned, its partitions. The result contains only relations whose owner can already act as
-- the current role, because planning a query on a table may run the owner's functions (in indexes
-- and constraints) with the privileges of the current role.
WITH RECURSIVE part (root, oid) AS (
    SELECT w.oid, w.oid FROM unnest($1::oid[]) AS w (oid)
    UNION ALL
    SELECT p.root, i.inhrelid
    FROM part p
    JOIN pg_inherits i ON i.inhparent = p.oid
    JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
SELECT p.root, c.oid, n.nspname::text, c.relname::text
FROM part p
JOIN pg_class c ON c.oid = p.oid
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles me ON me.rolname = current_user
WHERE c.relkind = 'r' AND pg_has_role(c.relowner, me.oid, 'MEMBER')
ORDER BY p.root, c.oid
