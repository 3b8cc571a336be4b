-- Returns the table $1, and the column of the table $3 to which the column $2 of the table $1
-- refers: the column that a foreign key references or, if there is no foreign key, the primary key.
SELECT c.oid, c.relkind::pg_catalog.text, n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
    EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent OPERATOR(pg_catalog.=) c.oid)
        OR c.oid OPERATOR(pg_catalog.=) $3,
    coalesce(
        (SELECT r.attname::pg_catalog.text FROM pg_catalog.pg_constraint k
         JOIN pg_catalog.pg_attribute f ON f.attrelid OPERATOR(pg_catalog.=) k.conrelid
             AND f.attname::pg_catalog.text OPERATOR(pg_catalog.=) $2 AND k.conkey OPERATOR(pg_catalog.=) ARRAY[f.attnum]
         JOIN pg_catalog.pg_attribute r ON r.attrelid OPERATOR(pg_catalog.=) k.confrelid
             AND r.attnum OPERATOR(pg_catalog.=) k.confkey[1]
         WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char" AND k.conrelid OPERATOR(pg_catalog.=) c.oid
             AND k.confrelid OPERATOR(pg_catalog.=) $3
         ORDER BY k.oid LIMIT 1),
        (SELECT r.attname::pg_catalog.text FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_attribute r ON r.attrelid OPERATOR(pg_catalog.=) i.indrelid
             AND r.attnum OPERATOR(pg_catalog.=) i.indkey[0]
         WHERE i.indrelid OPERATOR(pg_catalog.=) $3 AND i.indisprimary
             AND i.indnkeyatts OPERATOR(pg_catalog.=) 1::pg_catalog.int2))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.oid OPERATOR(pg_catalog.=) $1
