-- Returns the table $2.$3, to which the foreign key $1 belongs, and the condition that the row `c`
-- of this table references the row `t` of the table $4. Returns no row if the foreign key
-- references another table, or if the current role may not read the referencing columns.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
    (SELECT pg_catalog.string_agg(
         pg_catalog.format('t.%I OPERATOR(%I.%s) c.%I', pa.attname, opn.nspname, o.oprname, ca.attname), ' AND ')
     FROM ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey), pg_catalog.unnest(k.conpfeqop)) AS u (ck, pk, op)
         JOIN pg_catalog.pg_attribute ca ON ca.attrelid OPERATOR(pg_catalog.=) k.conrelid AND ca.attnum OPERATOR(pg_catalog.=) u.ck
         JOIN pg_catalog.pg_attribute pa ON pa.attrelid OPERATOR(pg_catalog.=) k.confrelid AND pa.attnum OPERATOR(pg_catalog.=) u.pk
         JOIN pg_catalog.pg_operator o ON o.oid OPERATOR(pg_catalog.=) u.op
         JOIN pg_catalog.pg_namespace opn ON opn.oid OPERATOR(pg_catalog.=) o.oprnamespace)
FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.conname OPERATOR(pg_catalog.=) $1::pg_catalog.name
    AND n.nspname OPERATOR(pg_catalog.=) $2::pg_catalog.name AND c.relname OPERATOR(pg_catalog.=) $3::pg_catalog.name
    AND (k.confrelid OPERATOR(pg_catalog.=) $4
        OR k.confrelid OPERATOR(pg_catalog.=) ANY (
            SELECT a.relid::pg_catalog.oid FROM pg_catalog.pg_partition_ancestors($4::pg_catalog.regclass) AS a (relid)))
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND NOT EXISTS (
        SELECT FROM pg_catalog.unnest(k.conkey) AS u (ck)
        WHERE NOT pg_catalog.has_column_privilege(c.oid, u.ck, 'SELECT'))
ORDER BY k.confrelid OPERATOR(pg_catalog.<>) $4
LIMIT 1
