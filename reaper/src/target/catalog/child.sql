-- Returns the table $1, and the columns of the table $3 to which the columns $2 of the table $1
-- refer: the columns that a foreign key references or, if there is no foreign key, the primary key.
SELECT c.oid, c.relkind::pg_catalog.text,
    coalesce(
        (SELECT ARRAY (
             SELECT r.attname::pg_catalog.text
             FROM pg_catalog.unnest($2::pg_catalog.text[]) WITH ORDINALITY AS wanted (name, i)
             JOIN pg_catalog.pg_attribute f ON f.attrelid OPERATOR(pg_catalog.=) k.conrelid
                 AND f.attname OPERATOR(pg_catalog.=) wanted.name::pg_catalog.name
             JOIN ROWS FROM (pg_catalog.unnest(k.conkey), pg_catalog.unnest(k.confkey)) AS pair (refers, referred)
                 ON pair.refers OPERATOR(pg_catalog.=) f.attnum
             JOIN pg_catalog.pg_attribute r ON r.attrelid OPERATOR(pg_catalog.=) k.confrelid
                 AND r.attnum OPERATOR(pg_catalog.=) pair.referred
             ORDER BY wanted.i)
         FROM pg_catalog.pg_constraint k
         WHERE k.contype OPERATOR(pg_catalog.=) 'f'::pg_catalog."char" AND k.conrelid OPERATOR(pg_catalog.=) c.oid
             AND k.confrelid OPERATOR(pg_catalog.=) $3
             AND ARRAY (SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
                        WHERE a.attrelid OPERATOR(pg_catalog.=) k.conrelid AND a.attnum OPERATOR(pg_catalog.=) ANY (k.conkey)
                        ORDER BY a.attname::pg_catalog.text COLLATE pg_catalog."C")
                 OPERATOR(pg_catalog.=)
                 ARRAY (SELECT wanted.name FROM pg_catalog.unnest($2::pg_catalog.text[]) AS wanted (name)
                        ORDER BY wanted.name COLLATE pg_catalog."C")
         ORDER BY k.oid LIMIT 1),
        (SELECT ARRAY (
             SELECT r.attname::pg_catalog.text
             FROM pg_catalog.generate_series(0, i.indnkeyatts OPERATOR(pg_catalog.-) 1) AS part
             JOIN pg_catalog.pg_attribute r ON r.attrelid OPERATOR(pg_catalog.=) i.indrelid
                 AND r.attnum OPERATOR(pg_catalog.=) i.indkey[part]
             ORDER BY part)
         FROM pg_catalog.pg_index i
         WHERE i.indrelid OPERATOR(pg_catalog.=) $3 AND i.indisprimary
             AND i.indnkeyatts OPERATOR(pg_catalog.=) pg_catalog.cardinality($2::pg_catalog.text[])))
FROM pg_catalog.pg_class c
WHERE c.oid OPERATOR(pg_catalog.=) $1
