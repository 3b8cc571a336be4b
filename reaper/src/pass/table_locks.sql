-- Whether another session holds, or waits for, a lock on a whole table that blocks a delete from the
-- tables $1. The tables include those that foreign keys reach, with their partitions and indexes.
WITH RECURSIVE reached (oid, deletes) AS (
    SELECT t.oid, true FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS t (oid)
    UNION
    SELECT next.oid, next.deletes
    FROM reached r CROSS JOIN LATERAL (
        -- Without an action (a, r), the server only locks the referencing rows.
        SELECT k.conrelid, k.confdeltype OPERATOR(pg_catalog.<>) ALL ('{a,r}'::pg_catalog."char"[])
        FROM pg_catalog.pg_constraint k
        WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.confrelid OPERATOR(pg_catalog.=) r.oid AND r.deletes
        UNION ALL
        SELECT i.inhrelid, r.deletes FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) r.oid
        UNION ALL
        SELECT x.indexrelid, r.deletes FROM pg_catalog.pg_index x WHERE x.indrelid OPERATOR(pg_catalog.=) r.oid
    ) AS next (oid, deletes)
)
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks l JOIN reached r ON l.relation OPERATOR(pg_catalog.=) r.oid
    WHERE l.locktype OPERATOR(pg_catalog.=) 'relation' AND l.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
      AND l.database OPERATOR(pg_catalog.=) (
          SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
      AND (l.mode OPERATOR(pg_catalog.=) ANY ('{ExclusiveLock,AccessExclusiveLock}'::pg_catalog.text[])
          OR r.deletes AND l.mode OPERATOR(pg_catalog.=) ANY ('{ShareLock,ShareRowExclusiveLock}'::pg_catalog.text[])))
