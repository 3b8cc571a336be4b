-- Returns, once each, the foreign keys that reference the tables $1 or a table that is reached from
-- these tables through cascades.
WITH RECURSIVE reached AS (
    SELECT pg_catalog.unnest($1::pg_catalog.oid[]) AS oid
    UNION
    SELECT k.conrelid FROM reached r JOIN pg_catalog.pg_constraint k ON k.confrelid OPERATOR(pg_catalog.=) r.oid
    WHERE k.contype OPERATOR(pg_catalog.=) 'f' AND k.confdeltype OPERATOR(pg_catalog.=) 'c')
SELECT pg_catalog.format('%I', k.conname), n.nspname::pg_catalog.text, c.relname::pg_catalog.text,
    ARRAY (SELECT a.attname::pg_catalog.text
           FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS part (attnum, i)
           JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) k.conrelid
               AND a.attnum OPERATOR(pg_catalog.=) part.attnum
           ORDER BY i),
    k.confdeltype::pg_catalog.text, pn.nspname::pg_catalog.text, p.relname::pg_catalog.text,
    EXISTS (SELECT FROM pg_catalog.pg_index i
            JOIN pg_catalog.pg_class x ON x.oid OPERATOR(pg_catalog.=) i.indexrelid
            JOIN pg_catalog.pg_am m ON m.oid OPERATOR(pg_catalog.=) x.relam
            WHERE i.indrelid OPERATOR(pg_catalog.=) k.conrelid AND i.indisvalid AND i.indisready AND i.indislive
                AND m.amname OPERATOR(pg_catalog.=) ANY ('{btree,hash}'::pg_catalog.name[])
                AND (i.indpred IS NULL OR EXISTS (
                    SELECT FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid OPERATOR(pg_catalog.=) k.conrelid AND a.attnum OPERATOR(pg_catalog.=) ANY (k.conkey)
                        AND pg_catalog.pg_get_expr(i.indpred, i.indrelid)
                            OPERATOR(pg_catalog.=) pg_catalog.format('(%I IS NOT NULL)', a.attname)))
                AND CASE
                    WHEN i.indisunique AND i.indnkeyatts OPERATOR(pg_catalog.<=) pg_catalog.cardinality(k.conkey)
                    THEN (i.indkey::pg_catalog.int2[])[0:i.indnkeyatts OPERATOR(pg_catalog.-) 1]
                        OPERATOR(pg_catalog.<@) k.conkey
                    ELSE (i.indkey::pg_catalog.int2[])[0:pg_catalog.cardinality(k.conkey) OPERATOR(pg_catalog.-) 1]
                        OPERATOR(pg_catalog.@>) k.conkey
                    END),
    ARRAY (SELECT pg_catalog.format('%I.%I', xn.nspname, x.relname)
           FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid OPERATOR(pg_catalog.=) i.indexrelid
           JOIN pg_catalog.pg_namespace xn ON xn.oid OPERATOR(pg_catalog.=) x.relnamespace
           WHERE i.indrelid OPERATOR(pg_catalog.=) k.conrelid AND NOT i.indisvalid
               AND i.indkey[0] OPERATOR(pg_catalog.=) k.conkey[1]),
    c.relkind OPERATOR(pg_catalog.=) 'p', c.reltuples, c.relpages,
    pg_catalog.pg_relation_size(c.oid) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::bigint,
    p.reltuples, p.relpages,
    pg_catalog.pg_relation_size(p.oid) OPERATOR(pg_catalog./) pg_catalog.current_setting('block_size')::bigint
FROM reached r
    JOIN pg_catalog.pg_constraint k ON k.confrelid OPERATOR(pg_catalog.=) r.oid AND k.contype OPERATOR(pg_catalog.=) 'f'
    JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_class p ON p.oid OPERATOR(pg_catalog.=) k.confrelid
    JOIN pg_catalog.pg_namespace pn ON pn.oid OPERATOR(pg_catalog.=) p.relnamespace
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_constraint whole
                  WHERE whole.oid OPERATOR(pg_catalog.=) k.conparentid
                      AND whole.confrelid OPERATOR(pg_catalog.=) ANY (SELECT reached.oid FROM reached))
ORDER BY n.nspname, c.relname, k.conname
