-- Returns each transaction and each replication slot that has held back the horizon of vacuum for
-- longer than $1, with the statement that ends the transaction or drops the slot.
SELECT pg_catalog.format('a transaction of %s (pid %s, %s) has been open since %s', a.usename, a.pid,
           CASE WHEN a.application_name OPERATOR(pg_catalog.<>) '' THEN a.application_name ELSE 'without a name' END,
           pg_catalog.to_char(a.xact_start, 'YYYY-MM-DD HH24:MI')),
       pg_catalog.format('SELECT pg_terminate_backend(%s)', a.pid)
FROM pg_catalog.pg_stat_activity a
WHERE (a.backend_type OPERATOR(pg_catalog.=) 'client backend' OR a.backend_type OPERATOR(pg_catalog.=) 'walsender')
    AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()
    AND a.xact_start OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) $1::pg_catalog.text::interval)
    AND (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL)
    AND (a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database() OR a.datname IS NULL)
UNION ALL
SELECT pg_catalog.format('the prepared transaction %L of %s has been waiting since %s', x.gid, x.owner,
           pg_catalog.to_char(x.prepared, 'YYYY-MM-DD HH24:MI')),
       pg_catalog.format('ROLLBACK PREPARED %L', x.gid)
FROM pg_catalog.pg_prepared_xacts x
WHERE x.database OPERATOR(pg_catalog.=) pg_catalog.current_database()
    AND x.prepared OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.-) $1::pg_catalog.text::interval)
UNION ALL
SELECT pg_catalog.format('the replication slot %I holds an old snapshot and is not in use', s.slot_name),
       pg_catalog.format('SELECT pg_drop_replication_slot(%L)', s.slot_name)
FROM pg_catalog.pg_replication_slots s WHERE NOT s.active AND s.xmin IS NOT NULL
LIMIT 10
